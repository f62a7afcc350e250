"""Submission to Slurm, requeueing and job states."""
