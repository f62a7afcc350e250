"""Checks before the start, one run, sweeps, pipelines, Slurm."""
