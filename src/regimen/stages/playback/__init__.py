"""Observers of a rollout and their options."""
