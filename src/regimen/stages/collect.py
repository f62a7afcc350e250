"""Stage `collect`: record observations, actions, episode ends and labels of a policy as one HDF5 file."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from regimen.data.episodes.schema import GateResult
from regimen.stages.recording.config import CollectCfg, CollectResult

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
        from regimen.runs import checkpoint
        from regimen.stages.playback.rollout import opened_env
        from regimen.stages.recording.policy_check import require_good_policy
        from regimen.stages.recording.recorders import EpisodeRecorder

        started = time.perf_counter()
        torch.set_num_threads(1)  # a few hundred rows are slower on several threads; the physics uses all threads
        bundle, saved = load_bundle(config.policy), checkpoint.saved_part(run, "collect")
        if saved is not None:
            gate = GateResult.from_dict(saved["gate"])
        else:
            gate = require_good_policy(run, config, bundle, self.cfg.gate_envs, self.cfg.accept)
        torch.manual_seed(config.seed)
        with opened_env(config) as env, torch.inference_mode():
            EpisodeRecorder(self.cfg, run, config, env, bundle, gate).collect(saved)
        self._finish(run, gate, config, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # the folder holds no policy; nothing is left to resume

    def _finish(self, run: Run, gate: GateResult, config: Config, wall_s: float) -> None:
        from regimen.data.episodes import card as cards

        run.progress(note="writing the data card")
        path = run.dir / "data" / "episodes.h5"
        card = cards.make([path], seed=config.seed)
        cards.keep_healthy(path, card)
        for file in cards.write(card, run.dir / "data", run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = card.problems()
        if problems and card.classes:
            more = f", and {len(problems) - 1} more in data/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for training a detector: {problems[0].rstrip('.')}{more}.")
        headline = {"samples": float(card.rows), "episodes": float(card.episodes.count)}
        if card.classes:
            headline["healthy_share"] = card.healthy_share
        run.finish(headline, CollectResult(gate=gate, problems=problems, wall_s=wall_s).to_dict())
