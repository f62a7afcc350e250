"""Policies as one file that needs nothing of this project: ONNX or TorchScript, with all that a robot has to know."""
