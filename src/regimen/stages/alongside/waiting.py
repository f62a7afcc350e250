"""Files by which a training and its companions meet: checkpoints that wait, logs, accounts of failures."""

from __future__ import annotations

import copy
from pathlib import Path

from regimen.config.yaml_io import PlainConfig
from regimen.runs import checkpoint
from regimen.runs.checkpoint_header import BEST_JUDGED
from regimen.runs.run import Run

FOLDER = "judging"
"""Folder of the run directory with a folder of waiting checkpoints for each simulator."""

FINISH = b"finish"
"""Line on the stdin of a companion that ends it once no checkpoint waits."""

step_of = checkpoint.step_of


def sims_of(config: PlainConfig) -> list[str]:
    """Return the simulators of the evaluations, that of the training first.

    Args:
        config: the run's plain configuration.
    """
    return [str((config.get("choices") or {}).get("sim")), *config["stage"]["evaluation"]["sims"]]


def is_own(config: PlainConfig, sim: str) -> bool:
    """Return whether `sim` is the simulator of the training, whose evaluations choose the best checkpoint."""
    return sim == sims_of(config)[0]


def config_in(config: PlainConfig, sim: str) -> PlainConfig:
    """Return the plain configuration of the evaluation in a simulator: no video, threads of its own.

    Args:
        config: of the training.
        sim: one of `sims_of`.
    """
    evaluation = config["stage"]["evaluation"]
    config = copy.deepcopy(config)
    if not is_own(config, sim):
        config["sim"] = evaluation["sim_settings"][sim]
        config["choices"]["sim"] = sim
    config["hardware"]["threads"] = evaluation["threads"]
    config["video"], config["nan_dump"] = False, 0
    return config


def folder(run: Run, sim: str) -> Path:
    """Return the folder of the checkpoints that wait for the evaluation in a simulator."""
    return run.dir / FOLDER / sim


def file_of(run: Run, sim: str, step: int) -> Path:
    """Return the file of a checkpoint that waits."""
    return folder(run, sim) / f"step_{step:09d}.pt"


def checkpoints(run: Run, sim: str) -> list[Path]:
    """Return the checkpoints that wait, the oldest first.

    One that is newer than `last.pt` is left out: the training may be cut off before it counts, and write it again.
    """
    last = checkpoint.newest(run.checkpoints)
    newest = -1 if last is None else step_of(last)
    return [path for path in sorted(folder(run, sim).glob("step_*.pt")) if step_of(path) <= newest]


def next_in(run: Run, sim: str) -> Path | None:
    """Return the oldest checkpoint that waits, None where there is none."""
    return next(iter(checkpoints(run, sim)), None)


def point_to(run: Run, path: Path) -> None:
    """Make `best_judged.pt` the file of a checkpoint."""
    checkpoint.point(run.checkpoints / BEST_JUDGED, path)


def log_name(sim: str) -> str:
    """Return the name of a companion's log without suffix."""
    return f"evaluation.{sim}"


def account(run: Run, sim: str) -> Path:
    """Return the file in which a companion leaves the error that it failed with."""
    return run.logs / f"{log_name(sim)}.json"
