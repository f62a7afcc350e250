"""Finished evaluations on the point environment, as a launch leaves them: for tests of what is made of evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from helpers.point_env import PointEnv, PointEnvCfg
from regimen.config.schema import Config
from regimen.runs import checkpoint, outcome
from regimen.runs.create import create_run_dir
from regimen.runs.record import Outcome
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg

NOTHING = {"_target_": "helpers.stages_for_tests.Nothing"}


class UndrawnRun(Run):
    """A run whose figures are left out: drawing takes longer than such an evaluation."""

    def draw(self, name: str, draw: Callable[[Path], object]) -> None:
        pass


def save_policy(path: Path, gain: float) -> Path:
    """A policy that goes towards the goal with this gain."""
    bundle = {"format": 1, "run": "trained", "agent": {"_target_": "helpers.point_env.ToGoal"}, "step": 10}
    checkpoint.save(path, {**bundle, "io": PointEnv(1).io.to_dict(), "policy": {"gain": gain}})
    return path


def evaluated(root: Path, name: str, gain: float, seed: int = 0, env: Any = None, **stage: Any) -> Run:
    """A finished evaluation of the policy with this gain."""
    policy = save_policy(root.parent / f"gain_{gain}.pt", gain)
    cfg = EvaluateCfg(**{"envs_per_command": 12, "bootstrap": 200, **stage})
    choices = {"task": "point", "sim": "none", "agent": "none", "hardware": "cpu", "stage": "evaluate"}
    config = Config(
        env=env or PointEnvCfg(), sim=NOTHING, agent=NOTHING, stage=cfg, policy=str(policy), seed=seed, name=name,
        choices=choices,
    )  # fmt: skip
    files = {"policy": policy}
    run = UndrawnRun(create_run_dir(root, asdict(config), ["launch.py"], [], files=files, repository=root.parent))
    Evaluate(cfg)(run, config)
    outcome.record_end(run, Outcome(Status.FINISHED, 0))
    return run
