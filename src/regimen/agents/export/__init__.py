"""Policies exported as ONNX or TorchScript."""
