"""Predicting the classes of image files: what is read, what runs the network, what is written.

Only :mod:`~lightning_modules.prediction.checkpoint_network` imports PyTorch: an ONNX file is run where NumPy, Pillow
and onnxruntime are installed.
"""
