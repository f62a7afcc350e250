"""The stage that records what a policy does: every observation group, actions, ends and labels, as one HDF5 file."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.errors import PreflightError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import torch

    from regimen.data.writer import EpisodeWriter
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.run import Run
    from regimen.schema import Config


@dataclass
class CollectCfg:
    """Let `policy` act in the task and record it.

    Attributes:
        steps: control steps of each env; rows of the dataset.
        action_noise: standard deviation of normal noise added to every action, in units of the action.
        gate_envs: envs for each command of `env.evaluation.grid` in which the policy is first tried without faults.
        accept: why data of a policy are wanted that `env.evaluation.gate` refuses; recorded.
        checkpoint_interval: steps between two moments from which a killed run goes on.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator")
    _target_: str = "regimen.stages.collect.Collect"
    steps: int = 3000
    action_noise: float = 0.0
    gate_envs: int = 16
    accept: str | None = None
    checkpoint_interval: int = 512

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with this stage on the run's plain `config`, one line each."""
        counts = {name: getattr(self, name) for name in ("steps", "gate_envs", "checkpoint_interval")}
        lines = [f"{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
        if self.action_noise < 0:
            lines.append(f"action_noise={self.action_noise}: expected 0 or more.")
        if self.accept is not None and not self.accept.strip():
            lines.append("accept=: expected the reason, such as accept='data of falls wanted'.")
        events = config["env"].get("events") or {}
        named = (config["env"].get("evaluation") or {}).get("faults") or []
        return lines + [
            f"env.evaluation.faults names `{name}`, not in env.events. {did_you_mean(name, events)}"
            for name in named
            if name not in events
        ]

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return about what the two open chunks take."""
        from regimen.data.layout import chunk_steps

        return 2 * 4 * chunk_steps(num_envs) * num_envs * (observation + action + 8)


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

        from regimen import checkpoint
        from regimen.envs import open_env
        from regimen.stages.evaluate import load_bundle
        from regimen.stages.policy_gate import pass_gate

        started = time.perf_counter()
        torch.set_num_threads(1)  # some hundred rows cost more to share than to do; the physics has all threads
        bundle, last = load_bundle(config.policy), run.checkpoints / "last.pt"
        saved = checkpoint.load(last)["collect"] if last.exists() else None
        gate = saved["gate"] if saved else pass_gate(run, config, bundle, self.cfg.gate_envs, self.cfg.accept)
        torch.manual_seed(config.seed)
        env = open_env(config)
        try:
            with torch.inference_mode():
                _Collection(self.cfg, run, config, env, bundle, gate).collect(saved)
        finally:
            env.close()
        self._finish(run, gate, config, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # others look for a policy there; nothing is left to do

    def _finish(self, run: Run, gate: dict[str, Any], config: Config, wall_s: float) -> None:
        from regimen.data import card, gates

        run.progress(note="making the data card")
        path = run.dir / "data" / "episodes.h5"
        made = card.make([path], seed=config.seed)
        card.keep_healthy(path, made)
        for file in card.write(made, run.dir / "data", run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = gates.check(made)
        if problems and made["classes"]:
            more = f", and {len(problems) - 1} more in data/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for training a detector: {problems[0].rstrip('.')}{more}.")
        headline = {"samples": float(made["rows"]), "episodes": float(made["episodes"]["count"])}
        if made["classes"]:
            headline["healthy_share"] = made["healthy_share"]
        run.finish(headline, {"dataset": "data/episodes.h5", "gate": gate, "problems": problems, "wall_s": wall_s})


class _Collection:
    """The loop, and what it needs to go on after a kill."""

    def __init__(
        self, cfg: CollectCfg, run: Run, config: Config, env: VecEnv, bundle: dict[str, Any], gate: dict[str, Any]
    ) -> None:
        import torch

        from regimen.envs.vec_env import IOSpec
        from regimen.resolve import resolve

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
        """Record `cfg.steps` rows, or what is left of them."""
        import torch

        first = self._begin() if saved is None else self._restore(saved)
        clock, env = time.perf_counter(), self.env
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
                self._progress(step + 1, first, clock)
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
        """Add the row of a step: the observation before it, its action, and what came of it."""
        row = {f"obs/{group}": value for group, value in self.obs.items()}
        row |= {"action": action, "reward": reward, "terminated": terminated, "truncated": truncated}
        row |= {"episode": self.episode} | {f"labels/{name}": value for name, value in labels.items()}
        arrays: dict[str, np.ndarray] = {name: value.cpu().numpy() for name, value in row.items()}
        if self.writer is None:
            self.writer = self._open(arrays)
        self.writer.add(arrays)

    def _open(self, row: dict[str, np.ndarray]) -> EpisodeWriter:
        from regimen.data.layout import columns_for
        from regimen.data.writer import EpisodeWriter

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
        return EpisodeWriter(self.path, columns, n, self._facts())

    def _facts(self) -> dict[str, Any]:
        """Return what the file says of itself."""
        from regimen import record
        from regimen.stages.policy_gate import fault_joints, robot_joints

        env, config, info = self.env, self.config, self.run.info
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
            "parents": info.get("parents") or [],
            "command": shlex.join(info.get("argv") or []),
            "task": config.choices.get("task", ""),
            "seed": config.seed,
            "action_noise": self.cfg.action_noise,
            "policy_sha256": record.sha256(Path(str(config.policy))),
            "gate": self.gate,
        }

    def _end_episodes(self, done: torch.Tensor) -> None:
        """Give the envs (N,) whose episode ended the next ids, and have the policy forget them."""
        ended = done.nonzero().squeeze(1)
        if not len(ended):
            return
        import torch

        ids = self.next_episode + torch.arange(len(ended), dtype=torch.int32, device=ended.device)
        self.episode = self.episode.index_copy(0, ended, ids)
        self.next_episode += len(ended)
        self.state = self.policy.reset(self.state, ended)

    def _progress(self, done: int, first: int, clock: float) -> None:
        rate = (done - first) / max(time.perf_counter() - clock, 1e-9)
        n = self.env.num_envs
        eta = (self.cfg.steps - done) / rate
        self.run.progress(
            iteration=done,
            iterations=self.cfg.steps,
            samples=done * n,
            samples_per_s=rate * n,
            eta_s=eta,
            note="collecting",
        )

    def _save(self) -> None:
        """Write the checkpoint of this very step, after the rows it counts on."""
        from regimen import checkpoint

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
        from regimen import checkpoint
        from regimen.data.writer import EpisodeWriter

        self.env.load_state_dict(saved["env"])
        self.obs, self.state = saved["obs"], saved["policy"]
        self.episode, self.next_episode = saved["episode"], saved["next_episode"]
        self.writer = EpisodeWriter.resume(self.path, saved["rows"])
        checkpoint.set_rng_state(saved["rng"])
        self.run.rewind(saved["rows"])
        return int(saved["rows"])
