"""Unitree Go2."""
