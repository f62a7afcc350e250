"""The stage that records what a policy does: every observation group, actions, ends and labels, as one HDF5 file."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from regimen.stages.recording.config import CollectCfg

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


class Collect:
    """Collects one dataset; continues from `checkpoints/last.pt` where there is one."""

    def __init__(self, cfg: CollectCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Collect to the end, or until a signal asks to stop; then make the data card.

        Raises:
            ConfigError: the policy does not pass the task's gate.
            StopRequested: a signal had come; a checkpoint is written.
        """
        import torch

        from regimen.agents.policy_file import load_bundle
        from regimen.envs import open_env
        from regimen.runs import checkpoint
        from regimen.stages.recording.episode_recorder import EpisodeRecorder
        from regimen.stages.recording.policy_check import require_good_policy

        started = time.perf_counter()
        torch.set_num_threads(1)  # some hundred rows cost more to share than to do; the physics has all threads
        bundle, last = load_bundle(config.policy), run.checkpoints / "last.pt"
        saved = checkpoint.load(last)["collect"] if last.exists() else None
        gate = saved["gate"] if saved else require_good_policy(run, config, bundle, self.cfg.gate_envs, self.cfg.accept)
        torch.manual_seed(config.seed)
        env = open_env(config)
        try:
            with torch.inference_mode():
                EpisodeRecorder(self.cfg, run, config, env, bundle, gate).collect(saved)
        finally:
            env.close()
        self._finish(run, gate, config, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # others look for a policy there; nothing is left to do

    def _finish(self, run: Run, gate: dict[str, Any], config: Config, wall_s: float) -> None:
        from regimen.data.episodes import card, quality_checks

        run.progress(note="making the data card")
        path = run.dir / "data" / "episodes.h5"
        made = card.make([path], seed=config.seed)
        card.keep_healthy(path, made)
        for file in card.write(made, run.dir / "data", run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = quality_checks.check(made)
        if problems and made["classes"]:
            more = f", and {len(problems) - 1} more in data/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for training a detector: {problems[0].rstrip('.')}{more}.")
        headline = {"samples": float(made["rows"]), "episodes": float(made["episodes"]["count"])}
        if made["classes"]:
            headline["healthy_share"] = made["healthy_share"]
        run.finish(headline, {"dataset": "data/episodes.h5", "gate": gate, "problems": problems, "wall_s": wall_s})
