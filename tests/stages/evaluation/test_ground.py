"""Evaluation on uneven ground: each kind at each level has its share of the episodes of every command."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.messages import assert_names
from helpers.tasks import make_env, task_config
from regimen.config.compose import compose_config
from regimen.config.schema import Config
from regimen.envs import open_env
from regimen.envs.sims.mujoco import MujocoWorldCfg
from regimen.envs.vec_env import IOSpec, Obs
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.history.run_view import open_view_dir
from regimen.runs.run import Run
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.stages.evaluation.ground import assign_ground, case_of_env, compute_ground_metrics
from regimen.stages.evaluation.ground_cases import ground_cases
from regimen.stages.evaluation.metrics import EpisodeResults

pytestmark = pytest.mark.usefixtures("blank_figures")

SMALL: dict[str, Any] = {
    "terrain": {
        "kinds": {
            **dict.fromkeys(("stairs_down", "slope_up", "slope_down", "rough", "obstacles")),
            "stairs_up": {"proportion": 0.5},
            "flat": {"proportion": 0.5},
        },
        "columns": 4,
        "levels": 3,
        "start_level": 0,
    },
    "episode_length_s": 0.2,
}
CASES = [(kind, level) for kind in ("stairs_up", "flat") for level in (0, 1, 2)]


def plain(**changes: Any) -> dict[str, Any]:
    return asdict(task_config("go2_rough", **{**SMALL, **changes}))


class Still:
    """A policy that holds the default pose."""

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Still:
        return cls()

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        return torch.zeros(len(obs["policy"]), 12), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """It has no state."""


def test_each_kind_is_evaluated_at_the_lowest_the_middle_and_the_highest_level_or_at_those_asked_for() -> None:
    assert [(case.kind, case.level) for case in ground_cases(plain())] == CASES
    assert [case.columns for case in ground_cases(plain())][::3] == [(0, 1), (2, 3)]
    asked = plain(evaluation={"levels": [2, 2]})
    assert [(case.kind, case.level) for case in ground_cases(asked)] == [("stairs_up", 2), ("flat", 2)]
    assert ground_cases(asdict(task_config("go2_flat"))) == []


@pytest.mark.parametrize(("each", "expected"), [(1, 6), (6, 6), (7, 12), (64, 66)])
def test_the_number_of_episodes_is_rounded_up_so_that_all_have_as_many(each: int, expected: int) -> None:
    cfg = EvaluateCfg(envs_per_command=each)
    assert cfg.num_envs({"env": plain()}) == expected * 4, "four commands"
    assert cfg.num_envs({"env": asdict(task_config("go2_flat"))}) == each * 4


def test_levels_that_are_not_there_are_refused() -> None:
    config = {"env": plain(evaluation={"levels": [0, 3]}), "policy": "some"}
    assert_names("\n".join(EvaluateCfg().problems(config)), "env.evaluation.levels", "2")
    flat = {"env": asdict(task_config("go2_flat", evaluation={"levels": [1]})), "policy": "some"}
    assert_names("\n".join(EvaluateCfg().problems(flat)), "env.evaluation.levels")


def test_envs_of_each_command_take_turns_on_the_tiles_and_share_the_columns_of_a_kind() -> None:
    env, cases = make_env("go2_rough", 48, **SMALL), ground_cases(plain())
    assign_ground(cases, env, commands=4)
    assert env.terrain is not None
    seen = Counter(zip(env.terrain.columns.tolist(), env.terrain.levels.tolist(), strict=True))
    assert seen == {(column, level): 4 for column in range(4) for level in range(3)}
    index = case_of_env(cases, 48, commands=4)
    for command in range(4):
        assert sorted(index[command::4]) == sorted(list(range(6)) * 2)


def test_tiles_are_those_of_the_task_below_a_fault_estimate() -> None:
    joints = "env.estimate.joints=[.*_calf_joint]"
    env = open_env(compose_config(["task=go2_rough", "env.num_envs=21", "env.estimate.mode=none", joints]))
    cases = ground_cases(asdict(task_config("go2_rough")))
    assign_ground(cases, env, commands=1)
    assert env.env.terrain.levels.tolist() == [case.level for case in cases]


def test_figures_of_a_case_are_those_of_its_episodes() -> None:
    cases, index = ground_cases(plain()), np.arange(12)
    episodes = EpisodeResults(
        index % 2, {"return": index.astype(float), "episode_length_s": np.ones(12)}, fell=index % 4 == 0
    )
    rows = compute_ground_metrics(episodes, cases, 2, 50, 0)
    assert [(row.kind, row.level) for row in rows] == CASES
    assert [row.metrics.figures["return"].value for row in rows] == [0.5, 2.5, 4.5, 6.5, 8.5, 10.5]
    assert [row.metrics.falls for row in rows] == [1, 0, 1, 0, 1, 0]


@pytest.mark.slow
def test_a_policy_is_evaluated_on_each_kind_of_ground_and_the_figures_are_rebuilt_from_the_episodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, cfg = task_config("go2_rough", num_envs=24, **SMALL), EvaluateCfg(envs_per_command=5, bootstrap=50)
    env = make_env("go2_rough", 2, **SMALL)
    bundle = {"format": 1, "run": "trained", "agent": {"_target_": f"{__name__}:Still"}, "io": env.io.to_dict()}
    checkpoint.save(tmp_path / "policy.pt", bundle | {"policy": {}, "step": 1, "samples": 1})
    config = Config(env=task, sim=MujocoWorldCfg(), stage=cfg, policy=str(tmp_path / "policy.pt"))
    frozen = {"stage": asdict(cfg), "env": asdict(task), "seed": 0}
    run = Run(create_run_dir(tmp_path / "outputs", frozen, ["launch.py"], []))
    Evaluate(cfg)(run, config)
    result = json.loads((run.dir / "result.json").read_text())
    assert [(row["kind"], row["level"]) for row in result["ground"]] == CASES
    assert all(row["episodes"] == 4 for row in result["ground"])
    assert result["envs_per_command"] == 6 == result["commands"][0]["episodes"], "rounded up for six cases"
    assert sum(row["falls"] for row in result["ground"]) == result["overall"]["falls"]
    assert_names(capsys.readouterr().out, "stairs_up", "level")
    assert (run.dir / "figures" / "ground.png").exists()
    evaluated = Evaluated(open_view_dir(run.dir))
    assert evaluated.rebuilt["ground"] == result["ground"] and evaluated.differences() == []
