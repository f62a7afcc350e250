"""Which env of an evaluation gets which fault; known before a simulator starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regimen.envs.robots.robot import load, match


@dataclass
class FaultCase:
    """One fault, tried in `envs` environments; without a joint none."""

    joint: str | None
    severity: float
    envs: int


def fault_cases(grid: dict[str, Any], robot: str) -> list[FaultCase]:
    """Return the cells: healthy first, then each joint in the robot's order at its severities, mildest first.

    Args:
        grid: the plain section `env.evaluation.fault_grid`.
        robot: name of the task's robot.

    Raises:
        ConfigError: a pattern that matches no joint.
    """
    names = load(robot).joints
    levels: dict[str, list[float]] = {}
    for pattern, severities in grid["severity"].items():
        levels |= dict.fromkeys(match(names, pattern), severities)
    longest = max((len(severities) for severities in levels.values()), default=0)
    cells = [FaultCase(None, 0.0, grid["envs"] * max(1, longest))]
    ordered = [name for name in names if name in levels]
    return cells + [FaultCase(name, float(value), grid["envs"]) for name in ordered for value in levels[name]]


def problems(judged: dict[str, Any], env: dict[str, Any]) -> list[str]:
    """Return what is wrong with `env.evaluation.fault_grid`, one line each.

    Args:
        judged: the plain section `env.evaluation`.
        env: the plain task.
    """
    grid, lines = judged.get("fault_grid"), []
    if not grid:
        return ["faults=true: this task has no env.evaluation.fault_grid. Take it away, or choose task=h1_failure."]
    if not (env.get("events") or {}).get(grid["event"]):
        lines.append(f"faults=true: env.events.{grid['event']} breaks the joints and is not there, or switched off.")
    if len({len(severities) for severities in grid["severity"].values()}) != 1 or grid["envs"] < 1:
        lines.append("env.evaluation.fault_grid: expected as many severities for each joint, one or more, and envs.")
    if judged.get("command") is None:
        lines.append("faults=true: env.evaluation.command does not say which command is held.")
    return lines


def case_of_env(cells: Sequence[FaultCase], film: str | None) -> np.ndarray:
    """Return (N,) index of each env's cell; env 0, the one on video, is one of `film` at its middle severity.

    Args:
        cells: from `cells_of`.
        film: a joint, or None for the first that breaks.
    """
    index = np.repeat(np.arange(len(cells)), [cell.envs for cell in cells])
    wanted = film or next((cell.joint for cell in cells if cell.joint), None)
    shown = [k for k, cell in enumerate(cells) if cell.joint == wanted]
    return np.roll(index, -int(np.argmax(index == shown[len(shown) // 2]))) if shown else index
