"""Predicting the classes of image files: what is read, what runs the network, what is written.

An ONNX file is run where NumPy, Pillow and onnxruntime are installed: only the modules of the other networks import
PyTorch.
"""
