"""Stages: the verbs of a run."""
