"""The schedulers that may start runs; imported by lists of runs, which need nothing else of the configuration."""

from __future__ import annotations

SCHEDULERS = ("slurm", "submitit_local")
"""Values of `hardware.scheduler`, and kinds of queue whose jobs have a number."""
