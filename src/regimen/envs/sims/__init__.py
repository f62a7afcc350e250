"""Simulators behind the World interface."""
