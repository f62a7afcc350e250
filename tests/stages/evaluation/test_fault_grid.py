"""Which env gets which fault, and what is refused before anything starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.messages import assert_names, raises_naming
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.evaluation.fault_grid import case_of_env, fault_cases, problems
from regimen.system.errors import ConfigError

GRID: dict[str, Any] = {"event": "weak", "severity": {".*_knee": [9.0, 5.0], "left_hip_yaw": [2.0, 1.0]}, "envs": 3}


def task(**changes: Any) -> dict[str, Any]:
    judged = {"command": "base_velocity", "fault_grid": {**GRID, **changes}}
    return {"robot": "h1", "events": {"weak": {"func": "change_joint_torque"}}, "evaluation": judged}


def test_healthy_comes_first_with_as_many_envs_as_a_joint_has_then_each_joint_mildest_first() -> None:
    cells = fault_cases(GRID, "h1")
    assert [(c.joint, c.severity, c.envs) for c in cells] == [
        (None, 0.0, 6),
        ("left_hip_yaw", 2.0, 3),
        ("left_hip_yaw", 1.0, 3),
        ("left_knee", 9.0, 3),
        ("left_knee", 5.0, 3),
        ("right_knee", 9.0, 3),
        ("right_knee", 5.0, 3),
    ]


def test_env_0_is_the_one_to_be_filmed_and_every_cell_has_its_envs() -> None:
    cells = fault_cases(GRID, "h1")
    for film, first in (("right_knee", 6), ("left_hip_yaw", 2), (None, 2)):
        index = case_of_env(cells, film)
        assert index[0] == first
        assert np.bincount(index).tolist() == [6, 3, 3, 3, 3, 3, 3]


def test_the_stage_says_how_many_envs_it_opens() -> None:
    config = {"env": task()}
    assert EvaluateCfg(faults=True).num_envs(config) == 24
    assert EvaluateCfg(faults=False, envs_per_command=5).num_envs(config) == 5


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"severity": {".*_knee": [9.0, 5.0], "left_hip_yaw": [2.0]}}, ["env.evaluation.fault_grid", "severities"]),
        ({"envs": 0}, ["env.evaluation.fault_grid", "envs"]),
        ({"event": "push"}, ["faults=true", "env.events.push"]),
    ],
)
def test_a_grid_that_cannot_be_tried_is_refused(changes: dict[str, Any], names: list[str]) -> None:
    assert problems(task()["evaluation"], task()) == []
    [problem] = problems(task(**changes)["evaluation"], task())
    assert_names(problem, *names)


def test_a_task_without_a_grid_says_so() -> None:
    [problem] = EvaluateCfg(faults=True).problems({"env": {"evaluation": {}, "events": {}, "commands": {}}})
    assert_names(problem, "faults=true", "env.evaluation.fault_grid", "task=h1_failure")


def test_a_joint_that_the_robot_does_not_have_is_named() -> None:
    with raises_naming(ConfigError, "left_hip_yw", "left_hip_yaw"):
        fault_cases({**GRID, "severity": {"left_hip_yw": [1.0]}}, "h1")
