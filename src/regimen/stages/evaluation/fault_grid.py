"""Fault cases of a fault evaluation and their envs; needs no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.robots.robot import load, match

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig


@dataclass
class FaultCase:
    """A fault in `envs` envs; no fault if `joint` is None."""

    joint: str | None
    severity: float
    envs: int


def fault_cases(grid: PlainConfig, robot: str) -> list[FaultCase]:
    """Return the fault cases: healthy first, then each joint in the robot's order, mildest severity first.

    Args:
        grid: the plain section `env.evaluation.fault_grid`.
        robot: name of the task's robot.

    Raises:
        ConfigError: a pattern matches no joint.
    """
    names = load(robot).joints
    levels: dict[str, list[float]] = {}
    for pattern, severities in grid["severity"].items():
        levels |= dict.fromkeys(match(names, pattern), severities)
    longest = max((len(severities) for severities in levels.values()), default=0)
    cases = [FaultCase(None, 0.0, grid["envs"] * max(1, longest))]
    ordered = [name for name in names if name in levels]
    return cases + [FaultCase(name, float(value), grid["envs"]) for name in ordered for value in levels[name]]


def problems(evaluation: PlainConfig, env: PlainConfig) -> list[str]:
    """Return the problems of `env.evaluation.fault_grid`, one line each.

    Args:
        evaluation: the plain section `env.evaluation`.
        env: the plain task.
    """
    grid, lines = evaluation.get("fault_grid"), []
    if grid and "robot" not in env:
        return [
            "faults=true: only for a task with a robot of Regimen (env.robot). Remove it, or choose task=h1_failure."
        ]
    if not grid:
        return ["faults=true: this task has no env.evaluation.fault_grid. Take it away, or choose task=h1_failure."]
    if not (env.get("events") or {}).get(grid["event"]):
        lines.append(f"faults=true: needs env.events.{grid['event']}, which is missing or null.")
    if len({len(severities) for severities in grid["severity"].values()}) != 1 or grid["envs"] < 1:
        lines.append(
            "env.evaluation.fault_grid: expected the same number of severities for each joint, and envs of 1 or more."
        )
    if evaluation.get("command") is None:
        lines.append("faults=true: env.evaluation.command names no command term.")
    return lines


def case_of_env(cases: Sequence[FaultCase], film: str | None) -> np.ndarray:
    """Return the index (N,) of each env's case; env 0, in the video, has joint `film` at its middle severity.

    Args:
        cases: from `cells_of`.
        film: a joint; None for the first one with a fault.
    """
    index = np.repeat(np.arange(len(cases)), [case.envs for case in cases])
    joint = film or next((case.joint for case in cases if case.joint), None)
    shown = [k for k, case in enumerate(cases) if case.joint == joint]
    return np.roll(index, -int(np.argmax(index == shown[len(shown) // 2]))) if shown else index
