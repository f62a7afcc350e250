"""Evaluation on uneven ground: the episodes of each command are spread over every kind at some levels of difficulty."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.vec_env import task_below
from regimen.stages.evaluation.ground_cases import GroundCase
from regimen.stages.evaluation.metrics import EpisodeResults, EvaluationMetrics, GroundMetrics, compute_metrics

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv


def case_of_env(cases: list[GroundCase], num_envs: int, commands: int) -> np.ndarray:
    """Return (N,) index of the case of each env; those of one command take turns.

    Args:
        cases: at least one.
        num_envs: N.
        commands: number of commands, which take turns as well.
    """
    return np.arange(num_envs) // commands % len(cases)


def assign_ground(cases: list[GroundCase], env: VecEnv, commands: int) -> None:
    """Hold each env on the tile of its case; several of one case are spread over its columns. Nothing without cases."""
    if not cases:
        return
    task = task_below(env)
    turn = np.arange(env.num_envs) // commands
    chosen = [cases[i] for i in case_of_env(cases, env.num_envs, commands)]
    columns = [case.columns[turn[i] // len(cases) % len(case.columns)] for i, case in enumerate(chosen)]
    task.terrain.fix([case.level for case in chosen], columns)


def compute_ground_metrics(
    episodes: EpisodeResults, cases: list[GroundCase], commands: int, resamples: int, seed: int
) -> list[GroundMetrics]:
    """Return the metrics of each case.

    Args:
        episodes: all episodes.
        cases: as given to `assign_ground`.
        commands: number of commands.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    if not cases:
        return []
    index = case_of_env(cases, len(episodes.fell), commands)
    rows = [(case, index == i) for i, case in enumerate(cases)]
    return [
        GroundMetrics(case.kind, case.level, compute_metrics(episodes, those, None, resamples, seed))
        for case, those in rows
        if those.any()
    ]


def print_ground(rows: list[GroundMetrics]) -> None:
    """Print survival and the metrics of the task for each kind and level."""
    from regimen.display.text_tables import TextTable, print_tables

    names = EvaluationMetrics.common([row.metrics for row in rows])
    heads = ["ground", "level", "falls", *(name.replace("_", "\n") for name in names)]
    cells = [
        (
            row.kind,
            str(row.level),
            f"{row.metrics.falls}\nof {row.metrics.episodes}",
            *(row.metrics.figures[name].two_lines() for name in names),
        )
        for row in rows
    ]
    print_tables([TextTable("by kind and level of the ground, over all commands", heads, cells)])


def draw_ground_metrics(out: Path, rows: list[GroundMetrics]) -> None:
    """Draw survival, and the tracking error of a task that has one, over the level; a line for each kind.

    Args:
        out: PNG to write.
        rows: of an evaluation.
    """
    from regimen.display.figures import COLORS, error_bars, save, sheet, title_of

    names = [name for name in ("survival", "lin_vel_error", "ang_vel_error") if name in rows[0].metrics.figures]
    figure, axes = sheet(len(names), columns=3)
    kinds = list(dict.fromkeys(row.kind for row in rows))
    for ax, name in zip(axes, names, strict=False):
        for number, kind in enumerate(kinds):
            own = [row for row in rows if row.kind == kind]
            places = [row.level + 0.06 * (number - len(kinds) / 2) for row in own]
            values = [row.metrics.figures[name] for row in own]
            error_bars(ax, places, values, color=COLORS[number % len(COLORS)], label=kind, linewidth=1.0, fmt="o-")
        ax.set_title(title_of(name), fontsize=10)
        ax.set_xlabel("level of difficulty", fontsize=8)
    axes[0].legend(fontsize=7, frameon=False)
    save(figure, out)
