"""Submission to Slurm and what happens to jobs there."""
