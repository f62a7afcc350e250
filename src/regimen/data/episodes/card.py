"""The data card: statistics over every frame of datasets, for readers and for the quality checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.episodes import statistics
from regimen.data.episodes.reader import FAULT, EpisodeFile, add_attrs, open_all
from regimen.data.episodes.splits import NAMES, Splits, split
from regimen.data.episodes.statistics import BEGINNING, Scan, scan
from regimen.system.files import plain, write_json

HEALTHY = "healthy"


def make(paths: Sequence[Path], seed: int = 0, group: str | None = None) -> dict[str, Any]:
    """Return the card of datasets taken together, plain data.

    Args:
        paths: files, or folders of files.
        seed: of the splits.
        group: the one observation group to read; see `open_all`.

    Raises:
        DatasetError: a file cannot be read, or the files do not fit each other.
    """
    files = open_all(paths, group)
    try:
        scans = [scan(file) for file in files]
        counts = [file.num_envs for file in files]
        splits = split(counts, seed) if sum(counts) >= len(NAMES) else None
        names = [HEALTHY, *files[0].joints]
        frames = np.sum([s.frames.sum(0) for s in scans], axis=0)
        joint = np.concatenate([s.joint for s in scans])
        card = {
            "format": 1,
            "files": [_about(file) for file in files],
            "rows": int(frames.sum()),
            "step_dt": float(files[0].attrs["step_dt"]),
            "classes": _classes(files, joint),
            "healthy_share": float(frames[0] / max(frames.sum(), 1)),
            "frames_by_class": _named(names, frames),
            "episodes_by_class": _named(names, np.bincount(joint + 1, minlength=len(names))),
            "by_split": None if splits is None else _by_split(scans, splits, names),
            "splits": None if splits is None else splits.to_dict(),
            "episodes": _episodes(scans),
            "onsets": _onsets(files[0], scans),
            "resets": _resets(scans),
            "duplicates": _duplicates(scans, splits),
            "channels": _channels(files[0], scans),
            "healthy": _healthy(scans),
        }
    finally:
        for file in files:
            file.close()
    return dict(plain(card))


def _about(file: EpisodeFile) -> dict[str, Any]:
    known = ("run", "task", "seed", "policy_sha256", "action_noise", "severity", "gate")
    about = {name: file.attrs[name] for name in known if name in file.attrs}
    return {"path": file.path.name, "steps": file.steps, "num_envs": file.num_envs} | about


def _classes(files: list[EpisodeFile], joint: np.ndarray) -> list[str]:
    """Return the joints that may fail: those of the task, else those that did."""
    if FAULT not in files[0].columns:
        return []
    said = {name for file in files for name in file.attrs.get("classes") or []}
    names = files[0].joints
    return [n for i, n in enumerate(names) if n in said or (not said and (joint == i).any())]


def _named(names: list[str], counts: np.ndarray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def _by_split(scans: list[Scan], splits: Splits, names: list[str]) -> dict[str, Any]:
    """Return envs, unique frames and episodes of each class in each split."""
    parts = {}
    for name in NAMES:
        envs = splits.envs[name]
        frames = np.sum([s.frames[e].sum(0) for s, e in zip(scans, envs, strict=True)], axis=0)
        joint = np.concatenate([s.joint[np.isin(s.table.env, e)] for s, e in zip(scans, envs, strict=True)])
        episodes = np.bincount(joint + 1, minlength=len(names))
        total = sum(len(e) for e in envs)
        parts[name] = {"envs": total, "frames": _named(names, frames), "episodes": _named(names, episodes)}
    return parts


def _episodes(scans: list[Scan]) -> dict[str, Any]:
    length = np.concatenate([s.table.length for s in scans])
    ended = {n: int(sum(getattr(s.table, n).sum() for s in scans)) for n in ("terminated", "truncated")}
    figures = {"min": length.min(), "median": np.median(length), "mean": length.mean(), "max": length.max()}
    cut = len(length) - sum(ended.values())
    return {"count": len(length), **ended, "cut": cut, "length": figures, "histogram": _histogram(length)}


def _histogram(values: np.ndarray, bins: int = 40) -> dict[str, list[float]]:
    counts, edges = np.histogram(values, bins)
    return {"counts": counts.tolist(), "edges": edges.tolist()}


def _onsets(file: EpisodeFile, scans: list[Scan]) -> dict[str, Any]:
    """Return the distribution of the onsets, in steps after the begin, of episodes that were not staggered."""
    onset = np.concatenate([s.onset[~s.table.staggered] for s in scans])
    length = np.concatenate([s.table.length[~s.table.staggered] for s in scans])
    seen = onset[onset >= 0]
    if not len(seen):
        return {"count": 0}
    said = [params["onset_s"] for params in (file.attrs.get("severity") or {}).values() if "onset_s" in params]
    step_dt = float(file.attrs["step_dt"])
    least, most = int(seen.min()), int(seen.max())
    first, last = (round(t / step_dt) for t in said[0]) if said else (least, most)
    distance, number = statistics.onset_deviation(onset, length, first, last)
    limit = max(0.1, 1.63 / np.sqrt(number))  # 1.63: a true uniform is refused once in a hundred times
    known = {"count": len(seen), "range": [first, last], "least": least, "most": most}
    return known | {"deviation": distance, "limit": limit, "histogram": _histogram(seen)}


def _resets(scans: list[Scan]) -> dict[str, Any]:
    """Return the share of episode ends that come in one step with more others than chance brings together."""
    count = together = distinct = 0
    for found in scans:
        mean = found.ends.mean()
        limit = max(_by_chance(mean), 4 * mean)
        count += int(found.ends.sum())
        together += int(found.ends[found.ends > limit].sum())
        distinct += int((found.ends > 0).sum())
    return {"count": count, "distinct_steps": distinct, "synchronised_share": together / max(count, 1)}


def _by_chance(mean: float) -> int:
    """Return the number that a Poisson variable of this mean exceeds once in 10,000 times."""
    numbers = range(int(mean + 10 * math.sqrt(mean) + 10))
    chances = [math.exp(k * math.log(max(mean, 1e-12)) - mean - math.lgamma(k + 1)) for k in numbers]
    return int(np.searchsorted(np.cumsum(chances), 0.9999))


def _duplicates(scans: list[Scan], splits: Splits | None) -> dict[str, int]:
    """Return how many episodes are copies, begin as another does, or are in several splits."""
    of = [
        np.zeros(s.table.env.max() + 1, int) if splits is None else splits.of(i, len(s.frames))
        for i, s in enumerate(scans)
    ]
    where = np.concatenate([names[s.table.env] for names, s in zip(of, scans, strict=True)])
    whole = np.concatenate([s.fingerprint for s in scans])
    length = np.concatenate([s.table.length for s in scans])
    long = length >= BEGINNING
    beginning = np.concatenate([s.beginning for s in scans])[long]
    spread = [_spread(whole, where), _spread(beginning, where[long])]
    copies = [len(marks) - len(np.unique(marks)) for marks in (whole, beginning)]
    return {"episodes": copies[0], "same_beginning": copies[1], "leaking": max(spread)}


def _spread(marks: np.ndarray, where: np.ndarray) -> int:
    """Return how many marks appear in more than one split."""
    pairs = np.unique(np.stack([marks, where.astype(np.uint64)], axis=1), axis=0)
    return int((np.unique(pairs[:, 0], return_counts=True)[1] > 1).sum())


def _channels(file: EpisodeFile, scans: list[Scan]) -> dict[str, Any]:
    """Return the names of constant channels, and how many values of a channel are not finite."""
    constant: list[str] = []
    broken: dict[str, int] = {}
    for column in scans[0].channels:
        figures = [s.channels[column] for s in scans]
        low, high = np.min([f.low for f in figures], axis=0), np.max([f.high for f in figures], axis=0)
        bad = np.sum([f.broken for f in figures], axis=0)
        names = channel_names(file, column)
        constant += [name for name, same in zip(names, low >= high, strict=True) if same]
        broken |= {name: int(count) for name, count in zip(names, bad, strict=True) if count}
    return {"constant": constant, "broken": broken}


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


def _healthy(scans: list[Scan]) -> dict[str, Any]:
    """Return mean and standard deviation of each channel over healthy rows."""
    found = {}
    for column, figures in scans[0].channels.items():
        for other in scans[1:]:
            figures.total += other.channels[column].total
            figures.square += other.channels[column].square
            figures.rows += other.channels[column].rows
        found[column] = {"mean": figures.mean(), "std": figures.std(), "rows": figures.rows}
    return found


def keep_healthy(path: Path, card: dict[str, Any]) -> None:
    """Write the healthy statistics of a card into its file: attribute `healthy`."""
    add_attrs(path, {"healthy": card["healthy"]})


def write(card: dict[str, Any], data: Path, pictures: Path) -> list[Path]:
    """Write `card.json` and `card.md` into `data`, `card_*.png` into `pictures`; return the paths."""
    from regimen.data.episodes import card_figures, card_text

    data.mkdir(parents=True, exist_ok=True)
    write_json(data / "card.json", card)
    (data / "card.md").write_text(card_text.text(card))
    return [data / "card.json", data / "card.md", *card_figures.draw(card, pictures)]
