"""ONNX files. Needs the packages of the extra ``export``; ``import dyc.export`` does not."""
