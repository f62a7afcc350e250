"""Columns and chunks of a file of episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regimen.system.json_data import Json, JsonData

FORMAT = 1
CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Column:
    """One dataset of the file, (T, N, *tail).

    Attributes:
        dtype: numpy name of the type.
        tail: shape of one env's value.
    """

    dtype: str
    tail: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of one env's value."""
        return np.dtype(self.dtype).itemsize * math.prod(self.tail)


@dataclass
class GateResult(JsonData):
    """Check of a policy without faults against the bounds of its task, before data are recorded with it.

    Attributes:
        at_least: metric -> lower bound.
        at_most: metric -> upper bound.
        accept: reason to use a policy that misses bounds.
        measured: metric -> value, of those with a bound.
        short: one line for each missed bound.
    """

    at_least: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)
    accept: str | None = None
    measured: dict[str, float] = field(default_factory=dict)
    short: list[str] = field(default_factory=list)


@dataclass
class EpisodeAttributes(JsonData):
    """Attributes of a file; what the file does not state is None, and is not written.

    Attributes:
        steps: rows T.
        num_envs: envs N.
        io: names, sizes and order of observations and actions, the plain `IOSpec`.
        joints: joint names; labels and torques count in this order.
        classes: joints that may fail.
        step_dt: seconds between two rows.
        max_episode_length: steps.
        staggered: whether the clocks of the first episodes did not start at 0.
        severity: fault event -> its parameters.
        run: id of the recording run.
        parents: ids of the runs whose results it read.
        command: its command line.
        task: name of the task.
        seed: of the run.
        action_noise: standard deviation of the noise on actions.
        policy_sha256: checksum of the policy.
        gate: check of the policy.
        healthy: column -> statistics over healthy rows, see `ChannelMoments`.
        legacy: names of the files that a legacy recording was converted from.
        legacy_offset: rows between an event and the first observation made under it, in a legacy recording.
    """

    format: int | None = None
    steps: int = 0
    num_envs: int = 0
    io: Json = field(default_factory=dict)
    joints: list[str] = field(default_factory=list)
    classes: list[str] | None = None
    step_dt: float = 0.0
    max_episode_length: int | None = None
    staggered: bool = False
    severity: dict[str, Json] | None = None
    run: str | None = None
    parents: list[str] | None = None
    command: str | None = None
    task: str | None = None
    seed: int | None = None
    action_noise: float | None = None
    policy_sha256: str | None = None
    gate: GateResult | None = None
    healthy: dict[str, Json] | None = None
    legacy: list[str] | None = None
    legacy_offset: int | None = None

    def head(self) -> Json:
        """Return the attributes for `EpisodeWriter`, which itself counts rows and envs."""
        written = {name: value for name, value in self.to_dict().items() if value is not None}
        return {name: value for name, value in written.items() if name not in ("steps", "num_envs")}


def columns_for(groups: dict[str, int], actions: int, labels: dict[str, np.dtype[Any]]) -> dict[str, Column]:
    """Return name -> column of the layout.

    Args:
        groups: observation group -> width.
        actions: width of the action.
        labels: name -> type.
    """
    table = {f"obs/{group}": Column("float32", (width,)) for group, width in groups.items()}
    table |= {"action": Column("float32", (actions,)), "reward": Column("float32")}
    table |= {"terminated": Column("bool"), "truncated": Column("bool"), "episode": Column("int32")}
    return table | {f"labels/{name}": Column(str(dtype)) for name, dtype in labels.items()}


def chunk_steps(num_envs: int) -> int:
    """Return the rows of a chunk, which a crash may lose: 64, and more for few envs, whose rows are small."""
    return min(max(4096 // num_envs, 64), 512)


def chunk_envs(column: Column, steps: int, num_envs: int) -> int:
    """Return the number of envs in a chunk of about 1 MB, the unit in which envs are read."""
    return min(max(CHUNK_BYTES // (steps * column.bytes), 1), num_envs)
