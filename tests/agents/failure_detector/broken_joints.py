"""A dataset in which two joints swing, and a broken one cannot swing as far: learnable in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.episode_files import CANDIDATES, IO, JOINTS, balanced, write
from regimen.agents.failure_detector.frames import FrameSets, Layout
from regimen.data.episodes.reader import EpisodeFile
from regimen.data.episodes.splits import split
from regimen.envs.vec_env import IOSpec
from regimen.system.errors import StopRequested

LIMIT = 3.0
SWING = IOSpec(
    {"policy": IO.observations["policy"], "discriminator": {"position": 2, "goal": 1, "joint_effort": 4}},
    IO.action,
    IO.step_dt,
)


def table(num_envs: int = 48, episodes: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """Columns whose torques show the faults of `balanced`: at most `LIMIT` of an amplitude of 10."""
    made = balanced(num_envs, episodes, 100, seed)
    fault, episode = made["labels/fault_joint"], made["episode"]
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6.28, (1, num_envs, 4))
    torque = 10.0 * np.sin(0.7 * np.arange(len(fault))[:, None, None] + phase)
    shown = np.full_like(fault, -1)  # an observation shows the fault of the row before it
    same = episode[1:] == episode[:-1]
    shown[1:] = np.where(same, fault[:-1], -1)
    for joint in range(2):
        broken = shown == joint
        torque[..., joint] = np.where(broken, torque[..., joint].clip(-LIMIT, LIMIT), torque[..., joint])
    made["obs/discriminator"][..., 3:] = torque
    made["labels/fault_limit"] = np.where(fault >= 0, LIMIT, np.nan).astype(np.float32)
    return made


def write_swing(path: Path, made: dict[str, np.ndarray] | None = None, **changes: Any) -> Path:
    """A file of such episodes."""
    return write(path, table() if made is None else made, **({"io": SWING.to_dict(), "staggered": True} | changes))


def layout() -> Layout:
    """What its numbers mean."""
    return Layout.of(SWING, "discriminator", list(JOINTS), list(CANDIDATES))


def open_sets(path: Path, seed: int = 0) -> FrameSets:
    """Its splits."""
    with EpisodeFile(path) as file:
        envs = [file.num_envs]
    return FrameSets.open(layout(), SWING, [path], split(envs, seed), 2**30)


@dataclass
class QuietRun:
    """A run that nobody watches; it stops when it has been asked `stop_after` times whether to."""

    stop_after: int | None = None
    notes: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    def progress(self, **fields: Any) -> None:
        self.notes.append(fields)

    def check_stop(self, step: int, save: Any) -> None:
        self.asked += 1
        if self.asked == self.stop_after:
            save()
            raise StopRequested(15, step)


@dataclass
class Memory:
    """Keeps checkpoints in memory, copies as a file would."""

    training: dict[str, Any] | None = None
    network: dict[str, Any] = field(default_factory=dict)
    metric: float = -1.0

    def load(self) -> dict[str, Any] | None:
        return self.training

    def save(self, step: int, network: dict[str, Any], training: dict[str, Any], metric: float | None) -> None:
        self.training = copied(training)
        if metric is not None and metric > self.metric:
            self.metric, self.network = metric, copied(network)

    def best(self) -> dict[str, Any]:
        return self.network


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [copied(v) for v in value]
    return value.clone() if isinstance(value, torch.Tensor) else value
