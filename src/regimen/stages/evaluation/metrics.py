"""From the episodes of an evaluation to its figures: per command and together, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regimen.display.intervals import Figure, bootstrap, magnitude, share
from regimen.stages.evaluation.fault_grid import FaultCase
from regimen.stages.playback.first_episodes import FirstEpisodeStats


@dataclass
class EvaluationMetrics:
    """The figures of one set of episodes.

    Attributes:
        command: the command they were given, or None for a task without one, or for all commands together.
        episodes: how many.
        falls: how many ended by a termination.
        figures: name -> figure; always `return`, `survival` and `episode_length_s`.
    """

    command: list[float] | None
    episodes: int
    falls: int
    figures: dict[str, Figure] = field(default_factory=dict)

    def shown(self) -> list[str]:
        """Return the names of the figures in reading order: what the task measures first, survival and return last."""
        last = ["survival", "return"]
        first = [name for name in ("forward_speed", "speed_error") if name in self.figures]
        return first + [n for n in self.figures if n not in (*first, *last, "episode_length_s")] + last

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for result.json."""
        figures = {name: figure.to_dict() for name, figure in self.figures.items()}
        return {"command": self.command, "episodes": self.episodes, "falls": self.falls} | figures


@dataclass
class EpisodeResults:
    """One row per environment, on the CPU.

    Attributes:
        command_of_env: (N,) index into the grid.
        columns: name -> (N,) of `return`, `episode_length_s` and the metrics of the env.
        fell: (N,) bool.
    """

    command_of_env: np.ndarray
    columns: dict[str, np.ndarray]
    fell: np.ndarray

    @classmethod
    def of(cls, episodes: FirstEpisodeStats, command_of_env: np.ndarray, step_dt: float) -> EpisodeResults:
        """Read finished episodes; `step_dt` is the env's step time in seconds."""
        columns = {"return": episodes.returns, "episode_length_s": episodes.steps * step_dt} | episodes.means()
        arrays = {name: value.cpu().numpy() for name, value in columns.items()}
        return cls(command_of_env, arrays, episodes.fell.cpu().numpy())


def compute_metrics(
    table: EpisodeResults, rows: np.ndarray, command: list[float] | None, resamples: int, seed: int
) -> EvaluationMetrics:
    """Return the figures of the chosen episodes.

    Args:
        table: all episodes.
        rows: (N,) bool, the chosen ones.
        command: the command they share; where the env reports `forward_speed`, `speed_error` is the distance of
            their mean speed from its first value, in m/s.
        resamples: bootstrap samples.
        seed: seed of the bootstrap.
    """
    fell = table.fell[rows]
    result = EvaluationMetrics(command, int(rows.sum()), int(fell.sum()))
    for name, values in table.columns.items():
        result.figures[name] = bootstrap(values[rows], resamples, seed)
    result.figures["survival"] = share(~fell)
    if command and "forward_speed" in table.columns:
        signed = bootstrap(table.columns["forward_speed"][rows] - command[0], resamples, seed)
        result.figures["speed_error"] = magnitude(signed)
    return result


def compute_all_metrics(
    table: EpisodeResults, grid: list[list[float]], resamples: int, seed: int
) -> tuple[EvaluationMetrics, list[EvaluationMetrics]]:
    """Return the figures of all episodes together, and those of each command of `grid` in its order."""
    each = [compute_metrics(table, table.command_of_env == k, list(c), resamples, seed) for k, c in enumerate(grid)]
    whole = compute_metrics(table, np.ones(len(table.fell), dtype=bool), None, resamples, seed)
    errors = [j.figures["speed_error"] for j in each if "speed_error" in j.figures]
    if errors:
        whole.figures["speed_error"] = max(errors, key=lambda figure: figure.value)
    return whole, each


def survival_curve(table: EpisodeResults, rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the share of the chosen episodes without a fall at each of `times` (T,) in seconds, as (T,)."""
    fell_at = np.where(table.fell[rows], table.columns["episode_length_s"][rows], np.inf)
    return (fell_at[None, :] > times[:, None]).mean(axis=1)


def headline(whole: EvaluationMetrics, name: str) -> dict[str, float]:
    """Return the few numbers for run.json: the task's own headline metric, return, survival and falls."""
    values: Mapping[str, float] = {key: figure.value for key, figure in whole.figures.items()}
    first = {name: values[name]} if name in values else {}
    return first | {"return": values["return"], "survival": values["survival"], "falls": float(whole.falls)}


@dataclass
class FaultMetrics:
    """The figures of the episodes with one fault, or with several together.

    Attributes:
        cell: the fault; None for several.
        metrics: survival, return, and from the onset on: velocity error, power.
        time_to_fall_s: median time from the onset to the fall, of those that fell; None if none did.
    """

    cell: FaultCase | None
    metrics: EvaluationMetrics
    time_to_fall_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for result.json."""
        head = {"joint": self.cell.joint, "severity": self.cell.severity} if self.cell and self.cell.joint else {}
        figures = {k: v for k, v in self.metrics.to_dict().items() if k != "command"}
        return head | figures | {"time_to_fall_s": self.time_to_fall_s}
