"""Loop and checkpoints of `stage=collect`."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.config.targets import resolve
from regimen.data.episodes.schema import columns_for
from regimen.data.episodes.writer import EpisodeWriter
from regimen.envs.fault_estimate.joints import fault_joints, robot_joints
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system import files
from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run
    from regimen.stages.recording.config import CollectCfg


class EpisodeRecorder:
    """Record every step of a policy, with checkpoints for resuming."""

    def __init__(
        self, cfg: CollectCfg, run: Run, config: Config, env: VecEnv, bundle: dict[str, Any], gate: dict[str, Any]
    ) -> None:
        """Load the policy of `bundle` for `env`; `gate` is the result of `require_good_policy`.

        Raises:
            IOMismatchError: the policy does not fit the env.
        """
        io = IOSpec.from_dict(bundle["io"])
        io.require_fits(env.io)
        self.cfg, self.run, self.config, self.env, self.gate = cfg, run, config, env, gate
        self.policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)
        self.path = run.dir / "data" / "episodes.h5"
        self.episode = torch.arange(env.num_envs, dtype=torch.int32, device=env.device)
        self.next_episode = env.num_envs
        self.obs: Obs = {}
        self.state: Any = None
        self.writer: EpisodeWriter | None = None

    def collect(self, saved: dict[str, Any] | None) -> None:
        """Record `cfg.steps` rows, or the remaining rows of a resumed run."""
        first = self._begin() if saved is None else self._restore(saved)
        started, env = time.perf_counter(), self.env
        try:
            for step in range(first, self.cfg.steps):
                self.run.check_stop(step, self._save)
                action, self.state = self.policy.act(self.obs, self.state)
                if self.cfg.action_noise:
                    action = action + self.cfg.action_noise * torch.randn_like(action)
                obs, reward, terminated, truncated, info = env.step(action)
                self._record(action, reward, terminated, truncated, info["labels"])
                self.obs = obs
                self._end_episodes(terminated | truncated)
                if (step + 1) % self.cfg.checkpoint_interval == 0:
                    self._save()
                self._progress(step + 1, first, started)
        finally:
            if self.writer is not None:
                self.writer.close()

    def _begin(self) -> int:
        self.run.rewind(-1)
        self.obs = self.env.reset(seed=self.config.seed)
        self.env.stagger()
        return 0

    def _record(
        self,
        action: torch.Tensor,
        reward: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        labels: dict[str, torch.Tensor],
    ) -> None:
        """Add the row of a step: observation before it, action, reward, end and labels."""
        row = {f"obs/{group}": value for group, value in self.obs.items()}
        row |= {"action": action, "reward": reward, "terminated": terminated, "truncated": truncated}
        row |= {"episode": self.episode} | {f"labels/{name}": value for name, value in labels.items()}
        arrays: dict[str, np.ndarray] = {name: value.cpu().numpy() for name, value in row.items()}
        if self.writer is None:
            self.writer = self._open(arrays)
        self.writer.add(arrays)

    def _open(self, row: dict[str, np.ndarray]) -> EpisodeWriter:
        labels = {name.removeprefix("labels/"): v.dtype for name, v in row.items() if name.startswith("labels/")}
        io, n = self.env.io, self.env.num_envs
        columns = columns_for({group: io.size(group) for group in io.observations}, io.num_actions, labels)
        needed = self.cfg.steps * n * sum(column.bytes for column in columns.values())
        free = shutil.disk_usage(self.run.dir).free
        if needed > free:
            raise PreflightError(
                f"The dataset needs up to {needed / 1e9:.1f} GB, {self.run.dir} has {free / 1e9:.1f} GB free. Free "
                f"some space, or lower stage.steps={self.cfg.steps} or env.num_envs={n}."
            )
        return EpisodeWriter(self.path, columns, n, self._attributes())

    def _attributes(self) -> dict[str, Any]:
        """Return the attributes of the file."""
        env, config, record = self.env, self.config, self.run.record
        faults = {name: config.env.events.get(name) for name in config.env.evaluation.faults}
        return {
            "io": env.io.to_dict(),
            "joints": robot_joints(config, env),
            "classes": fault_joints(config, env),
            "step_dt": env.step_dt,
            "max_episode_length": env.max_episode_length,
            "staggered": True,
            "severity": {name: asdict(event)["params"] for name, event in faults.items() if event is not None},
            "run": self.run.id,
            "parents": record.parents,
            "command": shlex.join(record.argv),
            "task": config.choices.get("task", ""),
            "seed": config.seed,
            "action_noise": self.cfg.action_noise,
            "policy_sha256": files.sha256(Path(str(config.policy))),
            "gate": self.gate,
        }

    def _end_episodes(self, done: torch.Tensor) -> None:
        """Assign new episode ids to the envs with `done` (N,), and reset the policy's memory of them."""
        ended = done.nonzero().squeeze(1)
        if not len(ended):
            return
        ids = self.next_episode + torch.arange(len(ended), dtype=torch.int32, device=ended.device)
        self.episode = self.episode.index_copy(0, ended, ids)
        self.next_episode += len(ended)
        self.state = self.policy.reset(self.state, ended)

    def _progress(self, done: int, first: int, started: float) -> None:
        rate = (done - first) / max(time.perf_counter() - started, 1e-9)
        n = self.env.num_envs
        eta = (self.cfg.steps - done) / rate
        self.run.progress(
            iteration=done,
            iterations=self.cfg.steps,
            samples=done * n,
            samples_per_s=rate * n,
            eta_s=eta,
            note="recording",
        )

    def _save(self) -> None:
        """Write the checkpoint of the current step, after flushing its rows."""
        if self.writer is None:
            return
        self.writer.flush()
        state = {
            "rows": self.writer.rows,
            "env": self.env.state_dict(),
            "obs": dict(self.obs),
            "episode": self.episode,
            "next_episode": self.next_episode,
            "policy": self.state,
            "rng": checkpoint.rng_state(),
            "gate": self.gate,
        }
        bundle = {"format": checkpoint.FORMAT, "run": self.run.id, "step": self.writer.rows, "collect": state}
        checkpoint.save(self.run.checkpoints / "last.pt", bundle)

    def _restore(self, saved: dict[str, Any]) -> int:
        self.env.load_state_dict(saved["env"])
        self.obs, self.state = saved["obs"], saved["policy"]
        self.episode, self.next_episode = saved["episode"], saved["next_episode"]
        self.writer = EpisodeWriter.resume(self.path, saved["rows"])
        checkpoint.set_rng_state(saved["rng"])
        self.run.rewind(saved["rows"])
        return int(saved["rows"])
