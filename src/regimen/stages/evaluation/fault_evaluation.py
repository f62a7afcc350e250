"""Fault evaluation, `stage=evaluate stage.faults=true`: survival with one faulty joint at each severity."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.agents.policy_file import load_policy
from regimen.display.figures import COLORS, error_bars, save, sheet, style
from regimen.display.text_tables import TextTable, print_tables
from regimen.envs.fault_estimate.columns import resolve_mode
from regimen.stages.evaluation.fault_grid import FaultCase, case_of_env, fault_cases
from regimen.stages.evaluation.fault_metrics import compute_fault_metrics
from regimen.stages.evaluation.metrics import (
    EPISODES,
    EpisodeResults,
    FaultEvaluationResult,
    FaultMetrics,
    PolicyOrigin,
)
from regimen.stages.playback.browser_viewer import open_page
from regimen.stages.playback.observers import make_observers
from regimen.stages.playback.rollout import FirstEpisodeStats, opened_env, roll_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run
    from regimen.stages.evaluation.config import EvaluateCfg
    from regimen.stages.playback.browser_page import BrowserPage
    from regimen.system.json_data import Json


def evaluate_faults(run: Run, config: Config, cfg: EvaluateCfg, bundle: PolicyBundle) -> None:
    """Evaluate `config.policy` with faults; write result.json, a figure, and the video of `video=true`.

    Args:
        run: receives files and result.
        config: prepared by `Evaluate.prepare`.
        cfg: config of the stage.
        bundle: checkpoint of the policy.
    """
    started, grid = time.perf_counter(), config.env.evaluation.fault_grid
    cases = fault_cases(asdict(grid), config.env.robot)
    with opened_env(config) as env, open_page(cfg, run, config, env) as page:
        episodes, observed = _roll_out(run, config, cfg, env, bundle, cases, page)
    episodes.write(run.dir / EPISODES)
    run.artifact(run.dir / EPISODES, "table")
    seed = config.seed
    by_case, joints, faulty = compute_fault_metrics(episodes, cases, grid, cfg.bootstrap, seed)
    _print(by_case[0], joints, faulty)
    result = FaultEvaluationResult(
        policy=PolicyOrigin(config.policy, bundle.get("run"), bundle.get("step")),
        estimate={"mode": resolve_mode(config.env.estimate, config.estimator), "estimator": config.estimator},
        task=config.choices.get("task"),
        seed=seed,
        command=grid.command,
        onset_s=grid.onset_s,
        episode_length_s=config.env.episode_length_s,
        intervals=f"95 %: bootstrap of {cfg.bootstrap} resamples for means, Wilson for survival; velocity error and "
        "power from the onset to the end of the episode",
        healthy=by_case[0],
        overall=faulty,
        joints=joints,
        cells=by_case[1:],
        wall_s=time.perf_counter() - started,
    )
    run.finish(_headline(faulty, by_case[0]), result.to_dict() | observed)
    of_joint = {name: [m for m in by_case if m.case and m.case.joint == name] for name in joints}
    run.draw("faults.png", lambda path: _draw(path, of_joint))


def _roll_out(
    run: Run,
    config: Config,
    cfg: EvaluateCfg,
    env: VecEnv,
    bundle: PolicyBundle,
    cases: list[FaultCase],
    page: BrowserPage | None,
) -> tuple[EpisodeResults, Json]:
    """Hold command and faults fixed, one case per env, and roll out the first episodes; see `Evaluate.roll_out`."""
    grid, command = config.env.evaluation.fault_grid, config.env.evaluation.command
    policy = load_policy(bundle, env, config.seed)
    index = case_of_env(cases, grid.film)
    numbers = _joint_numbers(cases, config)
    severity = torch.tensor([case.severity for case in cases])[index].to(env.device)
    onset = torch.full((env.num_envs,), grid.onset_s, device=env.device)
    env.fix_event(grid.event, joint=torch.tensor(numbers)[index].to(env.device), onset_s=onset, severity=severity)
    env.fix_command(command, torch.tensor([grid.command], device=env.device).repeat(env.num_envs, 1))
    stats = FirstEpisodeStats(env.num_envs, env.device, metrics_from=round(grid.onset_s / env.step_dt))
    observed = roll_out(run, env, policy, stats, config.seed, make_observers(cfg, run, config, env, page))
    return EpisodeResults.of(stats, index, env.step_dt), observed


def _joint_numbers(cases: list[FaultCase], config: Config) -> list[int]:
    from regimen.envs.robots.robot import load

    names = load(config.env.robot).joints
    return [names.index(case.joint) if case.joint else -1 for case in cases]


def _headline(faulty: FaultMetrics, healthy: FaultMetrics) -> dict[str, float]:
    figures = faulty.metrics.figures
    headline = {name: figures[name].value for name in ("survival", "return", "lin_vel_error") if name in figures}
    return headline | {
        "survival_healthy": healthy.metrics.figures["survival"].value,
        "falls": float(faulty.metrics.falls),
    }


def _print(healthy: FaultMetrics, joints: dict[str, FaultMetrics], faulty: FaultMetrics) -> None:
    """Print one row for each joint, over its severities, and one for all joints."""
    names = [n for n in healthy.metrics.shown() if n not in ("forward_speed", "turning_rate", "ang_vel_error")]
    heads = ["fault", "falls", *(name.replace("_", "\n") for name in names), "time to\nfall (s)"]
    rows = []
    for name, row in {"none": healthy, **joints, "any joint": faulty}.items():
        fall = "-" if row.time_to_fall_s is None else f"{row.time_to_fall_s:.1f}"
        cells = [row.metrics.figures[n].two_lines() for n in names]
        rows.append((name, f"{row.metrics.falls}\nof {row.metrics.episodes}", *cells, fall))
    print_tables([TextTable("one faulty joint per env, over all severities", heads, rows)])


def _draw(out: Path, joints: Mapping[str, Sequence[FaultMetrics]]) -> None:
    """Draw the heat map, and one panel of curves for each kind of joint, left and right together.

    Args:
        out: PNG to write.
        joints: joint -> metrics by severity, the mildest first; the same number for each.
    """
    kinds: dict[str, list[str]] = {}
    for name in joints:
        kinds.setdefault(name.removeprefix("left_").removeprefix("right_"), []).append(name)
    figure, axes = sheet(1 + len(kinds), columns=3)
    _heat_map(axes[0], joints)
    for ax, (kind, names) in zip(axes[1:], kinds.items(), strict=False):
        for name, color in zip(names, COLORS, strict=False):
            _curve(ax, joints[name], name, color)
        style(ax)
        ax.set_ylim(-0.03, 1.05)
        ax.set_title(f"survival, {kind.replace('_', ' ')}", fontsize=10)
        ax.set_xlabel("severity: what is left of the joint", fontsize=8)
        ax.legend(fontsize=8, frameon=False)
    figure.supxlabel("share of episodes without a fall, with Wilson 95 % intervals", fontsize=9)
    save(figure, out)


def _heat_map(ax: Axes, joints: Mapping[str, Sequence[FaultMetrics]]) -> None:
    values = np.array([[e.metrics.figures["survival"].value for e in row] for row in joints.values()])
    ax.imshow(values, vmin=0.0, vmax=1.0, cmap="RdYlGn", aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        case = list(joints.values())[y][x].case
        ax.text(x, y, f"{value:.2f}\n{case.severity if case else 0:g}", ha="center", va="center", fontsize=6)
    ax.set_yticks(range(len(joints)), [name.replace("_", " ") for name in joints], fontsize=7)
    ax.set_xticks([])
    ax.grid(False)
    ax.set_title("survival, severity below", fontsize=10)


def _curve(ax: Axes, row: Sequence[FaultMetrics], name: str, color: str) -> None:
    severity = [e.case.severity for e in row if e.case]
    survival = [e.metrics.figures["survival"] for e in row]
    error_bars(ax, severity, survival, color=color, fmt="o-", capsize=3, label=name)
