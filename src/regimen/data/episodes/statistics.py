"""One pass over a dataset, chunk by chunk: counts per class, episodes, channels, fingerprints."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from regimen.data.episodes.reader import FAULT, EpisodeFile, EpisodeIndex

BEGINNING = 32
"""Rows of an episode that are enough to recognise it by."""


@dataclass
class ChannelFigures:
    """Statistics of one observation group, or of the action, by channel.

    Attributes:
        low: (d,) smallest finite value.
        high: (d,) largest.
        broken: (d,) values that are not finite.
        total: (d,) sum over healthy rows.
        square: (d,) sum of squares over healthy rows.
        rows: how many healthy rows.
    """

    low: np.ndarray
    high: np.ndarray
    broken: np.ndarray
    total: np.ndarray
    square: np.ndarray
    rows: int = 0

    @classmethod
    def of(cls, width: int) -> ChannelFigures:
        """Return the figures of nothing."""
        zeros = np.zeros(width)
        return cls(zeros + np.inf, zeros - np.inf, np.zeros(width, int), zeros.copy(), zeros.copy())

    def add(self, values: np.ndarray, healthy: np.ndarray) -> None:
        """Add rows (…, d), of which those where `healthy` (…) is true count for the mean."""
        finite = np.isfinite(values)
        if not finite.all():
            self.broken += (~finite).sum(axis=(0, 1))
            values = np.where(finite, values, np.nan)
        self.low = np.fmin(self.low, np.fmin.reduce(values, axis=(0, 1)))
        self.high = np.fmax(self.high, np.fmax.reduce(values, axis=(0, 1)))
        rows = values[healthy].astype(np.float64)
        rows = np.where(np.isfinite(rows), rows, 0.0)
        self.total += rows.sum(0)
        self.square += (rows * rows).sum(0)
        self.rows += len(rows)

    def mean(self) -> np.ndarray:
        """Mean over healthy rows, (d,)."""
        return np.asarray(self.total / max(self.rows, 1))

    def std(self) -> np.ndarray:
        """Standard deviation over healthy rows, (d,)."""
        return np.sqrt(np.clip(self.square / max(self.rows, 1) - self.mean() ** 2, 0.0, None))


@dataclass
class Scan:
    """Statistics of one file.

    Attributes:
        table: its episodes, E of them.
        joint: (E,) id of the joint that failed, -1 for none.
        onset: (E,) steps from the episode's first row to the first faulty one, -1 for none.
        fingerprint: (E,) equal for equal observations and actions.
        beginning: (E,) the same of the first `BEGINNING` rows.
        frames: (N, 1 + J) rows of each env by class, healthy first.
        ends: (T,) episodes that ended in each row.
        channels: column -> its figures.
    """

    table: EpisodeIndex
    joint: np.ndarray
    onset: np.ndarray
    fingerprint: np.ndarray
    beginning: np.ndarray
    frames: np.ndarray
    ends: np.ndarray
    channels: dict[str, ChannelFigures] = field(default_factory=dict)


def scan(file: EpisodeFile) -> Scan:
    """Go through a file once; memory is a chunk and a few numbers per episode and row."""
    table = file.episodes()
    vectors = [name for name, shape in file.columns.items() if len(shape) == 1]
    wide = [name for name in vectors if name.startswith("obs/") or name == "action"]
    result = _empty(file, table, wide)
    by_id = np.argsort(table.id)
    sorted_ids = table.id[by_id]
    names = [*wide, "terminated", "truncated", "episode", *([FAULT] if FAULT in file.columns else [])]
    weights = {n: _weights(file.columns[n][0], seed) for seed, n in enumerate(wide)}
    for first, values in file.chunks(names):
        fault = values.get(FAULT, np.full(values["episode"].shape, -1))
        slot = by_id[np.searchsorted(sorted_ids, values["episode"])]
        rows = np.arange(first, first + len(slot))
        age = rows[:, None] - table.start[slot]
        result.ends[rows] = (values["terminated"] | values["truncated"]).sum(1)
        envs = np.broadcast_to(np.arange(file.num_envs), fault.shape)
        np.add.at(result.frames, (envs, fault + 1), 1)
        _find_onsets(result, fault, slot, age)
        for name in wide:
            result.channels[name].add(values[name], fault < 0)
        rows_hash = np.asarray(np.sum([_row_hash(values[n], weights[n]) for n in wide], axis=0, dtype=np.uint64))
        _fingerprints(result, rows_hash, slot, age)
    return result


def _empty(file: EpisodeFile, table: EpisodeIndex, wide: list[str]) -> Scan:
    count = len(table)
    nothing = np.full(count, -1)
    marks = np.zeros(count, np.uint64)
    frames = np.zeros((file.num_envs, 1 + len(file.joints)), int)
    channels = {name: ChannelFigures.of(file.columns[name][0]) for name in wide}
    return Scan(table, nothing, nothing.copy(), marks, marks.copy(), frames, np.zeros(file.steps, int), channels)


def _find_onsets(result: Scan, fault: np.ndarray, slot: np.ndarray, age: np.ndarray) -> None:
    """Note joint and age of the first faulty row of each episode."""
    rows = np.flatnonzero(fault.ravel() >= 0)  # in the order of time
    episodes, first = np.unique(slot.ravel()[rows], return_index=True)
    new = result.onset[episodes] < 0
    episodes, at = episodes[new], rows[first[new]]
    result.onset[episodes], result.joint[episodes] = age.ravel()[at], fault.ravel()[at]


def _weights(width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 2**63, width, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _row_hash(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (rows, N) 64 bits of each row's float32 values (rows, N, d), sums modulo 2^64."""
    return np.asarray(_mixed(values.view(np.uint32).astype(np.uint64) @ weights))


def _mixed(x: np.ndarray) -> np.ndarray:
    """Spread 64 bits over all others (the finaliser of splitmix64, Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _fingerprints(result: Scan, rows: np.ndarray, slot: np.ndarray, age: np.ndarray) -> None:
    """Add rows to the fingerprints of their episodes, each weighed by its place in the episode."""
    placed = rows * (np.uint64(2) * _mixed(age.astype(np.uint64) + np.uint64(1)) + np.uint64(1))
    np.add.at(result.fingerprint, slot, placed)
    early = age < BEGINNING
    np.add.at(result.beginning, slot[early], placed[early])


def onset_deviation(onset: np.ndarray, length: np.ndarray, first: int, last: int) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of the onsets from uniform over first … last, and their effective number.

    Episodes that fell, or were cut, before their fault hide late onsets more than early ones. Each onset is weighed by
    the inverse of the share of episodes that lasted until then (inverse probability of censoring weighting, Robins and
    Finkelstein 2000; the share is that of Kaplan and Meier 1958).

    Args:
        onset: (E,) steps after the episode's begin, -1 where no fault began.
        length: (E,) steps of the episode.
        first: earliest step of the range.
        last: latest step.
    """
    observed = np.sort(onset[onset >= 0])
    if not len(observed):
        return 0.0, 0.0
    weights = 1.0 / _lasting(onset, length)[np.clip(observed, 0, None)]
    steps = np.arange(min(first, int(observed[0])), max(last, int(observed[-1])) + 1)
    below = np.cumsum(np.bincount(observed - steps[0], weights, len(steps))) / weights.sum()
    uniform = np.clip((steps - first + 1) / (last - first + 1), 0.0, 1.0)
    return float(np.abs(below - uniform).max()), float(weights.sum() ** 2 / (weights**2).sum())


def _lasting(onset: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return, for each step, the share of episodes that would have lasted until then without a fault."""
    end = np.where(onset >= 0, onset, length)  # an onset removes an episode from the risk set, but does not end it
    size = int(end.max()) + 2
    leaving = np.bincount(end, minlength=size)
    at_risk = leaving[::-1].cumsum()[::-1]
    ended = np.bincount(end[onset < 0], minlength=size)
    surviving = np.cumprod(1.0 - ended / np.maximum(at_risk, 1))
    return np.asarray(np.append(1.0, surviving[:-1]).clip(1e-3))
