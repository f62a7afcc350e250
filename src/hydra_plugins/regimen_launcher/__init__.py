"""Hydra launcher plugin of Regimen."""
