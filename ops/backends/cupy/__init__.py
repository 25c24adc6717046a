"""The backend ``"cupy"``: CUDA C++ for NVIDIA GPUs, compiled by NVRTC through CuPy."""
