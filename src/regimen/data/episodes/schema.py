"""Columns and chunks of a file of episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regimen.system.json_data import Json, JsonData

FORMAT = 1
CHUNK_BYTES = 2**20

IMAGE_BUFFER_BYTES = 2**23
"""Images of one open chunk of rows, which the writer holds twice."""


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
        demonstrator: of demonstrations, what acted: `scripted`, `human`, `imported`, or `policy`.
        attempts: of demonstrations, the episodes tried, those that were not kept included.
        phases: names of the values of the label `phase`.
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
    demonstrator: str | None = None
    attempts: int | None = None
    phases: list[str] | None = None

    def head(self) -> Json:
        """Return the attributes for `EpisodeWriter`, which itself counts rows and envs."""
        written = {name: value for name, value in self.to_dict().items() if value is not None}
        return {name: value for name, value in written.items() if name not in ("steps", "num_envs")}


def columns_for(
    groups: dict[str, int],
    actions: int,
    labels: dict[str, np.dtype[Any]],
    images: dict[str, list[int]] | None = None,
    final_obs: bool = False,
) -> dict[str, Column]:
    """Return name -> column of the layout.

    Args:
        groups: observation group -> width.
        actions: width of the action.
        labels: name -> type.
        images: image group -> [H, W, C].
        final_obs: whether the observation after an episode's last action is stored too, in columns that are zero in
            all other rows.
    """
    observed = {group: Column("float32", (width,)) for group, width in groups.items()}
    observed |= {group: Column("uint8", tuple(size)) for group, size in (images or {}).items()}
    table = {f"obs/{group}": column for group, column in observed.items()}
    table |= {"action": Column("float32", (actions,)), "reward": Column("float32")}
    table |= {"terminated": Column("bool"), "truncated": Column("bool"), "episode": Column("int32")}
    table |= {f"labels/{name}": Column(str(dtype)) for name, dtype in labels.items()}
    return table | ({f"final_obs/{group}": column for group, column in observed.items()} if final_obs else {})


def chunk_steps(num_envs: int, image_bytes: int = 0) -> int:
    """Return the rows of a chunk, which a crash may lose: 64, and more for few envs, whose rows are small.

    Args:
        num_envs: N.
        image_bytes: of the images in one env's row; the rows are fewer if their images exceed `IMAGE_BUFFER_BYTES`.
    """
    steps = min(max(4096 // num_envs, 64), 512)
    return steps if not image_bytes else min(steps, _power_of_two(IMAGE_BUFFER_BYTES // (num_envs * image_bytes)))


def image_steps(column: Column, steps: int) -> int:
    """Return the rows of a chunk on disk: `steps`, and of an image as many as make about 1 MB."""
    return steps if len(column.tail) < 2 else min(steps, _power_of_two(CHUNK_BYTES // column.bytes))


def _power_of_two(number: int) -> int:
    """Return the largest power of two that is not above `number`, and 1 for less than 1."""
    return 1 << (max(number, 1).bit_length() - 1)


def chunk_envs(column: Column, steps: int, num_envs: int) -> int:
    """Return the number of envs in a chunk of about 1 MB, the unit in which envs are read."""
    return min(max(CHUNK_BYTES // (steps * column.bytes), 1), num_envs)
