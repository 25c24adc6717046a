"""Training and evaluation of networks that classify every pixel."""
