"""Hydra sweeper plugin of Regimen for studies by optuna."""
