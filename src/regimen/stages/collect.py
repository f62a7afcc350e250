"""Stage `collect`: record observations, actions, episode ends and labels of a policy as one HDF5 file."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

from regimen.stages.recording.config import CollectCfg

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


class Collect:
    """Record one dataset; resumes from `checkpoints/last.pt`."""

    def __init__(self, cfg: CollectCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Record all steps and write the data card.

        Raises:
            ConfigError: the policy fails the check `env.evaluation.gate`.
            StopRequested: a signal asked to stop; a checkpoint is written.
        """
        import torch

        from regimen.agents.policy_file import load_bundle
        from regimen.display.text_tables import print_tables
        from regimen.envs import open_env
        from regimen.envs.term_tables import term_tables
        from regimen.runs import checkpoint
        from regimen.stages.recording.episode_recorder import EpisodeRecorder
        from regimen.stages.recording.policy_check import require_good_policy

        started = time.perf_counter()
        torch.set_num_threads(1)  # a few hundred rows are slower on several threads; the physics uses all threads
        bundle, last = load_bundle(config.policy), run.checkpoints / "last.pt"
        saved = checkpoint.load(last)["collect"] if last.exists() else None
        gate = saved["gate"] if saved else require_good_policy(run, config, bundle, self.cfg.gate_envs, self.cfg.accept)
        torch.manual_seed(config.seed)
        env = open_env(config)
        print_tables(term_tables(config.env, env.io))
        try:
            with torch.inference_mode():
                EpisodeRecorder(self.cfg, run, config, env, bundle, gate).collect(saved)
        finally:
            env.close()
        self._finish(run, gate, config, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # the folder holds no policy; nothing is left to resume

    def _finish(self, run: Run, gate: dict[str, Any], config: Config, wall_s: float) -> None:
        from regimen.data.episodes import card

        run.progress(note="writing the data card")
        path = run.dir / "data" / "episodes.h5"
        summary = card.make([path], seed=config.seed)
        card.keep_healthy(path, summary)
        for file in card.write(summary, run.dir / "data", run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = summary.problems()
        if problems and summary.classes:
            more = f", and {len(problems) - 1} more in data/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for training a detector: {problems[0].rstrip('.')}{more}.")
        headline = {"samples": float(summary.rows), "episodes": float(summary.episodes.count)}
        if summary.classes:
            headline["healthy_share"] = summary.healthy_share
        run.finish(headline, {"dataset": "data/episodes.h5", "gate": gate, "problems": problems, "wall_s": wall_s})
