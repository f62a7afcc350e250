"""Simulators behind the World seam."""
