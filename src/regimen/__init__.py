"""Regimen: one launcher for robot-learning experiments."""

__version__ = "0.1.0"
