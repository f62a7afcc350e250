"""Metrics of evaluated episodes with 95 % intervals, per command and overall, and the results made of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.data.episodes.lengths import SUCCESS, TERMINATED
from regimen.display.intervals import Figure, bootstrap, magnitude, share
from regimen.stages.evaluation.fault_grid import FaultCase
from regimen.system import files
from regimen.system.errors import DatasetError
from regimen.system.json_data import Json, JsonData

if TYPE_CHECKING:
    from regimen.stages.playback.rollout import FirstEpisodeStats

EPISODES = "episodes.csv"
"""File of an evaluation with one row for each episode."""

ENV, COMMAND, FELL, SUCCEEDED, END = "env", "command", "end:fell", "end:succeeded", "end:by:"
"""Columns of that file beside the metrics: number of the env, index of its command, 0 or 1 for each kind of end."""

SUCCESS_TIME = "success_time_s"
"""Figure of the time to success, over the successes."""


def read_figures(data: Json) -> dict[str, Figure]:
    """Return the figures with a known value among the entries of a plain result."""
    figures = {name: value for name, value in data.items() if isinstance(value, dict) and "value" in value}
    return {name: Figure(**value) for name, value in figures.items() if value["value"] is not None}


@dataclass
class EvaluationMetrics(JsonData):
    """Metrics of a set of episodes.

    Attributes:
        command: command of the episodes; None for all commands together, or without commands.
        episodes: number of episodes.
        falls: number of episodes that ended by a termination that is no success.
        figures: name -> value with interval; always `return`, `survival` and `episode_length_s`; of a task with the
            label `success` also the share `success`, `success_time_s` of the successes, if any, and the share of each
            kind of failure in `ends`.
        ends: kind -> number of episodes that ended so, see `FirstEpisodeStats`; empty in results of older versions.
    """

    command: list[float] | None
    episodes: int
    falls: int
    figures: dict[str, Figure] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """Names of the shares of failures, of a task with the label `success`."""
        return [name for name in self.ends if name in self.figures and name != SUCCESS]

    def add_failures(self, names: Iterable[str]) -> None:
        """Add the kinds of failure `names` that no episode ended by, as a share of 0 of the episodes.

        Nothing is added to metrics without kinds of ends or without the label `success`, where the share is unknown.
        """
        if not self.ends or SUCCESS not in self.figures:
            return
        for name in names:
            if name not in self.ends:
                self.ends[name], self.figures[name] = 0, share(np.zeros(self.episodes, dtype=bool))

    def shown(self) -> list[str]:
        """Return the names of the metrics in display order: those of the task first, survival and return last."""
        last = ["survival", "return"]
        leading = (SUCCESS, SUCCESS_TIME, *self.failures, "forward_speed", "speed_error")
        first = [name for name in leading if name in self.figures]
        return first + [n for n in self.figures if n not in (*first, *last, "episode_length_s")] + last

    @staticmethod
    def common(rows: list[EvaluationMetrics]) -> list[str]:
        """Return the names in display order that all of `rows` have: without a success there is no time of one."""
        return [name for name in rows[0].shown() if all(name in row.figures for row in rows)]

    def to_dict(self) -> Json:
        """Return plain data for result.json; the figures lie beside the other fields."""
        fields = super().to_dict()
        figures = fields.pop("figures")
        return fields | figures

    @classmethod
    def from_dict(cls, data: Json) -> EvaluationMetrics:
        """Return the metrics of plain data."""
        return cls(data.get("command"), data["episodes"], data["falls"], read_figures(data), data.get("ends") or {})


@dataclass
class EpisodeResults:
    """Results of one episode per env, on the CPU.

    Attributes:
        command_of_env: (N,) index into the grid.
        columns: name -> (N,): `return`, `episode_length_s` and the metrics of the env, NaN in an episode that ends
            before they are measured: by the onset of a fault.
        fell: (N,) bool, whether the episode ended by a termination that is no success.
        succeeded: (N,) bool, whether it ended by a success; None for a task without the label `success`.
        ends: kind -> (N,) bool, how it ended, see `FirstEpisodeStats`.
    """

    command_of_env: np.ndarray
    columns: dict[str, np.ndarray]
    fell: np.ndarray
    succeeded: np.ndarray | None = None
    ends: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, episodes: FirstEpisodeStats, command_of_env: np.ndarray, step_dt: float) -> EpisodeResults:
        """Read the statistics of finished episodes; `step_dt` is the step time in s."""
        columns = {"return": episodes.returns, "episode_length_s": episodes.steps} | episodes.means()
        arrays = {name: value.cpu().numpy() for name, value in columns.items()}
        arrays["episode_length_s"] = arrays["episode_length_s"] * step_dt  # float64, as `read` returns it
        succeeded = None if episodes.succeeded is None else episodes.succeeded.cpu().numpy()
        ends = {kind: envs.cpu().numpy() for kind, envs in episodes.ends.items()}
        ends = {kind: envs for kind, envs in ends.items() if envs.any() or kind != TERMINATED}
        return cls(command_of_env, arrays, episodes.fell.cpu().numpy(), succeeded, ends)

    def write(self, path: Path) -> None:
        """Write one row for each episode, as CSV; `read` returns the same values, bit for bit."""
        flags = {FELL: self.fell} | ({} if self.succeeded is None else {SUCCEEDED: self.succeeded})
        flags |= {f"{END}{kind}": envs for kind, envs in self.ends.items()}
        columns: list[list[object]] = [list(range(len(self.fell))), self.command_of_env.tolist()]
        columns += [envs.astype(int).tolist() for envs in flags.values()]
        columns += [np.asarray(values, dtype=np.float64).tolist() for values in self.columns.values()]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([ENV, COMMAND, *flags, *self.columns])
        writer.writerows(zip(*columns, strict=True))
        files.write_atomic(path, text.getvalue().encode())

    @classmethod
    def read(cls, path: Path) -> EpisodeResults:
        """Read what `write` wrote; metrics are float64.

        Raises:
            DatasetError: the file is missing, or damaged.
        """
        try:
            rows = list(csv.reader(io.StringIO(files.read_bytes(path).decode())))
            head, table = rows[0], np.array(rows[1:], dtype=np.float64)
            named = dict(zip(head, table.T, strict=True))
            flags = {name: named.pop(name).astype(bool) for name in head if name.startswith("end:")}
            index = named.pop(COMMAND).astype(int)
            if (named.pop(ENV) != np.arange(len(index))).any():
                raise ValueError("its envs are not 0, 1, 2, …")
            ends = {name.removeprefix(END): envs for name, envs in flags.items() if name.startswith(END)}
            return cls(index, named, flags[FELL], flags.get(SUCCEEDED), ends)
        except (OSError, ValueError, LookupError) as error:
            why = getattr(error, "strerror", None) or error
            raise DatasetError(
                f"{files.display_path(path)} cannot be read: {why}. Repeat the evaluation, which writes it; an older "
                "one has none."
            ) from error


def compute_metrics(
    episodes: EpisodeResults, rows: np.ndarray, command: list[float] | None, resamples: int, seed: int
) -> EvaluationMetrics:
    """Return the metrics of the selected episodes.

    A figure is made of the episodes in which it is measured, and left out if there is none.

    Args:
        episodes: all episodes.
        rows: (N,) bool, the selected ones.
        command: their common command; if the env reports `forward_speed`, `speed_error` is the distance of the mean
            speed from the first value of the command, in m/s.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    fell = episodes.fell[rows]
    result = EvaluationMetrics(command, int(rows.sum()), int(fell.sum()))
    for name, values in episodes.columns.items():
        measured = values[rows]
        measured = measured[~np.isnan(measured)]
        if len(measured):
            result.figures[name] = bootstrap(measured, resamples, seed)
    result.ends = {kind: int(envs[rows].sum()) for kind, envs in episodes.ends.items()}
    result.figures["survival"] = share(~fell)
    if episodes.succeeded is not None:
        succeeded = episodes.succeeded[rows]
        result.figures |= {kind: share(envs[rows]) for kind, envs in episodes.ends.items()}
        result.figures[SUCCESS] = share(succeeded)
        if succeeded.any():
            seconds = episodes.columns["episode_length_s"][rows][succeeded]
            result.figures[SUCCESS_TIME] = bootstrap(seconds, resamples, seed)
    if command and "forward_speed" in episodes.columns:
        signed = bootstrap(episodes.columns["forward_speed"][rows] - command[0], resamples, seed)
        result.figures["speed_error"] = magnitude(signed)
    return result


def compute_all_metrics(
    episodes: EpisodeResults, grid: list[list[float]], resamples: int, seed: int
) -> tuple[EvaluationMetrics, list[EvaluationMetrics]]:
    """Return the metrics of all episodes, and those of each command of `grid` in its order."""
    by_command = [
        compute_metrics(episodes, episodes.command_of_env == k, list(c), resamples, seed) for k, c in enumerate(grid)
    ]
    overall = compute_metrics(episodes, np.ones(len(episodes.fell), dtype=bool), None, resamples, seed)
    errors = [j.figures["speed_error"] for j in by_command if "speed_error" in j.figures]
    if errors:
        overall.figures["speed_error"] = max(errors, key=lambda figure: figure.value)
    return overall, by_command


def survival_curve(episodes: EpisodeResults, rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the share (T,) of the selected episodes without a fall at each of `times` (T,) in s."""
    fell_at = np.where(episodes.fell[rows], episodes.columns["episode_length_s"][rows], np.inf)
    return (fell_at[None, :] > times[:, None]).mean(axis=1)


def headline(overall: EvaluationMetrics, name: str) -> dict[str, float]:
    """Return the headline numbers for run.json: metric `name` of the task, return, survival and falls."""
    values: Mapping[str, float] = {key: figure.value for key, figure in overall.figures.items()}
    first = {name: values[name]} if name in values else {}
    first |= {key: values[key] for key in (SUCCESS, SUCCESS_TIME) if key in values}
    return first | {"return": values["return"], "survival": values["survival"], "falls": float(overall.falls)}


@dataclass
class FaultMetrics(JsonData):
    """Metrics of the episodes with one fault, or with several faults together.

    Attributes:
        case: the fault; None for several.
        metrics: survival, return, and metrics of the task from the onset on, such as velocity error and power.
        time_to_fall_s: median time in s from the onset to the fall; None without falls.
    """

    case: FaultCase | None
    metrics: EvaluationMetrics
    time_to_fall_s: float | None

    def to_dict(self) -> Json:
        """Return plain data for result.json; the metrics lie beside the other fields."""
        head = {"joint": self.case.joint, "severity": self.case.severity} if self.case and self.case.joint else {}
        metrics = {name: value for name, value in self.metrics.to_dict().items() if name != "command"}
        return head | metrics | {"time_to_fall_s": self.time_to_fall_s}

    @classmethod
    def from_dict(cls, data: Json) -> FaultMetrics:
        """Return the metrics of plain data."""
        case = FaultCase(data.get("joint"), float(data.get("severity") or 0.0), data["episodes"])
        return cls(case, EvaluationMetrics.from_dict(data), data.get("time_to_fall_s"))


@dataclass
class GroundMetrics(JsonData):
    """Metrics of the episodes on one kind of ground.

    Attributes:
        kind: its name in `env.terrain.kinds`.
        level: row of difficulty.
        metrics: over all commands.
    """

    kind: str
    level: int
    metrics: EvaluationMetrics

    def to_dict(self) -> Json:
        """Return plain data for result.json; the metrics lie beside the other fields."""
        metrics = {name: value for name, value in self.metrics.to_dict().items() if name != "command"}
        return {"kind": self.kind, "level": self.level, **metrics}

    @classmethod
    def from_dict(cls, data: Json) -> GroundMetrics:
        """Return the metrics of plain data."""
        return cls(data["kind"], data["level"], EvaluationMetrics.from_dict(data))


@dataclass
class PolicyOrigin(JsonData):
    """Evaluated policy: file, run and step of its training."""

    path: str | None = None
    run: str | None = None
    step: int | None = None


@dataclass(kw_only=True)
class PolicyEvaluation(JsonData):
    """Fields of every evaluation of a policy; result.json holds also the entries of observers.

    Attributes:
        policy: the evaluated policy.
        task: chosen task.
        seed: of the run.
        episode_length_s: length of an episode in s.
        intervals: method of the intervals, in words.
        wall_s: duration in s.
    """

    policy: PolicyOrigin = field(default_factory=PolicyOrigin)
    task: str | None
    seed: int = 0
    episode_length_s: float
    intervals: str = ""
    wall_s: float = 0.0


@dataclass(kw_only=True)
class EvaluationResult(PolicyEvaluation):
    """Result of `stage=evaluate`.

    Attributes:
        envs_per_command: episodes for each command.
        disturbances: whether disturbances were active.
        observation_noise: whether observations were noisy.
        overall: metrics over all commands.
        commands: metrics of each command.
        ground: metrics on each kind of uneven ground at each level that is evaluated; empty on flat ground.
        env_steps: steps of all first episodes.
    """

    envs_per_command: int
    disturbances: bool
    observation_noise: bool = True
    overall: EvaluationMetrics
    commands: list[EvaluationMetrics]
    ground: list[GroundMetrics] = field(default_factory=list)
    env_steps: int = 0

    def to_dict(self) -> Json:
        """Return plain data for result.json; `ground` is there on uneven ground only."""
        return {name: value for name, value in super().to_dict().items() if value != [] or name != "ground"}


@dataclass(kw_only=True)
class FaultEvaluationResult(PolicyEvaluation):
    """Result of `stage=evaluate stage.faults=true`.

    Attributes:
        estimate: mode of the fault estimate, and file of the estimator.
        command: held command.
        onset_s: time of the onset in s.
        healthy: metrics without a fault.
        overall: metrics over all faults.
        joints: joint -> metrics over its severities.
        cells: metrics of each fault, joint by joint, the mildest first.
    """

    estimate: dict[str, str | None] = field(default_factory=dict)
    command: list[float]
    onset_s: float
    healthy: FaultMetrics
    overall: FaultMetrics | None = None
    joints: dict[str, FaultMetrics] = field(default_factory=dict)
    cells: list[FaultMetrics]


def command_label(command: list[float] | None) -> str:
    """Return a short name of a command; `all` for None."""
    return ", ".join(f"{value:g}" for value in command) if command else "all"


def ends_in_words(metrics: EvaluationMetrics) -> str:
    """Return how the episodes ended, the most frequent kind first; kinds without an episode are left out."""
    counts = sorted(metrics.ends.items(), key=lambda item: -item[1])
    return ", ".join(f"{kind} {count}" for kind, count in counts if count)


def print_table(overall: EvaluationMetrics, by_command: list[EvaluationMetrics]) -> None:
    """Print one row per command and one for all commands."""
    from regimen.display.text_tables import TextTable, print_tables

    rows = [*by_command, overall] if by_command[0].command else [overall]
    names = EvaluationMetrics.common(rows)
    heads = ["command", "falls", *(name.replace("_", "\n") for name in names)]
    title = "evaluation, with 95 % intervals (bootstrap; shares: Wilson)"
    if "speed_error" in names:
        title += " (speed error of `all`: the worst command's)"
    cells = [
        (
            command_label(row.command),
            f"{row.falls}\nof {row.episodes}",
            *(row.figures[name].two_lines() for name in names),
        )
        for row in rows
    ]
    print_tables([TextTable(title, heads, cells)])
    if overall.ends:
        print(f"ends of {overall.episodes} episodes: {ends_in_words(overall)}")
