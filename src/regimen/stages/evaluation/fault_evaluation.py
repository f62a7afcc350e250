"""`stage=evaluate stage.faults=true`: one joint at a time breaks, at each severity; who is still walking at the end?"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regimen.agents.policy_file import load_policy
from regimen.envs import open_env
from regimen.envs.fault_estimate.columns import mode_of
from regimen.stages.evaluation import fault_figure
from regimen.stages.evaluation.fault_grid import FaultCase, case_of_env, fault_cases
from regimen.stages.evaluation.metrics import EpisodeResults, FaultMetrics, compute_metrics
from regimen.stages.playback.first_episodes import FirstEpisodeStats
from regimen.stages.playback.observers import make_observers
from regimen.stages.playback.rollout import roll_out

if TYPE_CHECKING:
    from regimen.config.schema import Config, FaultGridCfg
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run
    from regimen.stages.evaluation.config import EvaluateCfg


def evaluate_faults(run: Run, config: Config, cfg: EvaluateCfg, bundle: dict[str, Any]) -> None:
    """Judge `config.policy`; write result.json, a picture, and a video if asked.

    Args:
        run: the run.
        config: prepared by the stage: size, length, noise, disturbances.
        cfg: the stage.
        bundle: the policy's checkpoint.
    """
    started, grid = time.perf_counter(), config.env.evaluation.fault_grid
    cells = fault_cases(asdict(grid), config.env.robot)
    env = open_env(config)
    try:
        table, told = _play(run, config, cfg, env, bundle, cells)
    finally:
        env.close()
    each = [_judge(table, table.command_of_env == k, cell, grid, cfg, config.seed) for k, cell in enumerate(cells)]
    broken = _judge(table, table.command_of_env > 0, None, grid, cfg, config.seed)
    joints = {
        name: _judge(table, np.isin(table.command_of_env, [k for k, c in enumerate(cells) if c.joint == name]), None,
                     grid, cfg, config.seed)
        for name in dict.fromkeys(cell.joint for cell in cells if cell.joint)
    }  # fmt: skip
    figure = run.dir / "figures" / "faults.png"
    fault_figure.draw(figure, {name: [e for e in each if e.cell and e.cell.joint == name] for name in joints})
    run.artifact(figure, "figure")
    _print(each[0], joints, broken)
    result = (
        _head(config, bundle, grid, cfg)
        | told
        | {
            "healthy": each[0].to_dict(),
            "overall": broken.to_dict(),
            "joints": {name: judged.to_dict() for name, judged in joints.items()},
            "cells": [judged.to_dict() for judged in each[1:]],
            "wall_s": time.perf_counter() - started,
        }
    )
    run.finish(_headline(broken, each[0]), result)


def _play(
    run: Run, config: Config, cfg: EvaluateCfg, env: VecEnv, bundle: dict[str, Any], cells: list[FaultCase]
) -> tuple[EpisodeResults, dict[str, Any]]:
    """Hold command and faults fixed, an env one cell's, and play the first episodes; see `Evaluate.play`."""
    grid, judged = config.env.evaluation.fault_grid, config.env.evaluation
    policy = load_policy(bundle, env, config.seed)
    index = case_of_env(cells, grid.film)
    numbers = _joint_numbers(cells, config)
    severity = torch.tensor([cell.severity for cell in cells])[index].to(env.device)
    onset = torch.full((env.num_envs,), grid.onset_s, device=env.device)
    env.fix_event(grid.event, joint=torch.tensor(numbers)[index].to(env.device), onset_s=onset, severity=severity)
    env.fix_command(judged.command, torch.tensor([grid.command], device=env.device).repeat(env.num_envs, 1))
    episodes = FirstEpisodeStats(env.num_envs, env.device, metrics_from=round(grid.onset_s / env.step_dt))
    told = roll_out(run, env, policy, episodes, config.seed, make_observers(cfg, run, config, env))
    return EpisodeResults.of(episodes, index, env.step_dt), told


def _joint_numbers(cells: list[FaultCase], config: Config) -> list[int]:
    from regimen.envs.robots.robot import load

    names = load(config.env.robot).joints
    return [names.index(cell.joint) if cell.joint else -1 for cell in cells]


def _judge(
    table: EpisodeResults, rows: np.ndarray, cell: FaultCase | None, grid: FaultGridCfg, cfg: EvaluateCfg, seed: int
) -> FaultMetrics:
    judged = compute_metrics(table, rows, None, cfg.bootstrap, seed)
    fell = table.columns["episode_length_s"][rows & table.fell] - grid.onset_s
    after = fell[fell >= 0.0]
    return FaultMetrics(cell, judged, float(np.median(after)) if len(after) else None)


def _head(config: Config, bundle: dict[str, Any], grid: FaultGridCfg, cfg: EvaluateCfg) -> dict[str, Any]:
    """Return what was tried."""
    return {
        "policy": {"path": config.policy, "run": bundle.get("run"), "step": bundle.get("step")},
        "estimate": {"mode": mode_of(config.env.estimate, config.estimator), "estimator": config.estimator},
        "task": config.choices.get("task"),
        "seed": config.seed,
        "command": grid.command,
        "onset_s": grid.onset_s,
        "episode_length_s": config.env.episode_length_s,
        "intervals": f"95 %: bootstrap of {cfg.bootstrap} resamples for means, Wilson for survival; velocity error and "
        "power from the onset to the end of the episode",
    }


def _headline(broken: FaultMetrics, healthy: FaultMetrics) -> dict[str, float]:
    figures = broken.metrics.figures
    named = {name: figures[name].value for name in ("survival", "return", "lin_vel_error") if name in figures}
    return named | {"survival_healthy": healthy.metrics.figures["survival"].value, "falls": float(broken.metrics.falls)}


def _print(healthy: FaultMetrics, joints: dict[str, FaultMetrics], broken: FaultMetrics) -> None:
    """Print one line for each joint, over its severities, and one for all."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    names = [n for n in healthy.metrics.shown() if n not in ("forward_speed", "turning_rate", "ang_vel_error")]
    heads = [*(name.replace("_", "\n") for name in names), "time to\nfall (s)"]
    table = Table("broken", "falls", *heads, title="one broken joint at a time, over all severities", box=SIMPLE_HEAD)
    for name, row in {"none": healthy, **joints, "any joint": broken}.items():
        fall = "-" if row.time_to_fall_s is None else f"{row.time_to_fall_s:.1f}"
        cells = [row.metrics.figures[n].two_lines() for n in names]
        table.add_row(name, f"{row.metrics.falls}\nof {row.metrics.episodes}", *cells, fall)
    Console(width=100).print(table)
