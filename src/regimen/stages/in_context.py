"""The stage that watches a policy learn in context: several episodes in a row, and the context is never cleared."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from regimen.stages.in_context_evaluation.config import InContextCfg

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run
    from regimen.stages.in_context_evaluation.policies import ComparedPolicy
    from regimen.stages.in_context_evaluation.results import EpisodeSeries, ReturnScale


class InContext:
    """Runs one comparison; goes on after the last policy that was done when it was killed."""

    def __init__(self, cfg: InContextCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Let all policies live; write result.json and a picture.

        Raises:
            ConfigError: if the policy does not learn in context.
            StopRequested: a signal had come; the policies that are done are kept.
        """
        import torch

        from regimen.agents.policy_file import load_bundle
        from regimen.envs import open_env
        from regimen.stages.in_context_evaluation.policies import compared_policies

        started = time.perf_counter()
        torch.set_num_threads(config.hardware.num_threads())
        bundle, experts = load_bundle(config.policy), [load_bundle(path) for path in config.experts]
        env = open_env(self.prepare(config))
        try:
            rows = self._live(run, config, env, compared_policies(self.cfg, env, config.seed, bundle, experts))
        finally:
            env.close()
        self._finish(run, config, bundle, rows, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # others look for a policy there; nothing is left to do

    def prepare(self, config: Config) -> Config:
        """Return a copy of the run's config with the task as the policies live in it."""
        from regimen.envs.mass_randomization import vary_mass

        config = copy.deepcopy(config)
        config.env.num_envs = self.cfg.envs
        vary_mass(config, self.cfg.domain_randomization)
        return config

    def _live(self, run: Run, config: Config, env: VecEnv, who: Sequence[ComparedPolicy]) -> list[EpisodeSeries]:
        """Let one policy after the other live in the same environments, with the same goals, masses and starts."""
        from regimen.runs import checkpoint
        from regimen.stages.in_context_evaluation.results import EpisodeSeries
        from regimen.stages.in_context_evaluation.rollout import ProgressReporter, run_episodes

        kept, last = checkpoint.Checkpoints(run, interval=1, keep=1), run.checkpoints / "last.pt"
        rows = [EpisodeSeries.restored(state) for state in checkpoint.load(last)["lives"]] if last.exists() else []
        clock = ProgressReporter(run, len(who) - len(rows), self.cfg.episodes * env.max_episode_length)
        for player in who[len(rows) :]:
            rows.append(run_episodes(env, player, self.cfg.episodes, config.seed, clock))
            kept.save(len(rows), {"lives": [row.state_dict() for row in rows]})
        return rows

    def _finish(
        self, run: Run, config: Config, bundle: dict[str, Any], rows: Sequence[EpisodeSeries], wall_s: float
    ) -> None:
        from regimen.stages.in_context_evaluation.figure import draw

        figure, cfg = run.dir / "figures" / "in_context.png", self.cfg
        draw(figure, rows, cfg.bootstrap, config.seed)
        run.artifact(figure, "figure")
        scores = self._scores(run, config, bundle, rows)
        told = {row.name: row.to_dict(scores, cfg.bootstrap, config.seed) for row in rows}
        own = told.pop(rows[0].name)
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
            "intervals": f"95 %: bootstrap of {cfg.bootstrap} resamples of the {cfg.envs} environments",
            "git": run.info.get("git"),
            "wall_s": wall_s,
        }
        print_table(rows, cfg.bootstrap, config.seed)
        run.finish(headline(own, told), head | own | {"baselines": told})

    def _scores(self, run: Run, config: Config, bundle: dict[str, Any], rows: Sequence[EpisodeSeries]) -> ReturnScale:
        """Return what random actions and the demonstrator reached here; who did not play, what the data tell of it."""
        from regimen.stages.in_context_evaluation.results import ReturnScale

        told = bundle["policy"].get("tasks", {}).get(config.choices.get("task"), {})
        reached = {row.name: float(row.returns.mean()) for row in rows}
        scores = ReturnScale(
            reached.get("random", told.get("random_score")), reached.get("demonstrator", told.get("expert_score"))
        )
        missing = [name for name, score in asdict(scores).items() if score is None]
        if missing:
            run.warn(f"returns are not normalised: the score of {' and '.join(missing)} is not known.")
        return scores


def headline(own: dict[str, Any], others: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the few figures for lists of runs."""
    gain = own["improvement"]
    figures = {"improvement": gain["value"], "improvement_low": gain["low"], "improvement_high": gain["high"]}
    figures |= {"first": own["mean"][0], "last": own["mean"][-1]}
    if own["normalized"] is not None:
        figures["normalized_last"] = own["normalized"][-1]
    if "masked" in others:
        figures["masked_improvement"] = others["masked"]["improvement"]["value"]
    return figures


def print_table(rows: Sequence[EpisodeSeries], resamples: int, seed: int) -> None:
    """Print one line per policy."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    title = "return of an episode, with 95 % intervals: bootstrap over environments"
    table = Table("policy", "first", "last", "improvement", "falls", "steps/s", title=title, box=SIMPLE_HEAD)
    for row in rows:
        curve = row.curve(resamples, seed)
        cells = [f.two_lines() for f in (curve[0], curve[-1], row.improvement(resamples, seed))]
        table.add_row(row.label, *cells, f"{row.fell.mean():.1%}", f"{row.steps_per_s:.0f}")
    Console(width=100).print(table)
