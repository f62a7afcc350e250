"""Stage `in_context`: evaluate in-context learning over several episodes without resetting the context."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.display.figures import COLORS, save, sheet
from regimen.stages.in_context_evaluation.config import InContextCfg

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run
    from regimen.stages.in_context_evaluation.policies import ComparedPolicy
    from regimen.stages.in_context_evaluation.results import EpisodeSeries, PolicyResult, ReturnScale


SHARED_GOALS = "those with the same goal taken as independent"
"""What intervals over envs leave out."""


class InContext:
    """Compare policies over several episodes per env; resumes after the last completed policy."""

    def __init__(self, cfg: InContextCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Roll out all compared policies; write result.json and a figure.

        Raises:
            ConfigError: the policy does not learn in context.
            StopRequested: a signal asked to stop; the completed policies are saved.
        """
        import torch

        from regimen.agents.policy_file import load_bundle
        from regimen.stages.in_context_evaluation.policies import compared_policies
        from regimen.stages.playback.rollout import opened_env

        started = time.perf_counter()
        torch.set_num_threads(config.hardware.num_threads())
        bundle, experts = load_bundle(config.policy), [load_bundle(path) for path in config.experts]
        prepared = self.prepare(config)
        with opened_env(prepared) as env:
            rows = self._run_policies(run, config, env, compared_policies(self.cfg, env, config.seed, bundle, experts))
        self._finish(run, config, bundle, rows, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # the folder holds no policy; nothing is left to resume

    def prepare(self, config: Config) -> Config:
        """Return a copy of `config` with the number of envs and the masses of the stage."""
        from regimen.envs.mass_randomization import randomize_mass

        config = copy.deepcopy(config)
        config.env.num_envs = self.cfg.envs
        randomize_mass(config, self.cfg.domain_randomization)
        return config

    def _run_policies(
        self, run: Run, config: Config, env: VecEnv, policies: Sequence[ComparedPolicy]
    ) -> list[EpisodeSeries]:
        """Roll out the policies one after the other in the same envs, with the same goals, masses and resets."""
        from regimen.runs import checkpoint
        from regimen.stages.in_context_evaluation.results import EpisodeSeries, ProgressReporter, run_episodes

        checkpoints = checkpoint.Checkpoints(run, interval=1, keep=1)
        rows = [EpisodeSeries.restored(state) for state in checkpoint.saved_part(run, "lives") or ()]
        progress = ProgressReporter(run, len(policies) - len(rows), self.cfg.episodes * env.max_episode_length)
        for policy in policies[len(rows) :]:
            rows.append(run_episodes(env, policy, self.cfg.episodes, config.seed, progress))
            checkpoints.save(len(rows), {"lives": [row.state_dict() for row in rows]})
        return rows

    def _finish(
        self, run: Run, config: Config, bundle: PolicyBundle, rows: Sequence[EpisodeSeries], wall_s: float
    ) -> None:
        cfg = self.cfg
        scores = self._scores(run, config, bundle, rows)
        results = {row.name: row.result(scores, cfg.bootstrap, config.seed) for row in rows}
        own = results.pop(rows[0].name)
        baselines = {name: result.to_dict() for name, result in results.items()}
        masses = asdict(cfg.domain_randomization)
        head = {
            "model_path": config.policy,
            "run": bundle.get("run"),
            "task": config.choices.get("task"),
            "goals": getattr(config.env, "goals", None),
            "num_episodes": cfg.episodes,
            "context_len": (bundle["agent"].get("model") or {}).get("context"),
            "domain_randomization": {key.removeprefix("mass_range_"): value for key, value in masses.items()},
            "use_cache": cfg.use_cache,
            "fp16": cfg.use_fp16,
            "mask_rewards": cfg.mask_rewards,
            "seed": config.seed,
            "scores": asdict(scores),
            "intervals": f"95 %: bootstrap of {cfg.bootstrap} resamples of the {cfg.envs} environments, {SHARED_GOALS}",
            "git": git.to_dict() if (git := run.record.git) else None,
            "wall_s": wall_s,
        }
        print_table(rows, cfg.bootstrap, config.seed)
        run.finish(headline(own, results), head | own.to_dict() | {"baselines": baselines})
        run.draw("in_context.png", lambda path: _draw_figure(path, rows, cfg.bootstrap, config.seed))

    def _scores(self, run: Run, config: Config, bundle: PolicyBundle, rows: Sequence[EpisodeSeries]) -> ReturnScale:
        """Return the scale of normalized returns: measured here, or recorded with the data of the policy."""
        from regimen.stages.in_context_evaluation.results import ReturnScale

        recorded = bundle["policy"].get("tasks", {}).get(config.choices.get("task"), {})
        measured = {row.name: float(row.returns.mean()) for row in rows}
        scores = ReturnScale(
            measured.get("random", recorded.get("random_score")),
            measured.get("demonstrator", recorded.get("expert_score")),
        )
        missing = [name for name, score in asdict(scores).items() if score is None]
        if missing:
            run.warn(f"returns are not normalized: no score of {' and '.join(missing)}.")
        return scores


def headline(own: PolicyResult, others: Mapping[str, PolicyResult]) -> dict[str, float]:
    """Return the headline numbers for lists of runs."""
    gain = own.improvement
    figures = {"improvement": gain.value, "improvement_low": gain.low, "improvement_high": gain.high}
    figures |= {"first": own.mean[0], "last": own.mean[-1]}
    if own.normalized is not None:
        figures["normalized_last"] = own.normalized[-1]
    if "masked" in others:
        figures["masked_improvement"] = others["masked"].improvement.value
    return figures


def print_table(rows: Sequence[EpisodeSeries], resamples: int, seed: int) -> None:
    """Print one row per policy."""
    from regimen.display.text_tables import TextTable, print_tables

    title = f"return per episode, with 95 % intervals: bootstrap over envs, {SHARED_GOALS}"
    table = []
    for row in rows:
        curve = row.curve(resamples, seed)
        cells = [f.two_lines() for f in (curve[0], curve[-1], row.improvement(resamples, seed))]
        table.append((row.label, *cells, f"{row.fell.mean():.1%}", f"{row.steps_per_s:.0f}"))
    print_tables([TextTable(title, ("policy", "first", "last", "improvement", "falls", "steps/s"), table)])


def _draw_figure(out: Path, rows: Sequence[EpisodeSeries], resamples: int, seed: int) -> None:
    """Draw the return per episode of all policies and their improvement.

    Args:
        out: PNG to write.
        rows: one per policy, at most as many as `COLORS`.
        resamples: bootstrap samples of each interval.
        seed: of the bootstrap.
    """
    figure, (curves, gains) = sheet(2, columns=2, size=(5.6, 4.0))
    for k, (row, color) in enumerate(zip(rows, COLORS, strict=False)):
        means = row.curve(resamples, seed)
        episode = np.arange(1, len(means) + 1)
        curves.plot(episode, [m.value for m in means], color=color, linewidth=1.6, label=row.label, marker=".")
        curves.fill_between(episode, [m.low for m in means], [m.high for m in means], color=color, alpha=0.15, lw=0)
        gain = row.improvement(resamples, seed)
        ends = [[max(0.0, gain.value - gain.low)], [max(0.0, gain.high - gain.value)]]
        gains.errorbar([gain.value], [k], xerr=ends, fmt="o", color=color, capsize=4)
    curves.set_title("return per episode", fontsize=10)
    curves.set_xlabel("episode (context is kept)", fontsize=8)
    curves.legend(fontsize=8, frameon=False)
    gains.axvline(0.0, color="#999999", linewidth=0.8)
    gains.set_yticks(range(len(rows)), [row.label for row in rows])
    gains.invert_yaxis()
    gains.set_title("improvement: last fifth of the episodes minus the first", fontsize=10)
    gains.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    figure.supxlabel(f"mean over {len(rows[0].returns)} envs, with 95 % intervals (bootstrap)", fontsize=9)
    save(figure, out)
