"""The backend ``"compile"``: sums over kernel taps that Inductor fuses."""
