"""Pipelines: graphs of runs."""
