"""Fields of the data card, and the quality checks that it must pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from regimen.data.episodes.schema import GateResult
from regimen.data.episodes.splits import Splits
from regimen.system.json_data import Json, JsonData

HEALTHY = "healthy"
LEAST_CLASS_SHARE = 0.05
MOST_CLASS_RATIO = 2.0
HEALTHY_SHARE = (0.3, 0.7)
MOST_SYNCHRONISED = 0.1


@dataclass
class CardFile(JsonData):
    """One of the files; what a file does not state is None, and absent from the plain form."""

    path: str
    steps: int
    num_envs: int
    run: str | None = None
    task: str | None = None
    seed: int | None = None
    policy_sha256: str | None = None
    action_noise: float | None = None
    severity: dict[str, Json] | None = None
    gate: GateResult | None = None

    def to_dict(self) -> Json:
        """Return the known fields."""
        return {name: value for name, value in super().to_dict().items() if value is not None}


@dataclass
class Spread(JsonData):
    """Spread of values."""

    min: float = 0.0
    median: float = 0.0
    mean: float = 0.0
    max: float = 0.0

    @classmethod
    def over(cls, values: np.ndarray) -> Spread:
        """Return the spread of `values` (n,); zeros without values."""
        return cls(values.min(), np.median(values), values.mean(), values.max()) if len(values) else cls()


@dataclass
class Histogram(JsonData):
    """Counts between edges, one more than counts."""

    counts: list[int]
    edges: list[float]

    @classmethod
    def over(cls, values: np.ndarray) -> Histogram:
        """Return the histogram of `values` (n,)."""
        counts, edges = np.histogram(values, 40)
        return cls(counts.tolist(), edges.tolist())


@dataclass
class EpisodeCounts(JsonData):
    """Number of episodes by their end, and their lengths in steps."""

    count: int = 0
    terminated: int = 0
    truncated: int = 0
    cut: int = 0
    length: Spread = field(default_factory=Spread)
    histogram: Histogram | None = None


@dataclass
class Onsets(JsonData):
    """Onsets of faults in steps after the begin, of episodes that were not staggered.

    Attributes:
        count: number of onsets; without any, the plain form holds nothing else.
        range: first and last step that the task draws from; where the files differ in it, the one that fits worst.
        least: earliest onset.
        most: latest onset.
        deviation: distance of the onsets drawn from the range from a uniform distribution over it.
        limit: largest deviation that passes the quality check.
        histogram: of the onsets.
    """

    count: int = 0
    range: list[int] = field(default_factory=list)
    least: int = 0
    most: int = 0
    deviation: float = 0.0
    limit: float = 0.0
    histogram: Histogram | None = None

    def to_dict(self) -> Json:
        """Return the fields; the count alone if it is 0."""
        return super().to_dict() if self.count else {"count": 0}


@dataclass
class Resets(JsonData):
    """Ends of episodes; the share of those in one step with more others than chance brings together."""

    count: int = 0
    distinct_steps: int = 0
    synchronised_share: float = 0.0


@dataclass
class Duplicates(JsonData):
    """Number of episodes that are copies, that begin as another does, and that are in several splits."""

    episodes: int = 0
    same_beginning: int = 0
    leaking: int = 0


@dataclass
class Channels(JsonData):
    """Names of constant channels, and the number of values of a channel that are not finite."""

    constant: list[str] = field(default_factory=list)
    broken: dict[str, int] = field(default_factory=dict)


@dataclass
class SplitCounts(JsonData):
    """Envs of a split, and unique frames and episodes of each class in it."""

    envs: int = 0
    frames: dict[str, int] = field(default_factory=dict)
    episodes: dict[str, int] = field(default_factory=dict)


@dataclass
class ChannelMoments(JsonData):
    """Mean and standard deviation of each channel over healthy rows."""

    mean: list[float]
    std: list[float]
    rows: int


@dataclass
class ActionChannel(JsonData):
    """One action over all steps; the share of steps at the bounds counts values of 99 % of the bound and more."""

    min: float = 0.0
    mean: float = 0.0
    max: float = 0.0
    std: float = 0.0
    at_bounds: float = 0.0


@dataclass
class DemonstrationFigures(JsonData):
    """What concerns demonstrations.

    Attributes:
        demonstrator: what acted.
        attempts: episodes tried; None if unknown.
        successes: episodes that ended in success.
        success_rate: successes by episodes tried.
        length: steps of the successes.
        actions: name -> figures.
        phase_s: phase -> mean time in s of an episode in it; empty for a task without the label `phase`.
        kept_reward: discount -> what it leaves of a reward at the end, at the begin of the median episode.
        warnings: one line for each property that prevents learning.
    """

    demonstrator: str | None = None
    attempts: int | None = None
    successes: int = 0
    success_rate: float = 0.0
    length: Spread = field(default_factory=Spread)
    actions: dict[str, ActionChannel] = field(default_factory=dict)
    phase_s: dict[str, float] = field(default_factory=dict)
    kept_reward: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class EpisodeCard(JsonData):
    """Statistics over datasets of episodes taken together; `card.json` is its plain form.

    Attributes:
        format: version of the card.
        files: the datasets.
        rows: frames of all envs.
        step_dt: seconds between two rows.
        classes: joints that may fail.
        healthy_share: share of the frames without a fault.
        frames_by_class: class -> unique frames.
        episodes_by_class: class -> episodes.
        by_split: split -> its counts; None for fewer than three envs.
        splits: envs of each split; None for fewer than three envs.
        episodes: episodes by their end.
        onsets: of the faults.
        resets: ends of episodes.
        duplicates: copies of episodes.
        channels: constant and broken channels.
        healthy: column -> statistics over healthy rows.
        demonstrations: what concerns demonstrations; None for other data.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"demonstrations"})
    format: int = 1
    files: list[CardFile] = field(default_factory=list)
    rows: int = 0
    step_dt: float = 0.0
    classes: list[str] = field(default_factory=list)
    healthy_share: float = 0.0
    frames_by_class: dict[str, int] = field(default_factory=dict)
    episodes_by_class: dict[str, int] = field(default_factory=dict)
    by_split: dict[str, SplitCounts] | None = None
    splits: Splits | None = None
    episodes: EpisodeCounts = field(default_factory=EpisodeCounts)
    onsets: Onsets = field(default_factory=Onsets)
    resets: Resets = field(default_factory=Resets)
    duplicates: Duplicates = field(default_factory=Duplicates)
    channels: Channels = field(default_factory=Channels)
    healthy: dict[str, ChannelMoments] = field(default_factory=dict)
    demonstrations: DemonstrationFigures | None = None

    def problems(self) -> list[str]:
        """Return one line for each quality check that stands before the training of a failure detector and fails."""
        if len(self.classes) < 2:
            named = ", ".join(self.classes) or "none"
            return [f"joints that may fail: {named}; a detector needs data of two or more (env.evaluation.faults)."]
        return [*self._balance_problems(), *self._onset_problems(), *self._other_problems()]

    def _balance_problems(self) -> Iterator[str]:
        counts = {joint: self.episodes_by_class[joint] for joint in self.classes}
        for joint, count in self.episodes_by_class.items():
            if joint not in counts and joint != HEALTHY and count:
                yield f"{joint}: {count} faulty episodes, but the task says that it cannot fail."
        total, needed = sum(counts.values()), f"needed {LEAST_CLASS_SHARE:.0%} or more"
        for joint, count in counts.items():
            if count < LEAST_CLASS_SHARE * total or not count:
                yield f"{joint}: {count} of {total} faulty episodes ({count / max(total, 1):.1%}), {needed}."
        most, least = max(counts, key=lambda j: counts[j]), min(counts, key=lambda j: counts[j])
        if counts[most] > MOST_CLASS_RATIO * counts[least]:
            ratio = f"more than {MOST_CLASS_RATIO:g} times"
            yield f"{most} has {counts[most]} faulty episodes, {least} {counts[least]}: {ratio}."
        low, high = HEALTHY_SHARE
        if not low <= self.healthy_share <= high:
            yield f"{self.healthy_share:.1%} of the frames are healthy, needed {low:.0%} to {high:.0%}."

    def _onset_problems(self) -> list[str]:
        onsets = self.onsets
        if onsets.count == 0:
            return ["no fault begins in an episode that was recorded from its begin."]
        first, last = onsets.range
        measured = f"{onsets.count} onsets between step {onsets.least} and {onsets.most}"
        if onsets.count > 5 and onsets.most - onsets.least < 0.1 * self.episodes.length.max:
            return [f"the faults begin nearly all at once: {measured}."]
        if onsets.deviation <= onsets.limit:
            return []
        return [
            f"the onsets are not uniform over steps {first} to {last}: {measured}, distance {onsets.deviation:.2f}, at "
            f"most {onsets.limit:.2f}."
        ]

    def _other_problems(self) -> Iterator[str]:
        share = self.resets.synchronised_share
        if share > MOST_SYNCHRONISED:
            limit = f"at most {MOST_SYNCHRONISED:.0%}"
            yield f"{share:.0%} of the resets come together with those of many other envs, {limit}."
        if self.by_split is None:
            yield "fewer than three envs: they cannot be split into train, val and test."
        else:
            for name, part in self.by_split.items():
                for joint in self.classes:
                    if not part.episodes[joint] and self.episodes_by_class[joint]:
                        yield f"{joint}: no faulty episode in the split {name}."
            if self.duplicates.leaking:
                yield f"{self.duplicates.leaking} episodes are in several splits at once: they are duplicates."
        for channel, count in self.channels.broken.items():
            yield f"{channel}: {count} values are not finite."
