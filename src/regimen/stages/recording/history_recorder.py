"""Loop and checkpoints of `stage=collect_histories`."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.data.histories.reader import INDEX
from regimen.data.histories.writer import ROWS, HistoryWriter
from regimen.envs.mass_randomization import EVENT
from regimen.runs import checkpoint
from regimen.stages.recording.calibration import calibrate
from regimen.system import files
from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run
    from regimen.stages.recording.actors import HistoryPolicy
    from regimen.stages.recording.config import CollectHistoriesCfg


class HistoryRecorder:
    """Record one learning history per env, with checkpoints for resuming.

    Attributes:
        step_num: (N,) step within the episode.
        episodes: (N,) number of completed episodes.
        rows_of: (N,) number of rows of a completed history; 0 while it is incomplete.
    """

    def __init__(self, cfg: CollectHistoriesCfg, run: Run, config: Config, env: VecEnv, policy: HistoryPolicy) -> None:
        """Prepare an empty recording of `policy`."""
        self.cfg, self.run, self.config, self.env, self.policy = cfg, run, config, env, policy
        n, device = env.num_envs, env.device
        self.folder = run.dir / "data" / "histories"
        self.step_num = torch.zeros(n, dtype=torch.int32, device=device)
        self.episodes = torch.zeros(n, dtype=torch.int32, device=device)
        self.rows_of = torch.zeros(n, dtype=torch.long, device=device)
        self.returns = torch.zeros(n, dtype=torch.float64, device=device)
        self.best = {"total": 0.0, "episodes": 0}
        self.ended = 0
        self.mass: torch.Tensor | None = None
        self.calibration: dict[str, Any] = {}
        self.obs: Obs = {}
        self.writer: HistoryWriter | None = None

    def collect(self, saved: dict[str, Any] | None) -> Path:
        """Record all histories, or the rest of a resumed run; return the path of histories.json."""
        if saved is not None and not (self.folder / ROWS).exists():
            return self.folder / INDEX  # complete; only the card is missing
        first, started = self._begin() if saved is None else self._restore(saved), time.perf_counter()
        assert self.writer is not None, "opened by _begin and _restore"
        try:
            for row in count(first):
                self.run.check_stop(row, self._save)
                if self._complete(row):
                    break
                self._step(row)
                if (row + 1) % self.cfg.checkpoint_interval == 0:
                    self._save()
                self._progress(row + 1, first, started)
            self._save()  # the following steps can be repeated
            self.run.progress(note="sorting rows by history")
            return self._finish()
        finally:
            self.writer.close()

    def _begin(self) -> int:
        self.run.rewind(-1)
        seed, n = self.config.seed, self.env.num_envs
        self._require_space()
        self.calibration = calibrate(self.run, self.env, self.policy.expert, self.cfg.noise.box, seed)
        torch.manual_seed(seed)
        self.obs = self.env.reset(seed=seed)
        all_envs = torch.arange(n, device=self.env.device)
        self.policy.begin(all_envs, torch.zeros(n, device=self.env.device))
        io = self.env.io
        self.writer = HistoryWriter(self.folder, n, io.size(), io.num_actions, self.policy.label)
        return 0

    def _require_space(self) -> None:
        """Raise if the disk has no space for two copies of the rows: by step and by history.

        Raises:
            PreflightError: with the needed and the free space.
        """
        io, n = self.env.io, self.env.num_envs
        rows = self.cfg.steps or (self.cfg.episodes or 0) * self.env.max_episode_length
        needed, free = 2 * 4 * rows * n * (io.size() + io.num_actions + 5), shutil.disk_usage(self.run.dir).free
        if needed > free:
            raise PreflightError(
                f"The histories need up to {needed / 1e9:.1f} GB, {self.run.dir} has {free / 1e9:.1f} GB free. Free "
                f"some space, or lower env.num_envs={n}, stage.steps or stage.episodes."
            )

    def _complete(self, row: int) -> bool:
        if self.cfg.steps is not None:
            return row >= self.cfg.steps
        return row > 0 and bool((self.rows_of > 0).all())

    def _step(self, row: int) -> None:
        """Act, record the step, and begin new episodes in the envs whose episode ended."""
        action = self.policy.act(self.obs, self.calibration["box"])
        obs, reward, terminated, truncated, info = self.env.step(action)
        if self.mass is None and EVENT in info["labels"]:
            self.mass = info["labels"][EVENT].clone()
        values = {"proprio_observation": self.obs["policy"], "action": action, "reward": reward}
        values |= {"step_num": self.step_num, self.policy.label: self.policy.value}
        values |= {"terminated": terminated, "truncated": truncated}
        assert self.writer is not None, "opened by collect"
        self.writer.add({name: value.cpu().numpy() for name, value in values.items()})
        self.obs = obs
        self.returns = self.returns + reward
        self.step_num = self.step_num + 1
        self._end_episodes((terminated | truncated).nonzero().squeeze(1), row + 1)

    def _end_episodes(self, ended: torch.Tensor, rows: int) -> None:
        """Count the episodes of the envs `ended` (n,) after `rows` rows, and begin the next ones."""
        if not len(ended):
            return
        incomplete = self.rows_of[ended] == 0
        best = ended[incomplete & self.policy.at_best()[ended]]
        self.best["total"] += float(self.returns[best].sum())
        self.best["episodes"] += len(best)
        self.episodes[ended] += 1
        self.step_num = self.step_num.index_fill(0, ended, 0)
        self.returns = self.returns.index_fill(0, ended, 0.0)
        self.ended += int(incomplete.sum())
        if self.cfg.episodes is not None:
            complete = ended[incomplete & (self.episodes[ended] >= self.cfg.episodes)]
            self.rows_of[complete] = rows
            # The last episode has share 1 and so the expert's actions, whatever the noise-free share.
            share = self.episodes[ended] / max(self.cfg.episodes - 1, 1)
        else:
            share = torch.full((len(ended),), rows / (self.cfg.steps or 1), device=ended.device)
        self.policy.begin(ended, share.clamp(max=1.0))

    def _finish(self) -> Path:
        assert self.writer is not None, "opened by collect"
        rows_of = None if self.cfg.steps is not None else self.rows_of.cpu().numpy()
        per_history = {} if self.mass is None else {EVENT: self.mass.tolist()}
        return self.writer.finish(self._about(), rows_of, per_history)

    def _about(self) -> dict[str, Any]:
        """Return the metadata of the dataset."""
        cfg, config, record = self.cfg, self.config, self.run.record
        task, best = config.choices.get("task", ""), self.best
        expert = best["total"] / best["episodes"] if best["episodes"] else self.calibration["expert"]
        metadata = {
            "task_name": task,
            "group": cfg.group or task,
            "action_type": "discrete" if getattr(self.env, "discrete_actions", False) else "continuous",
            "reward_scale": cfg.reward_scale,
            "episode_sparsity": cfg.episode_sparsity,
            "io": self.env.io.to_dict(),
            "mode": cfg.mode,
            "random_score": self.calibration["random"],
            "expert_score": expert,
            "expert_episodes": best["episodes"],
            "noise": asdict(cfg.noise) | {"range": self.calibration["box"]} if cfg.mode == "noise" else None,
            "domain_randomization": asdict(cfg.domain_randomization),
            "step_dt": self.env.step_dt,
            "sim": config.choices.get("sim", ""),
            "seed": config.seed,
            "run": self.run.id,
            "parents": record.parents,
            "command": shlex.join(record.argv),
            "policy_sha256": files.sha256(Path(config.policy)) if config.policy else None,
        }
        return metadata | self.policy.about()

    def _progress(self, done: int, first: int, started: float) -> None:
        """Report the completed steps, or the completed episodes of all histories."""
        elapsed, n = max(time.perf_counter() - started, 1e-9), self.env.num_envs
        fields: dict[str, Any] = {
            "samples": done * n,
            "samples_per_s": (done - first) * n / elapsed,
            "note": "recording",
        }
        if self.cfg.steps is not None:
            eta_s = (self.cfg.steps - done) * elapsed / (done - first)
            fields |= {"iteration": done, "iterations": self.cfg.steps, "eta_s": eta_s}
        else:
            fields |= {"iteration": self.ended, "iterations": n * (self.cfg.episodes or 0)}
        self.run.progress(**fields)

    def _save(self) -> None:
        """Write the checkpoint of the current step, after flushing its rows."""
        assert self.writer is not None, "opened by collect"
        self.writer.flush()
        state = {
            "rows": self.writer.rows,
            "env": self.env.state_dict(),
            "obs": dict(self.obs),
            "actor": self.policy.state_dict(),
            "trial": self.calibration,
            "best": dict(self.best),
            "ended": self.ended,
            "mass": self.mass,
            "counts": {name: getattr(self, name) for name in ("step_num", "episodes", "rows_of", "returns")},
            "rng": checkpoint.rng_state(),
        }
        bundle = {"format": checkpoint.FORMAT, "run": self.run.id, "step": self.writer.rows, "collect": state}
        checkpoint.save(self.run.checkpoints / "last.pt", bundle)

    def _restore(self, saved: dict[str, Any]) -> int:
        self.env.load_state_dict(saved["env"])
        self.policy.load_state_dict(saved["actor"])
        self.obs, self.calibration, self.best, self.mass = (saved[name] for name in ("obs", "trial", "best", "mass"))
        self.ended = saved["ended"]
        for name, value in saved["counts"].items():
            setattr(self, name, value)
        self.writer = HistoryWriter.resume(self.folder, saved["rows"])
        checkpoint.set_rng_state(saved["rng"])
        self.run.rewind(saved["rows"])
        return int(saved["rows"])
