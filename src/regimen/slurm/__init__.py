"""Runs that a scheduler starts: Slurm, or processes of this machine through the same path (`submitit_local`)."""
