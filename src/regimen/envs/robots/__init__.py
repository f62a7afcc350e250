"""Robots: one folder each, with an MJCF model and `robot.py`."""

from regimen.envs.robots.robot import Mirror, Robot, load, match

__all__ = ["Mirror", "Robot", "load", "match"]
