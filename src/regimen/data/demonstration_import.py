"""Converts demonstrations in the pickles of HIL-SERL into a dataset of this project, in bounded memory.

Such a file is a list of transitions: dictionaries of `observations`, `actions`, `next_observations`, `rewards`,
`masks`, `dones`, and often `infos` and `grasp_penalty`. `masks` is 0 where an episode ended, by its time as well, which
is why a time-out is recognised by the length of the episode.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.demonstrations import DemonstrationWriter
from regimen.data.episodes.lengths import SUCCESS
from regimen.data.episodes.reader import add_attrs
from regimen.data.episodes.schema import EpisodeAttributes
from regimen.data.plain_pickle import read_items
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import DatasetError

STATE, PENALTY = "state", "grasp_penalty"
KEYS = ("observations", "actions", "next_observations", "rewards", "masks", "dones")
ACTION_TOLERANCE = 1e-5


@dataclass(frozen=True)
class _Transition:
    """One checked transition; `where` names it in messages."""

    where: str
    obs: dict[str, np.ndarray]
    next_obs: dict[str, np.ndarray]
    action: np.ndarray
    reward: float
    mask: float
    done: bool
    success: bool
    penalty: float


@dataclass
class ImportCounts:
    """What was imported.

    Attributes:
        rows: transitions.
        episodes: whole episodes.
        timed_out: of these, the ones that ended by time.
        cut: of these, the ones that end without `dones` because the next transition does not continue them.
    """

    rows: int = 0
    episodes: int = 0
    timed_out: int = 0
    cut: int = 0


def import_demonstrations(
    files: Sequence[Path],
    out: Path,
    io: IOSpec | None = None,
    task: str = "",
    step_dt: float = 0.1,
    episode_steps: int | None = None,
) -> ImportCounts:
    """Write pickled transitions as one dataset, whole or not at all.

    The observation `state` becomes the group `policy`, other vectors and images keep their names. Arrays may have a
    leading axis of length 1, the observation horizon.

    Args:
        files: in order.
        out: the dataset to make; replaced if it exists.
        io: of the task that the data are for, whose sizes they must have; None to name the values by number.
        task: its name.
        step_dt: seconds between two transitions, where there is no `io`.
        episode_steps: steps after which an unrewarded end is a time-out; None if all ends are terminations.

    Raises:
        DatasetError: a file is no such pickle, or a transition has other shapes, values that are not finite, actions
            beyond ±1 or, unlike the first, a `grasp_penalty` or none; the message names the transition. `out` is a
            folder.
    """
    if out.is_dir():
        raise DatasetError(f"--out {out} is a folder. Name a file, such as --out {out / 'demos.h5'}.")
    counts, part = ImportCounts(), out.with_name(f".{out.name}.{os.getpid()}.part")
    reader = _Reader(io, step_dt)
    writer: DemonstrationWriter | None = None
    try:
        length = 0
        for transition, continues in _with_next(reader, files):
            if writer is None:
                writer = reader.writer(part, files, task, episode_steps)
            length += 1
            out_of_time = transition.done and (
                transition.mask > 0 or (length == episode_steps and transition.reward <= 0)
            )
            truncated = out_of_time or not (transition.done or continues)
            labels: dict[str, np.ndarray] = {SUCCESS: np.array(transition.success)}
            writer.add_step(
                obs=transition.obs,
                action=transition.action,
                reward=transition.reward,
                terminated=transition.done and not out_of_time,
                truncated=truncated,
                labels=labels | ({PENALTY: np.array(transition.penalty, np.float32)} if reader.has_penalty else {}),
                final_obs=transition.next_obs,
            )
            counts.rows += 1
            if transition.done or truncated:
                length = 0
                counts.timed_out += out_of_time
                counts.cut += truncated and not out_of_time
        if writer is None:
            raise DatasetError(f"{', '.join(map(str, files))}: no transition.")
        counts.episodes = writer.episodes
        writer.close()
        add_attrs(part, {"attempts": counts.episodes})
        os.replace(part, out)
    except BaseException:
        try:
            if writer is not None:
                writer.close()
        finally:
            part.unlink(missing_ok=True)
        raise
    return counts


def _with_next(reader: _Reader, files: Sequence[Path]) -> Iterator[tuple[_Transition, bool]]:
    """Yield each transition with whether the following one continues its episode."""
    last: _Transition | None = None
    for file in files:
        for number, item in enumerate(read_items(file)):
            transition = reader.read(item, f"{file}, transition {number}")
            if last is not None:
                yield last, not last.done and _continues(last, transition)
            last = transition
        if last is not None:  # an episode ends with its file
            yield last, False
            last = None


def _continues(one: _Transition, other: _Transition) -> bool:
    vectors = [group for group, value in one.next_obs.items() if value.ndim == 1]
    return all(np.array_equal(one.next_obs[group], other.obs[group]) for group in vectors)


class _Reader:
    """Checks transitions against the first one and the task.

    Attributes:
        has_penalty: whether the first transition, and so each, has a `grasp_penalty`.
    """

    def __init__(self, io: IOSpec | None, step_dt: float) -> None:
        self._io, self._step_dt, self.has_penalty = io, step_dt, False
        self._sizes: dict[str, tuple[int, ...]] | None = None

    def writer(self, path: Path, files: Sequence[Path], task: str, episode_steps: int | None) -> DemonstrationWriter:
        """Return a writer for transitions like the one that was read."""
        assert self._io is not None, "made with the first transition"
        labels: dict[str, np.dtype[Any]] = {SUCCESS: np.dtype(bool)}
        labels |= {PENALTY: np.dtype(np.float32)} if self.has_penalty else {}
        attributes = EpisodeAttributes(
            io=self._io.to_dict(),
            joints=list(self._io.action.joints),
            step_dt=self._io.step_dt,
            max_episode_length=episode_steps,
            task=task or None,
            demonstrator="imported",
            legacy=[file.name for file in files],
        )
        return DemonstrationWriter(path, self._io, labels, attributes)

    def read(self, item: Any, where: str) -> _Transition:
        """Return one checked transition.

        Raises:
            DatasetError: naming what is missing or wrong, and in which transition.
        """
        if not isinstance(item, dict) or (missing := [key for key in KEYS if key not in item]):
            found = f"a dictionary without {', '.join(missing)}" if isinstance(item, dict) else type(item).__name__
            raise DatasetError(f"{where}: expected a dictionary of {', '.join(KEYS)}, found {found}.")
        if self._sizes is None:
            self.has_penalty = PENALTY in item
        elif self.has_penalty != (PENALTY in item):
            found, before = ("no", "have one") if self.has_penalty else ("a", "have none")
            raise DatasetError(
                f"{where}: {found} {PENALTY}, the transitions before {before}. Import files with and without it apart, "
                "or add it as 0.0 to the transitions that lack it."
            )
        obs, next_obs = (_observations(item[key], f"{where}, {key}") for key in ("observations", "next_observations"))
        action = _vector(item["actions"], f"{where}, actions")
        self._require_sizes({**{name: value.shape for name, value in obs.items()}, "actions": action.shape}, where)
        self._require_sizes({**{name: value.shape for name, value in next_obs.items()}, "actions": action.shape}, where)
        if (beyond := np.flatnonzero(np.abs(action) > 1 + ACTION_TOLERANCE)).size:
            raise DatasetError(
                f"{where}: action {beyond[0]} is {action[beyond[0]]:g}, expected -1 to 1. Divide the actions by the "
                "scale that they were recorded with."
            )
        reward, mask, done = (_number(item[key], f"{where}, {key}") for key in ("rewards", "masks", "dones"))
        infos = item.get("infos")
        succeed = infos.get("succeed") if isinstance(infos, dict) else None
        succeeded = succeed is not None and _number(succeed, f"{where}, infos, succeed") > 0
        penalty = _number(item[PENALTY], f"{where}, {PENALTY}") if self.has_penalty else 0.0
        success = done > 0 and (reward > 0 or succeeded)
        return _Transition(where, obs, next_obs, np.clip(action, -1.0, 1.0), reward, mask, done > 0, success, penalty)

    def _require_sizes(self, sizes: dict[str, tuple[int, ...]], where: str) -> None:
        if self._sizes is None:
            self._io = self._fitting(sizes, where)
            self._sizes = sizes
        differ = [n for n in {*sizes, *self._sizes} if sizes.get(n) != self._sizes.get(n)]
        if differ:
            lines = [f"{n}: {sizes.get(n, 'missing')}, before {self._sizes.get(n, 'missing')}" for n in sorted(differ)]
            raise DatasetError(f"{where}: other shapes than in the transitions before: {'; '.join(lines)}.")

    def _fitting(self, sizes: dict[str, tuple[int, ...]], where: str) -> IOSpec:
        """Return the names of the values: those of the task, whose sizes they must have, or numbers."""
        if STATE not in sizes and "policy" not in sizes:
            raise DatasetError(f"{where}: the observations have no `{STATE}`, only {', '.join(sorted(sizes))}.")
        vectors = {n: s[0] for n, s in sizes.items() if len(s) == 1 and n != "actions"}
        images = {n: list(s) for n, s in sizes.items() if len(s) > 1}
        actions = sizes["actions"][0]
        if self._io is None:
            observations = {n: {STATE if n == "policy" else n: width} for n, width in vectors.items()}
            names = [f"action_{i}" for i in range(actions)]
            spec = ActionSpec(names, [1.0] * actions, [0.0] * actions, 1.0)
            return IOSpec(observations, spec, self._step_dt, images=images)
        io = self._io
        lines = [f"actions: {actions}, the task has {io.num_actions}"] if actions != io.num_actions else []
        for name in vectors:
            if name not in io.observations:
                lines.append(f"{name}: the task has no such observations, only {', '.join(io.observations)}")
            elif vectors[name] != io.size(name):
                terms = ", ".join(f"{term} {size}" for term, size in io.observations[name].items())
                lines.append(f"{name}: {vectors[name]} values, the task has {io.size(name)} ({terms})")
        lines += [
            f"image {n}: {size}, the task has {io.images.get(n, 'none of this name')}"
            for n, size in images.items()
            if io.images and io.images.get(n) != size
        ]
        if lines:
            raise DatasetError(f"{where}: the sizes are not those of the task: {'; '.join(lines)}.")
        return replace(io, observations={n: t for n, t in io.observations.items() if n in vectors}, images=images)


def _observations(value: Any, where: str) -> dict[str, np.ndarray]:
    """Return group -> (d,) float32 or (H, W, C) uint8."""
    if not isinstance(value, dict) or not value:
        raise DatasetError(f"{where}: expected a dictionary of arrays, found {type(value).__name__}.")
    groups = {}
    for name, array in value.items():
        if not isinstance(name, str) or not name:
            raise DatasetError(f"{where}: expected names, found {_described(name)}.")
        place = f"{where}, {name}"
        if isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim >= 3:
            groups[name] = _without_horizon(array, 3, place)
        else:
            groups["policy" if name == STATE else name] = _vector(array, place)
    return groups


def _vector(value: Any, where: str) -> np.ndarray:
    """Return finite numbers (d,) as float32."""
    if not isinstance(value, np.ndarray | list | tuple) or (array := _array(value)) is None:
        raise DatasetError(f"{where}: expected numbers (d,) or a uint8 image, found {_described(value)}.")
    array = _without_horizon(array, 1, where).astype(np.float32)
    if (broken := np.flatnonzero(~np.isfinite(array))).size:
        raise DatasetError(f"{where}: value {broken[0]} is {array[broken[0]]}, expected finite numbers.")
    return array


def _without_horizon(array: np.ndarray, dimensions: int, where: str) -> np.ndarray:
    """Return an array without its leading axis of length 1."""
    if array.ndim == dimensions + 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != dimensions:
        kind = {1: "(d,) or (1, d)", 3: "(H, W, C) or (1, H, W, C)"}[dimensions]
        raise DatasetError(f"{where}: expected the shape {kind}, found {array.shape}.")
    return array


def _number(value: Any, where: str) -> float:
    array = _array(value)
    if array is None or array.size != 1 or not np.isfinite(array).all():
        raise DatasetError(f"{where}: expected one finite number, found {_described(value)}.")
    return float(array.reshape(()))


def _array(value: Any) -> np.ndarray | None:
    """Return a number, an array or a list of numbers as an array; None for all else, such as 2**70.

    A list may have the horizon of length 1 around it. Others are not opened: a pickle of few bytes can nest lists
    that numpy would unfold to billions of values.
    """
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], list | tuple | np.ndarray):
        value = value[0]
    numbers = value if isinstance(value, list | tuple) else [] if isinstance(value, np.ndarray) else [value]
    if not all(isinstance(number, int | float | np.generic) for number in numbers):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # 10**400 beside a float
        return None
    return array if array.dtype.kind in "fiub" else None


def _described(value: Any) -> str:
    """Return a short text for a value that may be nested, or an integer of too many digits for a text."""
    if isinstance(value, str | float | np.generic | np.ndarray | None):
        return f"{type(value).__name__} {str(value)[:40]}" if value is not None else "None"
    if isinstance(value, int):
        return "an int beyond 64 bits" if value.bit_length() > 64 else f"int {value}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list | tuple) else type(value).__name__
