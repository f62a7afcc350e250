"""Filters of runs, such as `task=h1_failure status=failed,killed name!=try* since=3d`, and the order of lists."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

from regimen.runs.index.summary import RunSummary
from regimen.runs.status import Status
from regimen.system.errors import ConfigError, did_you_mean, suggest

FORM = "Filters are key=value, key!=value and key=one,another; a value may be a pattern (name=walk*) or empty (tag=)."

Values = Callable[[RunSummary], Iterable[object]]

KEYS: dict[str, Values] = {
    "id": lambda run: [run.id],
    "name": lambda run: [run.name],
    "task": lambda run: [run.task],
    "agent": lambda run: [run.agent],
    "stage": lambda run: [run.stage],
    "status": lambda run: [run.status],
    "tag": lambda run: run.tags,
    "sweep": lambda run: [run.sweep],
    "pipeline": lambda run: [run.pipeline.id, run.pipeline.name] if run.pipeline else [],
    "step": lambda run: [run.pipeline.step] if run.pipeline else [],
    "seed": lambda run: [run.seed],
    "sim": lambda run: [run.sim],
    "hardware": lambda run: [run.hardware],
    "experiment": lambda run: [run.experiment],
    "host": lambda run: [run.host],
    "parent": lambda run: run.parents,
}
"""What can be filtered by: key -> the values a run has of it."""

TIMES = ("since", "until")
GROUPS = ("task", "agent", "stage", "sim", "hardware", "experiment")
"""Keys whose values are options of a group of the configuration."""

COMMA = re.compile(r""",(?=(?:[^'"]|'[^']*'|"[^"]*")*$)""")
"""A comma outside of quotes."""

SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|min|h|d|w)")
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}

ORDER: dict[str, Callable[[RunSummary], Any]] = {
    **{key: attrgetter(key) for key in ("id", "name", "task", "agent", "stage", "status", "seed", "ended")},
    "age": lambda run: -run.began,
    "started": lambda run: run.began,
    "duration": lambda run: run.wall_s or None,
    "memory": lambda run: run.peak_memory_gib or None,
}
"""What a list can be sorted by, besides headline metrics."""


@dataclass(frozen=True)
class Filter:
    """One condition on runs.

    Attributes:
        key: one of `KEYS` or `TIMES`.
        values: any of them will do; of `since` and `until` one time in seconds of the epoch.
        negated: whether none of them must be met.
    """

    key: str
    values: tuple[str, ...]
    negated: bool
    at: float = 0.0

    def holds(self, run: RunSummary) -> bool:
        """Return whether a run meets the condition."""
        if self.key in TIMES:
            return run.began >= self.at if self.key == "since" else run.began < self.at
        has = [str(value) for value in KEYS[self.key](run) if value is not None]
        return any(_matches(value, has, self.key) for value in self.values) != self.negated


def parse(words: Sequence[str]) -> list[Filter]:
    """Return the filters that words of a command line describe.

    Raises:
        ConfigError: a word is no filter, or its key, status or time is none; with the nearest valid ones.
    """
    return [_parse(word) for word in words]


def select(filters: Sequence[Filter], runs: Sequence[RunSummary]) -> list[RunSummary]:
    """Return the runs that meet all filters, in the same order.

    Raises:
        ConfigError: a value is neither an option of its group nor one that any run has.
    """
    for condition in filters:
        if condition.key in GROUPS:
            _check_options(condition, runs)
    return [run for run in runs if all(condition.holds(run) for condition in filters)]


def near_misses(filters: Sequence[Filter], runs: Sequence[RunSummary]) -> list[str]:
    """Return a line for each value that no run has, with what is near: an empty list may be a typing error."""
    lines = []
    for condition in filters:
        if condition.key in (*TIMES, "status", "seed") or condition.negated:
            continue
        known = {str(value) for run in runs for value in KEYS[condition.key](run) if value is not None}
        for value in condition.values:
            if value and not _is_pattern(value) and not _matches(value, list(known), condition.key):
                near = suggest(value, known)
                hint = f" Did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
                lines.append(f"No run has {condition.key}={value}.{hint}")
    return lines


def order(runs: Sequence[RunSummary], keys: str, everything: Sequence[RunSummary]) -> list[RunSummary]:
    """Return runs sorted; those without a value come last.

    Args:
        runs: the runs.
        everything: all runs, whose headline metrics may be keys.
        keys: comma-separated names of `ORDER` or of headline metrics, the most important first; `-` reverses.

    Raises:
        ConfigError: a key is neither.
    """
    done = list(runs)
    metrics = {name for run in everything for name in run.headline}
    for word in reversed(keys.split(",")):
        key = word.removeprefix("-")
        if key not in ORDER and key not in metrics:
            raise ConfigError(f"--sort {keys}: there is no `{key}`. {did_you_mean(key, [*ORDER, *metrics])}")
        value = ORDER.get(key) or _metric(key)
        with_value = [run for run in done if value(run) is not None]
        without = [run for run in done if value(run) is None]
        done = sorted(with_value, key=value, reverse=word != key) + without
    return done


def _metric(name: str) -> Callable[[RunSummary], Any]:
    return lambda run: run.headline.get(name)


def moment(text: str, key: str = "since") -> float:
    """Return a time in seconds of the epoch: so long ago (`3d`, `12h`, `30min`), a date, or a date and time.

    Raises:
        ConfigError: it is none of these.
    """
    span = SPAN.fullmatch(text)
    if span:
        return time.time() - float(span[1]) * UNITS[span[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        forms = "a time span (3d, 12h, 30min, 2w), a date (2026-11-20) or a date with a time (2026-11-20T14:30)"
        raise ConfigError(f"{key}={text}: expected {forms}.") from None


def _parse(word: str) -> Filter:
    found = re.fullmatch(r"([^=!]*)(!?=)(.*)", word, re.S)
    if not found:
        raise ConfigError(f"`{word}` is no filter; write name={word} or id={word}. {FORM}")
    key, sign, text = found.groups()
    if key not in KEYS and key not in TIMES:
        raise ConfigError(f"`{word}`: runs are not filtered by `{key}`. {did_you_mean(key, [*KEYS, *TIMES], 3)} {FORM}")
    if key in TIMES:
        if sign != "=":
            raise ConfigError(f"`{word}`: {key} takes `=`. The other way round it is {TIMES[key == 'since']}={text}.")
        return Filter(key, (text,), False, moment(text, key))
    values = tuple(re.sub(r"^(['\"])(.*)\1$", r"\2", value) for value in re.split(COMMA, text))
    if key == "status":
        _check_statuses(word, values)
    return Filter(key, values, sign == "!=")


def _check_statuses(word: str, values: Sequence[str]) -> None:
    statuses = [str(status) for status in Status]
    for value in values:
        if value not in statuses and not _is_pattern(value):
            raise ConfigError(
                f"`{word}`: there is no status `{value}`. {did_you_mean(value, statuses)} "
                f"A run is {', '.join(statuses[:-1])} or {statuses[-1]}."
            )


def _check_options(condition: Filter, runs: Sequence[RunSummary]) -> None:
    has = {str(value) for run in runs for value in KEYS[condition.key](run) if value is not None}
    unknown = [value for value in condition.values if value and not _is_pattern(value) and value not in has]
    if unknown:
        from regimen.config import groups

        known = has | {file.stem for file in (groups.config_home() / condition.key).glob("*.yaml")}
        for value in unknown:
            if value not in known:
                raise ConfigError(
                    f"`{condition.key}={value}`: no run has this {condition.key}, and there is no such option. "
                    f"{did_you_mean(value, known)}"
                )


def _matches(value: str, has: Sequence[str], key: str) -> bool:
    if not value:
        return not has or (key == "experiment" and "none" in has)  # the option that chooses none
    if _is_pattern(value):
        return any(fnmatchcase(one, value) for one in has)
    return value in has or (key == "id" and any(one.startswith(value) for one in has))


def _is_pattern(value: str) -> bool:
    return any(sign in value for sign in "*?[")
