"""Stage `collect_histories`: record learning histories, the data of algorithm distillation."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.stages.recording.config import CollectHistoriesCfg

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


class CollectHistories:
    """Record one dataset of histories; resumes from `checkpoints/last.pt`."""

    def __init__(self, cfg: CollectHistoriesCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Record all histories and write the data card.

        Raises:
            ConfigError: no policy is named, and the task has no `optimal_action`.
            StopRequested: a signal asked to stop; a checkpoint is written.
        """
        import torch

        from regimen.envs.mass_randomization import randomize_mass
        from regimen.runs import checkpoint
        from regimen.stages.playback.rollout import opened_env
        from regimen.stages.recording.history_policies import make_history_policy
        from regimen.stages.recording.recorders import HistoryRecorder

        started = time.perf_counter()
        torch.set_num_threads(1)  # as in stage=collect
        randomize_mass(config, self.cfg.domain_randomization)
        saved = checkpoint.saved_part(run, "collect")
        with opened_env(config) as env, torch.inference_mode():
            policy = make_history_policy(self.cfg, config, env)
            path = HistoryRecorder(self.cfg, run, config, env, policy).collect(saved)
        self._finish(run, path, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # the folder holds no policy; nothing is left to resume

    def _finish(self, run: Run, path: Path, wall_s: float) -> None:
        from regimen.data.histories.card import make, write
        from regimen.data.histories.reader import open_histories

        run.progress(note="writing the data card")
        card = make(open_histories(path))
        for file in write(card, path.parent, run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = card.problems()
        if problems:
            more = f", and {len(problems) - 1} more in data/histories/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for learning in context: {problems[0].rstrip('.')}{more}.")
        headline = {"histories": float(len(card.histories)), "samples": float(card.rows)}
        headline |= {"spearman": card.spearman, "expert_score": card.expert_score}
        result = {"dataset": "data/histories/histories.json", "problems": problems, "wall_s": wall_s}
        run.finish(headline, {**result, "random_score": card.random_score, "stage": asdict(self.cfg)})
