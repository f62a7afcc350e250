"""Rollouts with observers: video, real time, step log, viewer."""
