"""Trainings in two processes: a script in one and in two of them, and runs of two."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from helpers.supervised_runs import ENV
from regimen.config.schema import Config
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run

TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def learnt_by_one_and_two(script: Path, folder: Path) -> list[Any]:
    """Return what a script saves in one process, and in two; its argument is the file to write, in `folder`."""
    learnt = []
    for name, launcher in (("one", []), ("two", TWO)):
        path = folder / name
        command = [sys.executable, *launcher, str(script), str(path)]
        done = subprocess.run(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        learnt.append(torch.load(path))
    return learnt


def new_pair(root: Path, config: Config) -> Run:
    """Return a run of two processes, not started."""
    config.hardware.processes = 2
    return Run(create_run_dir(root, asdict(config), ["launch.py"], [], repository=root))
