"""Humanoid of 28 joints."""
