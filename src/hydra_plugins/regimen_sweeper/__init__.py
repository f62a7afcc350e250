"""Hydra sweeper plugin of Regimen."""
