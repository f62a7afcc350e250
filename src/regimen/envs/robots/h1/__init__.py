"""Unitree H1."""
