"""From recorded episodes to what a detector is trained and judged on: inputs, classes, and which frames show it.

The label of row t describes the robot that observation t + 1 was taken from (`regimen.data.episodes.reader`). So the
class of an observation is the label of the row before it, and that of an episode's first observation is healthy: no
fault is active at a reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.data.episodes.batches import Sequences
from regimen.data.episodes.reader import FAULT
from regimen.system.errors import DatasetError

if TYPE_CHECKING:
    from regimen.data.episodes.batches import Batch
    from regimen.data.episodes.splits import Splits
    from regimen.envs.vec_env import IOSpec

HEALTHY = "healthy"
LIMIT = "labels/fault_limit"
EFFORT = "joint_effort"
"""Observation term of the applied torques, in N·m, in the order of the robot's joints."""
AT_LIMIT = 0.999
"""Share of its limit at which a joint counts as saturated."""


@dataclass(frozen=True)
class Layout:
    """Meaning of the columns of an observation group and of the labels.

    Attributes:
        group: observation group.
        size: its width d.
        classes: `healthy` and the joints that may fail.
        joint_ids: (J,) numbers of those joints in the labels and among the torques.
        torques: columns of all joints' torques in the group; None where it does not have them.
        step_dt: seconds between two frames.
    """

    group: str
    size: int
    classes: tuple[str, ...]
    joint_ids: tuple[int, ...]
    torques: slice | None
    step_dt: float

    @classmethod
    def of(cls, io: IOSpec, group: str, joints: Sequence[str], candidates: Sequence[str]) -> Layout:
        """Return the layout of a dataset or an environment.

        Args:
            io: names and sizes of its observations.
            group: the group that the detector reads.
            joints: all joints of the robot, in the order of the labels.
            candidates: those that may fail.

        Raises:
            DatasetError: there is no such group.
        """
        if group not in io.observations:
            raise DatasetError(
                f"agent.group={group}: there is no such observation group, only {', '.join(io.observations)}. A "
                "detector reads a group of its own; task=h1_failure shows one."
            )
        ids = tuple(joints.index(name) for name in candidates)
        return cls(group, io.size(group), (HEALTHY, *candidates), ids, _torques(io, group, joints), io.step_dt)

    def class_table(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return class by joint number; one more entry, the last, is that of -1."""
        table = torch.zeros(max(self.joint_ids) + 2, dtype=torch.long, device=device)
        table[list(self.joint_ids)] = torch.arange(1, len(self.classes), device=device)
        return table

    def candidate_torques(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the torques (…, J) in N·m of the joints that may fail, from inputs (…, d).

        Raises:
            DatasetError: the group does not have them.
        """
        if self.torques is None:
            raise DatasetError(f"The observation group {self.group} has no term {EFFORT}, the torques applied.")
        return inputs[..., self.torques][..., list(self.joint_ids)]


def _torques(io: IOSpec, group: str, joints: Sequence[str]) -> slice | None:
    start = 0
    for term, size in io.observations[group].items():
        if term == EFFORT and size == len(joints):
            return slice(start, start + size)
        start += size
    return None


@dataclass(frozen=True)
class Frames:
    """B episodes side by side, padded at the end to L frames.

    Attributes:
        inputs: (B, L, d).
        target: (B, L) class.
        active: (B, L) bool, faulty and the joint has reached its limit at least once since the onset.
        mask: (B, L) bool, where there is an episode.
        unit: (B,) what an episode was recorded in: envs are counted on over all datasets.
        fell: (B,) bool, it ended by a termination.
    """

    inputs: torch.Tensor
    target: torch.Tensor
    active: torch.Tensor
    mask: torch.Tensor
    unit: torch.Tensor
    fell: torch.Tensor


def shifted(labels: torch.Tensor, first: float) -> torch.Tensor:
    """Return (B, L) labels of the observations, of rows (B, L): each is that of the row before, the first `first`."""
    return torch.cat((torch.full_like(labels[:, :1], first), labels[:, :-1]), dim=1)


def saturated_since(layout: Layout, inputs: torch.Tensor, target: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Return (B, L) bool: the faulty joint has been at its limit at least once since the onset.

    Args:
        layout: where the torques are.
        inputs: (B, L, d).
        target: (B, L) class.
        limit: (B, L) N·m, the faulty joint's limit; NaN while healthy.
    """
    if layout.torques is None:
        return torch.zeros_like(target, dtype=torch.bool)
    torque = layout.candidate_torques(inputs).abs()
    own = torque.gather(-1, (target - 1).clamp_min(0)[..., None])[..., 0]
    faulty = target > 0
    return faulty & ((faulty & (own >= AT_LIMIT * limit)).cumsum(1) > 0)


class FrameSet:
    """The episodes of one split.

    Attributes:
        layout: meaning of the columns.
        sequences: the recorded episodes.
    """

    def __init__(self, layout: Layout, paths: Sequence[Path], envs: Sequence[np.ndarray], memory_bytes: int) -> None:
        """Open the files.

        Args:
            layout: meaning of the columns.
            paths: datasets.
            envs: of each, the envs of this split.
            memory_bytes: limit for the data in memory.
        """
        self.layout, self._inputs = layout, f"obs/{layout.group}"
        names = [self._inputs, FAULT, LIMIT, "terminated"]
        self.sequences = Sequences(paths, envs, names, memory_bytes)
        self._table = layout.class_table()

    def epoch(self, batch_size: int, rng: np.random.Generator | None = None) -> Iterator[Frames]:
        """Yield every episode once, `batch_size` at a time; without `rng` in the same order each time."""
        order = rng or np.random.default_rng(0)
        for batch in self.sequences.epoch(batch_size, order, shuffle=rng is not None):
            yield self._frames(batch)

    def batches(self, batch_size: int) -> int:
        """Return how many batches an epoch has, if the data are in memory as a whole."""
        return -(-self.sequences.episodes // batch_size)

    def _frames(self, batch: Batch) -> Frames:
        inputs, mask = batch.values[self._inputs], batch.mask
        target = self._table[shifted(batch.values[FAULT], -1)]
        limit = shifted(batch.values[LIMIT], torch.nan)
        last = (batch.length - 1)[:, None]
        return Frames(
            inputs,
            target.masked_fill(~mask, 0),
            saturated_since(self.layout, inputs, target, limit) & mask,
            mask,
            batch.dataset * 1_000_000 + batch.env,
            batch.values["terminated"].gather(1, last)[:, 0],
        )

    def close(self) -> None:
        """Free the memory."""
        self.sequences.close()


def statistics(frames: FrameSet, batch_size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean (d,), standard deviation (d,) and frames per class (1 + J,) of a split, padding left out."""
    size, classes = frames.layout.size, len(frames.layout.classes)
    total, square = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    counts = torch.zeros(classes, dtype=torch.float64)
    for batch in frames.epoch(batch_size):
        rows = batch.inputs[batch.mask].double()
        total += rows.sum(0)
        square += (rows * rows).sum(0)
        counts += torch.bincount(batch.target[batch.mask], minlength=classes)
    mean = total / counts.sum()
    return mean.float(), (square / counts.sum() - mean * mean).clamp_min(0).sqrt().float(), counts


@dataclass
class FrameSets:
    """A dataset split for a detector.

    Attributes:
        layout: meaning of the columns.
        io: names and sizes of the observations and actions of the dataset.
        train: for the updates; `val` selects the epoch; `test` is for the report.
    """

    layout: Layout
    io: IOSpec
    train: FrameSet
    val: FrameSet
    test: FrameSet

    @classmethod
    def open(cls, layout: Layout, io: IOSpec, paths: Sequence[Path], splits: Splits, memory_bytes: int) -> FrameSets:
        """Open the three splits; they share the memory by their numbers of envs."""
        total = sum(len(e) for name in splits.envs for e in splits.envs[name])
        share = {name: sum(map(len, envs)) / total for name, envs in splits.envs.items()}
        sets = {n: FrameSet(layout, paths, e, int(share[n] * memory_bytes)) for n, e in splits.envs.items()}
        return cls(layout, io, sets["train"], sets["val"], sets["test"])

    def close(self) -> None:
        """Free the memory of all."""
        for part in (self.train, self.val, self.test):
            part.close()
