"""Booster K1."""
