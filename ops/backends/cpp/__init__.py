"""The backend ``"cpp"``: C++ for the CPU, compiled at first use."""
