"""Loggers beside TensorBoard and the process that forwards metrics to them."""
