"""Makes the data card: statistics over every frame of datasets, for readers and for the quality checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from regimen.data.episodes import card_pages
from regimen.data.episodes.card_schema import (
    HEALTHY,
    ActionChannel,
    CardFile,
    ChannelMoments,
    Channels,
    DemonstrationFigures,
    Duplicates,
    EpisodeCard,
    EpisodeCounts,
    Histogram,
    Onsets,
    Resets,
    SplitCounts,
    Spread,
)
from regimen.data.episodes.lengths import DISCOUNTS, PHASE, SUCCESS, discount_problem
from regimen.data.episodes.reader import FAULT, EpisodeFile, EpisodeIndex, add_attrs, open_all
from regimen.data.episodes.splits import NAMES, Splits, split
from regimen.data.episodes.statistics import BEGINNING, Scan, onset_deviation, scan
from regimen.system.errors import DatasetError
from regimen.system.files import write_json


def make(paths: Sequence[Path], seed: int | None = None, group: str | None = None) -> EpisodeCard:
    """Return the card of datasets taken together.

    Args:
        paths: files, or folders of files.
        seed: of the splits; None: the seed of the recording, and 0 if several files differ in it or none states it.
        group: the one observation group to read; see `open_all`.

    Raises:
        DatasetError: a file cannot be read or holds no rows, or the files do not fit each other.
    """
    files = open_all(paths, group)
    try:
        if empty := [str(file.path) for file in files if not file.steps]:
            raise DatasetError(
                f"{', '.join(empty)} has no rows yet: expected one or more. Resume its recording "
                "(python launch.py resume=<run>), or leave it out."
            )
        scans = [scan(file) for file in files]
        counts = [file.num_envs for file in files]
        splits = split(counts, _seed(files) if seed is None else seed) if sum(counts) >= len(NAMES) else None
        names = [HEALTHY, *files[0].joints]
        frames = np.sum([s.frames.sum(0) for s in scans], axis=0)
        joint = np.concatenate([s.joint for s in scans])
        return EpisodeCard(
            files=[_card_file(f) for f in files],
            rows=int(frames.sum()),
            step_dt=files[0].attributes.step_dt,
            classes=_classes(files, joint),
            healthy_share=float(frames[0] / max(frames.sum(), 1)),
            frames_by_class=_named(names, frames),
            episodes_by_class=_named(names, np.bincount(joint + 1, minlength=len(names))),
            by_split=None if splits is None else _by_split(scans, splits, names),
            splits=splits,
            episodes=_episodes(scans),
            onsets=_onsets(files, scans),
            resets=_resets(scans),
            duplicates=_duplicates(scans, splits),
            channels=_channels(files[0], scans),
            healthy=_healthy(scans),
            demonstrations=_demonstrations(files, scans),
        )
    finally:
        for file in files:
            file.close()


def _seed(files: list[EpisodeFile]) -> int:
    """Return the seed that all recordings have in common, else 0."""
    seeds = {file.attributes.seed for file in files}
    return (seeds.pop() or 0) if len(seeds) == 1 else 0


def _card_file(file: EpisodeFile) -> CardFile:
    shared = {field.name for field in fields(CardFile)} - {"path"}
    return CardFile(file.path.name, **{name: getattr(file.attributes, name) for name in shared})


def _classes(files: list[EpisodeFile], joint: np.ndarray) -> list[str]:
    """Return the joints that may fail: those of the task, else those that did."""
    if FAULT not in files[0].columns:
        return []
    declared = {name for file in files for name in file.attributes.classes or []}
    names = files[0].joints
    return [n for i, n in enumerate(names) if n in declared or (not declared and (joint == i).any())]


def _named(names: list[str], counts: np.ndarray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def _by_split(scans: list[Scan], splits: Splits, names: list[str]) -> dict[str, SplitCounts]:
    parts = {}
    for name in NAMES:
        envs = splits.envs[name]
        frames = np.sum([s.frames[e].sum(0) for s, e in zip(scans, envs, strict=True)], axis=0)
        joint = np.concatenate([s.joint[np.isin(s.table.env, e)] for s, e in zip(scans, envs, strict=True)])
        episodes = np.bincount(joint + 1, minlength=len(names))
        parts[name] = SplitCounts(sum(len(e) for e in envs), _named(names, frames), _named(names, episodes))
    return parts


def _episodes(scans: list[Scan]) -> EpisodeCounts:
    length = np.concatenate([s.table.length for s in scans])
    terminated, truncated = (int(sum(getattr(s.table, n).sum() for s in scans)) for n in ("terminated", "truncated"))
    cut = len(length) - terminated - truncated
    return EpisodeCounts(len(length), terminated, truncated, cut, Spread.over(length), Histogram.over(length))


def _onsets(files: list[EpisodeFile], scans: list[Scan]) -> Onsets:
    """Return the onsets of all files, those drawn from one range compared with it, and the worst comparison."""
    drawn: dict[tuple[int, int] | None, list[Scan]] = {}
    for file, one in zip(files, scans, strict=True):
        drawn.setdefault(_onset_range(file), []).append(one)
    compared = [found for steps, group in drawn.items() if (found := _compared(steps, group)) is not None]
    if not compared:
        return Onsets()
    worst = max(compared, key=lambda found: found.deviation / found.limit)
    observed = np.concatenate([s.onset[~s.table.staggered & (s.onset >= 0)] for s in scans])
    least, most = int(observed.min()), int(observed.max())
    return replace(worst, count=len(observed), least=least, most=most, histogram=Histogram.over(observed))


def _onset_range(file: EpisodeFile) -> tuple[int, int] | None:
    """Return the first and the last step that the file's task draws onsets from, None if it does not say."""
    ranges = [params["onset_s"] for params in (file.attributes.severity or {}).values() if "onset_s" in params]
    if not ranges:
        return None
    first, last = (round(t / file.attributes.step_dt) for t in ranges[0])
    return first, last


def _compared(steps: tuple[int, int] | None, scans: list[Scan]) -> Onsets | None:
    """Return range, deviation and limit of onsets drawn from `steps` (None: from their own range), None without any."""
    onset = np.concatenate([s.onset[~s.table.staggered] for s in scans])
    length = np.concatenate([s.table.length[~s.table.staggered] for s in scans])
    observed = onset[onset >= 0]
    if not len(observed):
        return None
    first, last = steps or (int(observed.min()), int(observed.max()))
    distance, number = onset_deviation(onset, length, first, last)
    limit = max(0.1, 1.63 / np.sqrt(number))  # 1.63: a true uniform is refused once in a hundred times
    return Onsets(range=[first, last], deviation=distance, limit=limit)


def _resets(scans: list[Scan]) -> Resets:
    count = together = distinct = 0
    for one in scans:
        mean = one.ends.mean()
        limit = max(_by_chance(mean), 4 * mean)
        count += int(one.ends.sum())
        together += int(one.ends[one.ends > limit].sum())
        distinct += int((one.ends > 0).sum())
    return Resets(count, distinct, together / max(count, 1))


def _by_chance(mean: float) -> int:
    """Return the number that a Poisson variable of this mean exceeds once in 10,000 times."""
    numbers = range(int(mean + 10 * math.sqrt(mean) + 10))
    chances = [math.exp(k * math.log(max(mean, 1e-12)) - mean - math.lgamma(k + 1)) for k in numbers]
    return int(np.searchsorted(np.cumsum(chances), 0.9999))


def _duplicates(scans: list[Scan], splits: Splits | None) -> Duplicates:
    split_of_env = [
        np.zeros(s.table.env.max() + 1, int) if splits is None else splits.of(i, len(s.frames))
        for i, s in enumerate(scans)
    ]
    where = np.concatenate([names[s.table.env] for names, s in zip(split_of_env, scans, strict=True)])
    fingerprint = np.concatenate([s.fingerprint for s in scans])
    long = np.concatenate([s.table.length for s in scans]) >= BEGINNING
    beginning = np.concatenate([s.beginning for s in scans])[long]
    leaking = max(_in_several_splits(fingerprint, where), _in_several_splits(beginning, where[long]))
    copies, same = (len(marks) - len(np.unique(marks)) for marks in (fingerprint, beginning))
    return Duplicates(copies, same, leaking)


def _in_several_splits(marks: np.ndarray, where: np.ndarray) -> int:
    """Return how many marks appear in more than one split."""
    pairs = np.unique(np.stack([marks, where.astype(np.uint64)], axis=1), axis=0)
    return int((np.unique(pairs[:, 0], return_counts=True)[1] > 1).sum())


def _channels(file: EpisodeFile, scans: list[Scan]) -> Channels:
    channels = Channels()
    for column in scans[0].channels:
        figures = [s.channels[column] for s in scans]
        low, high = np.min([f.low for f in figures], axis=0), np.max([f.high for f in figures], axis=0)
        bad = np.sum([f.broken for f in figures], axis=0)
        names = channel_names(file, column)
        channels.constant += [name for name, same in zip(names, low >= high, strict=True) if same]
        channels.broken |= {name: int(count) for name, count in zip(names, bad, strict=True) if count}
    return channels


def channel_names(file: EpisodeFile, column: str) -> list[str]:
    """Return a name for each channel of an observation group or the action, by joint where there is one for each."""
    if column == "action":
        return [f"action[{joint}]" for joint in file.io.action.joints]
    group = column.removeprefix("obs/")
    names = []
    for term, size in file.io.observations[group].items():
        own = file.io.meaning.get(group, {}).get(term, {}).get("joints") or file.joints
        labels = own if len(own) == size else range(size)
        names += [f"{group}.{term}[{label}]" for label in labels]
    return names


def _healthy(scans: list[Scan]) -> dict[str, ChannelMoments]:
    moments = {}
    for column, figures in scans[0].channels.items():
        for other in scans[1:]:
            figures.total += other.channels[column].total
            figures.square += other.channels[column].square
            figures.rows += other.channels[column].rows
        moments[column] = ChannelMoments(figures.mean().tolist(), figures.std().tolist(), figures.rows)
    return moments


def _demonstrations(files: list[EpisodeFile], scans: list[Scan]) -> DemonstrationFigures | None:
    """Return the figures of demonstrations, None for files without final observations; small columns are read whole."""
    if not all("final_obs/policy" in file.columns for file in files):
        return None
    tables = [scan.table.select(scan.table.terminated | scan.table.truncated) for scan in scans]
    success = [_successes(file, table) for file, table in zip(files, tables, strict=True)]
    lengths = np.concatenate([table.length[won] for table, won in zip(tables, success, strict=True)])
    count, tried = sum(map(len, tables)), [file.attributes.attempts for file in files]
    attempts = None if None in tried else sum(n or 0 for n in tried)
    median = float(np.median(np.concatenate([table.length for table in tables]))) if count else 0.0
    warnings = [line] if count and (line := discount_problem(median, DISCOUNTS[0])) else []
    if not len(lengths):
        warnings.insert(0, "no episode ended in success: there is nothing to learn from.")
    return DemonstrationFigures(
        demonstrator=files[0].attributes.demonstrator,
        attempts=attempts,
        successes=len(lengths),
        success_rate=len(lengths) / max(attempts or count, 1),
        length=Spread.over(lengths),
        actions=_actions(files),
        phase_s=_phases(files, count),
        kept_reward={f"{discount:g}": discount**median for discount in DISCOUNTS},
        warnings=warnings,
    )


def _successes(file: EpisodeFile, table: EpisodeIndex) -> np.ndarray:
    """Return (E,) whether an episode ended in success: by its label, or without one by the reward of its last step."""
    name = f"labels/{SUCCESS}" if f"labels/{SUCCESS}" in file.columns else "reward"
    return np.asarray(file.read([name])[name][table.stop - 1, table.env] > 0)


def _actions(files: list[EpisodeFile]) -> dict[str, ActionChannel]:
    action = np.concatenate([file.read(["action"])["action"].reshape(-1, file.columns["action"][0]) for file in files])
    clip = files[0].io.action.clip
    if not len(action):
        return {}
    return {
        name: ActionChannel(
            min=float(values.min()),
            mean=float(values.mean()),
            max=float(values.max()),
            std=float(values.std()),
            at_bounds=0.0 if clip is None else float((np.abs(values) >= 0.99 * clip).mean()),
        )
        for name, values in zip(files[0].io.action.joints, action.T, strict=True)
    }


def _phases(files: list[EpisodeFile], episodes: int) -> dict[str, float]:
    """Return phase -> mean time of an episode in it in s."""
    name = f"labels/{PHASE}"
    if not episodes or not all(name in file.columns for file in files):
        return {}
    counts = np.sum([np.bincount(file.read([name])[name].ravel().astype(int), minlength=64) for file in files], axis=0)
    known = files[0].attributes.phases or []
    return {
        known[phase] if phase < len(known) else str(phase): float(
            counts[phase] * files[0].attributes.step_dt / episodes
        )
        for phase in np.flatnonzero(counts)
    }


def keep_healthy(path: Path, card: EpisodeCard) -> None:
    """Write the healthy statistics of a card into its file: attribute `healthy`."""
    add_attrs(path, {"healthy": card.to_dict()["healthy"]})


def write(card: EpisodeCard, data: Path, pictures: Path) -> list[Path]:
    """Write `card.json` and `card.md` into `data`, `card_*.png` into `pictures`; return the paths."""
    data.mkdir(parents=True, exist_ok=True)
    write_json(data / "card.json", card.to_dict())
    (data / "card.md").write_text(card_pages.text(card), "utf-8")
    return [data / "card.json", data / "card.md", *card_pages.draw(card, pictures)]
