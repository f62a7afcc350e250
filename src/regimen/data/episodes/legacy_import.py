"""Convert legacy recordings of H1 failures to a dataset of this project: `regimen import-legacy <files> --out`.

One env has `discriminator_obs.dat` (CSV: step, terminated, observation_0 …) with `joint_torque_event_log.dat` (CSV:
common_step_counter, target_joint_id). Of many, env i has `discriminator_obs_env_i.npz` (`data`, rows of step,
terminated, 88 values) and `joint_torque_env_i.npz` (rows of step, terminated, 19 switches). Labels are compared with
the torques, in which a fault shows as an effort limit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from regimen.data.episodes.schema import Column, EpisodeAttributes
from regimen.data.episodes.writer import EpisodeWriter
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import DatasetError

_SIDES = ("left", "right")
JOINTS = (
    *(f"{side}_hip_yaw" for side in _SIDES), "torso",
    *(f"{side}_{part}" for part in ("hip_roll", "shoulder_pitch", "hip_pitch", "shoulder_roll", "knee", "shoulder_yaw",
                                    "ankle", "elbow") for side in _SIDES),
)  # fmt: skip
"""Order of the joints in the legacy files, that of Isaac Lab's H1."""

CANDIDATES = tuple(j for j in JOINTS if "hip" in j or "knee" in j)
TERMS = {"base_lin_vel": 3, "base_ang_vel": 3, "projected_gravity": 3, "velocity_commands": 3} | {
    name: len(JOINTS) for name in ("joint_pos", "joint_vel", "actions")
}
STEP_DT = 0.02

OBSERVATION, TORQUES = 88, 19
NO_JOINT = 999
"""Value of the event log for an episode without a fault."""


@dataclass
class LegacyEnv:
    """The recording of one env.

    Attributes:
        source: file of the observations.
        step: (T,) counter.
        observation: (T, 88) float32; the last 19 are the applied torques.
        terminated: (T,) bool.
        truncated: (T,) bool, inferred from the length of episodes: the formats do not record it.
        events: joints that broke, in the order of time.
    """

    source: Path
    step: np.ndarray
    observation: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    events: list[Event]

    def labels(self, offset: int) -> np.ndarray:
        """Return (T,) int16 `fault_joint` in this project's alignment: of the step that the row's action causes.

        Args:
            offset: rows between where an event is written and the first observation made under it.
        """
        joint = np.full(len(self.step), -1, np.int16)
        for event in self.events:
            joint[event.first(offset - 1) : event.stop] = event.joint
        return joint


def _read(files: list[Path], episode_steps: int, offset: int) -> list[LegacyEnv]:
    """Return the envs of legacy files, in the order of their numbers.

    Args:
        files: the two `.dat` of one env, or the `.npz` of many; or their folder.
        episode_steps: steps after which an episode ended by time.
        offset: see `LegacyEnv.labels`; 0 if faults were applied before the observation of their step, 1 if after.

    Raises:
        DatasetError: files are missing, do not fit each other, or their labels do not fit their torques.
    """
    members = sorted(f for path in files for f in (path.iterdir() if path.is_dir() else [path]))
    numbered = {i: f for f in members if (i := _number(f, "discriminator_obs")) is not None}
    if numbered:
        labels = {i: f for f in members if (i := _number(f, "joint_torque")) is not None}
        if alone := sorted(numbered.keys() ^ labels.keys()):
            raise DatasetError(f"Env {alone[0]} has only one of its two files, as have {len(alone) - 1} other envs.")
        envs = [_read_npz(numbered[i], labels[i], episode_steps) for i in sorted(numbered)]
    else:
        envs = [_read_dat(*_pair(members), episode_steps)]
    _require_offset(envs, offset)
    return envs


def _number(file: Path, kind: str) -> int | None:
    match = re.fullmatch(rf"{kind}_env_(\d+)\.npz", file.name)
    return int(match[1]) if match else None


def _pair(files: list[Path]) -> tuple[Path, Path]:
    """Return the files of observations and events, identified by their headers."""
    kinds = {}
    for file in files:
        if file.suffix != ".npz":
            with file.open(encoding="utf-8") as lines:
                kinds[lines.readline().split(",")[0].strip()] = file
    if not {"step", "common_step_counter"} <= kinds.keys():
        raise DatasetError(
            f"{', '.join(f.name for f in files) or 'No file'}: expected discriminator_obs.dat (step,terminated,"
            "observation_0,…) with joint_torque_event_log.dat (common_step_counter,target_joint_id), or pairs of "
            "discriminator_obs_env_<i>.npz and joint_torque_env_<i>.npz."
        )
    return kinds["step"], kinds["common_step_counter"]


def _read_dat(observations: Path, log: Path, episode_steps: int) -> LegacyEnv:
    table = np.loadtxt(observations, delimiter=",", skiprows=1, ndmin=2, converters={1: _truth})
    step, terminated = _steps(table, observations), table[:, 1] > 0.5
    truncated = _time_outs(terminated, episode_steps)
    begins, stops = _bounds(terminated | truncated)
    events: list[Event] = []
    for counter, joint in np.loadtxt(log, delimiter=",", skiprows=1, ndmin=2).astype(int).tolist():
        if joint == NO_JOINT:
            continue
        row = counter - int(step[0])
        if not 0 <= row < len(step) or not 0 <= joint < TORQUES:
            raise DatasetError(
                f"{log}: joint {joint} at step {counter} does not belong to {observations.name}, which has steps "
                f"{step[0]} to {step[-1]} and {TORQUES} joints."
            )
        events.append(Event(int(begins[row]), row, int(stops[row]), joint))
    _require_single(events, log)
    return LegacyEnv(observations, step, table[:, 2:].astype(np.float32), terminated, truncated, events)


def _truth(text: str) -> float:
    return 1.0 if text.strip().lower() in ("1", "1.0", "true") else 0.0


def _read_npz(observations: Path, labels: Path, episode_steps: int) -> LegacyEnv:
    table, switches = _array(observations, 2 + OBSERVATION), _array(labels, 2 + TORQUES)
    step, terminated = _steps(table, observations), table[:, 1] > 0.5
    shift = shift_between(terminated, switches[:, 1] > 0.5)
    same = len(table) == len(switches) and np.array_equal(step, switches[:, 0])
    if not same or shift != 0:
        fits = f"shifted by {shift} rows they agree" if shift else "they agree at no shift of up to 2 rows"
        fits = "their ends agree, lengths or steps do not" if shift == 0 else fits
        raise DatasetError(
            f"{observations.name} ({len(table)} rows) and {labels.name} ({len(switches)} rows) are not aligned: {fits}."
        )
    truncated = _time_outs(terminated, episode_steps)
    begins, stops = _bounds(terminated | truncated)
    on = switches[:, 2:] > 0.5
    if (both := np.flatnonzero(on.sum(1) > 1)).size:
        raise DatasetError(f"{labels}: several joints are broken at once in row {both[0]}; expected one at most.")
    ends = (terminated | truncated)[:-1]
    if (stuck := np.flatnonzero((on[1:] & on[:-1]).any(1) & ends)).size:
        raise DatasetError(
            f"{labels}: the episode that ends in row {stuck[0]} was faulty, and so is the first row after it: labels "
            "that were not cleared at resets mark healthy episodes as faulty. Is --episode-steps right?"
        )
    before = np.vstack((np.zeros((1, TORQUES), bool), on[:-1]))
    events = [Event(int(begins[r]), int(r), int(stops[r]), int(joint)) for r, joint in np.argwhere(on & ~before)]
    _require_single(events, labels)
    return LegacyEnv(observations, step, table[:, 2:].astype(np.float32), terminated, truncated, events)


def _array(file: Path, width: int) -> np.ndarray:
    with np.load(file) as arrays:
        name = "data" if "data" in arrays else arrays.files[0]
        table = arrays[name].astype(np.float64)
    if table.ndim != 2 or table.shape[1] != width:
        raise DatasetError(f"{file}: expected {width} columns, found an array of shape {table.shape}.")
    return np.asarray(table)


def _steps(table: np.ndarray, file: Path) -> np.ndarray:
    """Return the step counter, which must count rows.

    Raises:
        DatasetError: it has a gap, or the rows are not as wide as they should be.
    """
    if table.shape[1] != 2 + OBSERVATION:
        raise DatasetError(f"{file}: expected {OBSERVATION} observations, found {table.shape[1] - 2}.")
    step = table[:, 0].astype(np.int64)
    if (wrong := np.flatnonzero(np.diff(step) != 1)).size:
        row = int(wrong[0])
        raise DatasetError(
            f"{file}: step {step[row]} is followed by {step[row + 1]} in row {row + 1}; rows are missing."
        )
    return step


def _time_outs(terminated: np.ndarray, episode_steps: int) -> np.ndarray:
    """Return the rows (T,) in which an episode must have ended by time, because none is longer."""
    truncated, begin = np.zeros_like(terminated), 0
    for end in [*np.flatnonzero(terminated).tolist(), len(terminated)]:
        truncated[begin + episode_steps - 1 : end : episode_steps] = True
        begin = end + 1
    return truncated


def _bounds(done: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row (T,) the first row of its episode, and (T,) the row after the last."""
    bounds = np.concatenate(([0], np.flatnonzero(done[:-1]) + 1, [len(done)]))
    after = np.searchsorted(bounds, np.arange(len(done)), side="right")
    return bounds[after - 1], bounds[after]


def _require_single(events: list[Event], file: Path) -> None:
    for one, other in pairwise(events):
        if one.stop == other.stop:
            raise DatasetError(
                f"{file}: joints {one.joint} and {other.joint} break in one episode (rows {one.row} and {other.row}); "
                "one was to break. Is --episode-steps right?"
            )


def _require_offset(envs: list[LegacyEnv], offset: int) -> None:
    """Raise if the torques of all envs together show another offset."""
    torque = np.concatenate([env.observation[:, -TORQUES:] for env in envs])
    firsts = np.cumsum([0, *(len(env.step) for env in envs)])
    events = [event.shifted(first) for env, first in zip(envs, firsts, strict=False) for event in env.events]
    fits, contradictions = fitting_offset(torque, events)
    if fits is None or fits == offset:
        return
    rows = contradictions.get(offset, 0)
    why = f"{rows} rows labelled as limited exceed the limit" if rows else "rows before the labels are limited already"
    raise DatasetError(
        f"The labels of {envs[0].source.parent} do not fit the torques at offset {offset}: {why}. Offset {fits} fits: "
        f"--offset {fits}."
    )


OFFSETS = (-2, -1, 0, 1, 2)


SETTLED = 3
"""Rows after an event from which the torques are surely under the new limit, whatever the offset."""


@dataclass(frozen=True)
class Event:
    """A joint that broke.

    Attributes:
        begin: first row of the episode.
        row: first row of the fault according to the file.
        stop: row after the last of the episode.
        joint: id.
    """

    begin: int
    row: int
    stop: int
    joint: int

    def first(self, offset: int) -> int:
        """Return the row `offset` rows after `row`, or the begin of the episode if that is later."""
        return max(self.row + offset, self.begin)

    def shifted(self, rows: int) -> Event:
        """Return the event in a table that has `rows` more rows before it."""
        return Event(self.begin + rows, self.row + rows, self.stop + rows, self.joint)


def fitting_offset(torque: np.ndarray, events: Sequence[Event]) -> tuple[int | None, dict[int, int]]:
    """Return the offset between the labels of a file and its torques, and the contradictions at each offset.

    The limit of a faulty joint is its largest torque from `SETTLED` rows after an event on. A row that is labelled
    limited and exceeds it is a contradiction. The result is the smallest offset without contradictions, if the next
    smaller one has some; else the torques are inconclusive.

    Args:
        torque: (T, J) N·m.
        events: all of the file.

    Returns:
        The first row under the fault is `event.row` + offset; None if the torques do not show it.
    """
    limits = _limits(torque, events)
    table = {offset: 0 for offset in (OFFSETS[0] - 1, *OFFSETS)}
    for event in events:
        limit = limits.get(event.joint, np.inf) * 1.001 + 1e-3
        for offset in table:
            rows = torque[event.first(offset) : min(event.row + SETTLED, event.stop), event.joint]
            table[offset] += int((np.abs(rows) > limit).sum())
    clean = [offset for offset in OFFSETS if not table[offset]]
    if not clean or not table[clean[0] - 1]:
        return None, table
    return clean[0], table


def _limits(torque: np.ndarray, events: Sequence[Event]) -> dict[int, float]:
    """Return joint -> the largest torque (N·m) that it shows well after a fault, in the median of its faults."""
    largest: dict[int, list[float]] = {}
    for event in events:
        rows = torque[event.row + SETTLED : event.stop, event.joint]
        if len(rows):
            largest.setdefault(event.joint, []).append(float(np.abs(rows).max()))
    return {joint: float(np.median(values)) for joint, values in largest.items()}


def shift_between(a: np.ndarray, b: np.ndarray) -> int | None:
    """Return k of `OFFSETS`, the nearest to 0, for which b[t + k] equals a[t] throughout; None if there is none.

    Args:
        a: (T,) bool.
        b: (T',) bool of about the same length.
    """
    for k in sorted(OFFSETS, key=abs):
        first, second = (a[: len(a) - k], b[k:]) if k >= 0 else (a[-k:], b[:k])
        common = min(len(first), len(second))
        if common and np.array_equal(first[:common], second[:common]):
            return k
    return None


def convert(files: list[Path], out: Path, episode_steps: int = 1000, offset: int = 0) -> Path:
    """Write legacy files as one dataset, without actions and rewards, which they lack; return its path.

    Args:
        files: see `_read`.
        out: the dataset to make.
        episode_steps: steps after which an episode ended by time.
        offset: see `LegacyEnv.labels`.

    Raises:
        DatasetError: files are missing or not aligned, or the envs have different lengths.
    """
    envs = _read(files, episode_steps, offset)
    lengths = sorted({len(env.step) for env in envs})
    if len(lengths) > 1:
        raise DatasetError(f"The envs have {lengths[0]} to {lengths[-1]} rows; import those of one length together.")
    columns = _columns(envs, offset)
    kinds = {name: Column(str(value.dtype), value.shape[2:]) for name, value in columns.items()}
    writer = EpisodeWriter(out, kinds, len(envs), _attributes(files, offset).head())
    for row in range(lengths[0]):
        writer.add({name: value[row] for name, value in columns.items()})
    writer.close()
    return out


def _columns(envs: list[LegacyEnv], offset: int) -> dict[str, np.ndarray]:
    """Return name -> (T, N, …)."""
    observation = np.stack([env.observation for env in envs], axis=1)
    terminated, truncated = (np.stack([getattr(e, n) for e in envs], axis=1) for n in ("terminated", "truncated"))
    done = terminated | truncated
    return {
        "obs/policy": np.ascontiguousarray(observation[:, :, : sum(TERMS.values())]),
        "obs/discriminator": observation,
        "terminated": terminated,
        "truncated": truncated,
        "episode": _episodes(done),
        "labels/fault_joint": np.stack([env.labels(offset) for env in envs], axis=1),
    }


def _episodes(done: np.ndarray) -> np.ndarray:
    """Return (T, N) int32 ids: an episode ends with a done, and ids are numbered through all envs."""
    ended = np.zeros(done.shape, np.int64)
    ended[1:] = done[:-1].cumsum(0)
    counts = ended[-1] + 1
    return (ended + np.append(0, counts.cumsum()[:-1])).astype(np.int32)


def _attributes(files: list[Path], offset: int) -> EpisodeAttributes:
    # Scale 0.5 is that of Isaac Lab's H1; the offset is unknown, and not needed: no policy acts by this dataset.
    action = ActionSpec(list(JOINTS), [0.5] * len(JOINTS), [0.0] * len(JOINTS))
    io = IOSpec({"policy": TERMS, "discriminator": TERMS | {"joint_effort": len(JOINTS)}}, action, STEP_DT)
    return EpisodeAttributes(
        io=io.to_dict(), joints=list(JOINTS), classes=list(CANDIDATES), step_dt=STEP_DT, task="legacy",
        legacy=[file.name for file in files], legacy_offset=offset,
    )  # fmt: skip
