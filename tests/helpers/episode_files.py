"""Small datasets made by hand, with faults as the task h1_failure labels them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.episodes.schema import columns_for
from regimen.data.episodes.writer import EpisodeWriter
from regimen.envs.vec_env import ActionSpec, IOSpec

JOINTS = ("hip", "knee", "ankle", "wrist")
CANDIDATES = ("hip", "knee")
IO = IOSpec(
    {"policy": {"position": 2, "goal": 1}, "discriminator": {"position": 2, "goal": 1, "torque": 4}},
    ActionSpec(list(JOINTS), [1.0] * 4, [0.0] * 4),
    0.02,
)


def attrs(**changes: Any) -> dict[str, Any]:
    """Return what a file of `h1_failure` says of itself, as far as the readers look at it."""
    severity = {"change_joint_torque": {"joints": "hip|knee", "onset_s": [0.2, 1.0]}}
    known = {"io": IO.to_dict(), "joints": list(JOINTS), "step_dt": 0.02, "severity": severity, "staggered": False}
    return known | {"classes": list(CANDIDATES), "run": "made", "seed": 0} | changes


def columns(num_envs: int, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random columns (T, N, …) without ends or faults: every env plays one episode."""
    rng = np.random.default_rng(seed)
    shape = (steps, num_envs)
    table: dict[str, np.ndarray] = {
        "obs/policy": rng.normal(size=(*shape, 3)).astype(np.float32),
        "obs/discriminator": rng.normal(size=(*shape, 7)).astype(np.float32),
        "action": rng.normal(size=(*shape, 4)).astype(np.float32),
        "reward": rng.normal(size=shape).astype(np.float32),
        "terminated": np.zeros(shape, bool),
        "truncated": np.zeros(shape, bool),
        "episode": np.broadcast_to(np.arange(num_envs, dtype=np.int32), shape).copy(),
        "labels/fault_joint": np.full(shape, -1, np.int16),
    }
    return table


def end_at(table: dict[str, np.ndarray], ends: dict[int, list[int]], column: str = "terminated") -> None:
    """End the episodes of env -> rows, and number the episodes anew in the order in which they begin."""
    for env, rows in ends.items():
        table[column][rows, env] = True
    done = table["terminated"] | table["truncated"]
    next_id = done.shape[1]
    for row in range(len(done) - 1):
        table["episode"][row + 1] = table["episode"][row]
        for env in np.flatnonzero(done[row]):
            table["episode"][row + 1, env] = next_id
            next_id += 1


def balanced(num_envs: int = 64, episodes: int = 4, length: int = 100, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a good set: half the episodes get a fault of a random joint, at its own time, and fall 20 steps later.

    Onsets are uniform over 10 … 50 steps; the envs begin at times of their own.
    """
    rng = np.random.default_rng(seed)
    table = columns(num_envs, episodes * length, seed)
    faults, ends = table["labels/fault_joint"], table["terminated"]
    for env in range(num_envs):
        row = -int(rng.integers(length))
        while row < len(faults):
            onset, joint, fails = row + int(rng.integers(10, 51)), int(rng.integers(2)), rng.random() < 0.7
            stop = min(onset + 45 + int(rng.integers(20)), row + length) if fails else row + length
            if fails:
                faults[max(onset, 0) : max(stop, 0), env] = joint
            if 0 < stop <= len(faults):
                ends[stop - 1, env] = True
            row = stop
    end_at(table, {})
    return table


def write(path: Path, table: dict[str, np.ndarray], **changes: Any) -> Path:
    """Write columns to a file and return its path."""
    num_envs = table["action"].shape[1]
    labels = {n.removeprefix("labels/"): v.dtype for n, v in table.items() if n.startswith("labels/")}
    groups = {n.removeprefix("obs/"): v.shape[2] for n, v in table.items() if n.startswith("obs/")}
    writer = EpisodeWriter(path, columns_for(groups, table["action"].shape[2], labels), num_envs, attrs(**changes))
    for row in range(len(table["action"])):
        writer.add({name: value[row] for name, value in table.items()})
    writer.close()
    return path
