"""Loops of `stage=collect` and `stage=collect_histories`, with checkpoints for resuming."""

from __future__ import annotations

import shlex
import shutil
import time
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.config.targets import resolve
from regimen.data.episodes.schema import EpisodeAttributes, GateResult, columns_for
from regimen.data.episodes.writer import EpisodeWriter
from regimen.data.histories.reader import INDEX, HistoryIndex
from regimen.data.histories.writer import ROWS, HistoryWriter
from regimen.envs.fault_estimate.wrapper import fault_joints, robot_joints
from regimen.envs.mass_randomization import EVENT
from regimen.envs.vec_env import IOSpec, restores
from regimen.runs import checkpoint
from regimen.stages.recording.calibration import Calibration, calibrate
from regimen.system import files
from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    import numpy as np

    from regimen.config.schema import Config
    from regimen.data.demonstrations import DemonstrationWriter
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run
    from regimen.stages.recording.config import CollectCfg, CollectHistoriesCfg
    from regimen.stages.recording.history_policies import HistoryPolicy
    from regimen.system.json_data import Json


class Recorder:
    """Loop of a recording.

    Attributes:
        obs: observation before the next step.
        writer: opened by the first step, or by the resumption.
    """

    writer: EpisodeWriter | HistoryWriter | DemonstrationWriter | None = None

    def __init__(self, cfg: CollectCfg | CollectHistoriesCfg, run: Run, config: Config, env: VecEnv) -> None:
        self.run, self.config, self.env = run, config, env
        self._interval = cfg.checkpoint_interval
        self._steps: int | None = cfg.steps
        self.obs: Obs = {}

    def _record(self, first: int) -> None:
        """Record from row `first` on, and close the writer after an error."""
        started = time.perf_counter()
        try:
            for row in count(first):
                if self._complete(row):
                    return
                self.run.check_stop(row, self._save)
                self._step(row)
                if (row + 1) % self._interval == 0:
                    self._save()
                self._report(row + 1, first, max(time.perf_counter() - started, 1e-9))
        except BaseException:
            self._close()
            raise

    def _complete(self, row: int) -> bool:
        return self._steps is not None and row >= self._steps

    def _step(self, row: int) -> None:
        raise NotImplementedError

    def _report(self, done: int, first: int, elapsed_s: float) -> None:
        n, rate = self.env.num_envs, (done - first) / elapsed_s
        fields: dict[str, float] = {"samples": done * n, "samples_per_s": rate * n}
        if self._steps is not None:
            fields |= {"iteration": done, "iterations": self._steps, "eta_s": (self._steps - done) / rate}
        else:
            fields |= self._episode_progress()
        self.run.progress(**fields, note="recording")

    def _episode_progress(self) -> dict[str, float]:
        """Return `iteration` and `iterations` of a recording without a number of steps."""
        return {}

    def _save(self) -> None:
        """Write the checkpoint of the current step, after flushing its rows."""
        if self.writer is None:
            return
        self.writer.flush()
        env = self.env.state_dict()
        state = {"rows": self.writer.rows, "env": env, "restores_envs": restores(self.env, env), "obs": dict(self.obs)}
        state |= {"rng": checkpoint.rng_state(), **self._state()}
        bundle = {"format": checkpoint.FORMAT, "run": self.run.id, "step": self.writer.rows, "collect": state}
        checkpoint.save(self.run.checkpoints / "last.pt", bundle)

    def _state(self) -> StateDict:
        raise NotImplementedError

    def _restore(self, saved: StateDict) -> int:
        """Restore what every recording saves; return the number of rows."""
        self.env.load_state_dict(saved["env"])
        self.obs = saved["obs"]
        checkpoint.set_rng_state(saved["rng"])
        self.run.rewind(saved["rows"])
        return int(saved["rows"])

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _require_space(self, needed: int, data: str, remedy: str) -> None:
        """Raise if the disk has less than `needed` bytes free.

        Raises:
            PreflightError: with the needed and the free space.
        """
        free = shutil.disk_usage(self.run.dir).free
        if needed > free:
            raise PreflightError(
                f"{data} up to {needed / 1e9:.1f} GB, {self.run.dir} has {free / 1e9:.1f} GB free. Free some space, or "
                f"lower {remedy}."
            )

    def _provenance(self) -> Json:
        """Return run, inputs, command, seed and policy of the recording."""
        record, policy = self.run.record, self.config.policy
        return {
            "step_dt": self.env.step_dt,
            "io": self.env.io.to_dict(),
            "seed": self.config.seed,
            "run": self.run.id,
            "parents": record.parents,
            "command": shlex.join(record.argv),
            "policy_sha256": files.sha256(Path(policy)) if policy and Path(policy).exists() else None,
        }


class EpisodeRecorder(Recorder):
    """Record every step of a policy."""

    writer: EpisodeWriter | None = None

    def __init__(
        self, cfg: CollectCfg, run: Run, config: Config, env: VecEnv, bundle: PolicyBundle, gate: GateResult
    ) -> None:
        """Load the policy of `bundle` for `env`; `gate` is the result of `require_good_policy`.

        Raises:
            IOMismatchError: the policy does not fit the env.
        """
        super().__init__(cfg, run, config, env)
        io = IOSpec.from_dict(bundle["io"])
        io.require_fits(env.io)
        self.cfg, self.gate = cfg, gate
        self.policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)
        self.path = run.dir / "data" / "episodes.h5"
        self.episode = torch.arange(env.num_envs, dtype=torch.int32, device=env.device)
        self.next_episode = env.num_envs
        self.state: Any = None

    def collect(self, saved: StateDict | None) -> None:
        """Record `cfg.steps` rows, or the remaining rows of a resumed run."""
        self._record(self._begin() if saved is None else self._restore(saved))
        self._close()

    def _begin(self) -> int:
        self.run.rewind(-1)
        self.obs = self.env.reset(seed=self.config.seed)
        self.env.stagger()
        return 0

    def _step(self, row: int) -> None:
        """Act, and add the row: observation before the step, action, reward, end and labels."""
        action, self.state = self.policy.act(self.obs, self.state)
        if self.cfg.action_noise:
            action = action + self.cfg.action_noise * torch.randn_like(action)
        obs, reward, terminated, truncated, info = self.env.step(action)
        if (clip := self.env.io.action.clip) is not None:
            action = action.clamp(-clip, clip)  # what the env applied; terms of a task may read what it was given
        columns = {f"obs/{group}": value for group, value in self.obs.items()}
        columns |= {"action": action, "reward": reward, "terminated": terminated, "truncated": truncated}
        columns |= {"episode": self.episode} | {f"labels/{name}": value for name, value in info["labels"].items()}
        arrays: dict[str, np.ndarray] = {name: value.cpu().numpy() for name, value in columns.items()}
        if self.writer is None:
            self.writer = self._open(arrays)
        self.writer.add(arrays)
        self.obs = obs
        self._end_episodes(terminated | truncated)

    def _open(self, row: dict[str, np.ndarray]) -> EpisodeWriter:
        labels = {name.removeprefix("labels/"): v.dtype for name, v in row.items() if name.startswith("labels/")}
        io, n = self.env.io, self.env.num_envs
        groups = {group: io.size(group) for group in io.observations}
        columns = columns_for(groups, io.num_actions, labels, io.images)
        needed = self.cfg.steps * n * sum(column.bytes for column in columns.values())
        self._require_space(needed, "The dataset needs", f"stage.steps={self.cfg.steps} or env.num_envs={n}")
        return EpisodeWriter(self.path, columns, n, self._attributes().head())

    def _attributes(self) -> EpisodeAttributes:
        env, config = self.env, self.config
        faults = {name: config.env.events.get(name) for name in config.env.evaluation.faults}
        return EpisodeAttributes(
            **self._provenance(),
            joints=robot_joints(config, env),
            classes=fault_joints(config, env),
            max_episode_length=env.max_episode_length,
            staggered=True,
            severity={name: asdict(event)["params"] for name, event in faults.items() if event is not None},
            task=config.choices.get("task", ""),
            action_noise=self.cfg.action_noise,
            gate=self.gate,
        )

    def _end_episodes(self, done: torch.Tensor) -> None:
        """Assign new episode ids to the envs with `done` (N,), and reset the policy's memory of them."""
        ended = done.nonzero().squeeze(1)
        if not len(ended):
            return
        ids = self.next_episode + torch.arange(len(ended), dtype=torch.int32, device=ended.device)
        self.episode = self.episode.index_copy(0, ended, ids)
        self.next_episode += len(ended)
        self.state = self.policy.reset(self.state, ended)

    def _state(self) -> StateDict:
        state = {"episode": self.episode, "next_episode": self.next_episode, "policy": self.state}
        return state | {"gate": self.gate.to_dict()}

    def _restore(self, saved: StateDict) -> int:
        self.state = saved["policy"]
        self.episode, self.next_episode = saved["episode"], saved["next_episode"]
        self.writer = EpisodeWriter.resume(self.path, saved["rows"])
        return super()._restore(saved)


class HistoryRecorder(Recorder):
    """Record one learning history per env.

    Attributes:
        step_num: (N,) step within the episode.
        episodes: (N,) number of completed episodes.
        rows_of: (N,) number of rows of a completed history; 0 while it is incomplete.
    """

    writer: HistoryWriter | None = None
    calibration: Calibration

    def __init__(self, cfg: CollectHistoriesCfg, run: Run, config: Config, env: VecEnv, policy: HistoryPolicy) -> None:
        """Prepare an empty recording of `policy`."""
        super().__init__(cfg, run, config, env)
        self.cfg, self.policy = cfg, policy
        n, device = env.num_envs, env.device
        self.folder = run.dir / "data" / "histories"
        self.step_num = torch.zeros(n, dtype=torch.int32, device=device)
        self.episodes = torch.zeros(n, dtype=torch.int32, device=device)
        self.rows_of = torch.zeros(n, dtype=torch.long, device=device)
        self.returns = torch.zeros(n, dtype=torch.float64, device=device)
        self.best = {"total": 0.0, "episodes": 0}
        self.ended = 0
        self.mass: torch.Tensor | None = None

    def collect(self, saved: StateDict | None) -> Path:
        """Record all histories, or the rest of a resumed run; return the path of histories.json."""
        if saved is not None and not (self.folder / ROWS).exists():
            return self.folder / INDEX  # complete; only the card is missing
        self._record(self._begin() if saved is None else self._restore(saved))
        try:
            self._save()  # the following steps can be repeated
            self.run.progress(note="sorting rows by history")
            assert self.writer is not None, "opened by _begin and _restore"
            rows_of = None if self.cfg.steps is not None else self.rows_of.cpu().numpy()
            per_history = {} if self.mass is None else {EVENT: self.mass.tolist()}
            return self.writer.finish(self._index(), rows_of, per_history)
        finally:
            self._close()

    def _begin(self) -> int:
        self.run.rewind(-1)
        seed, n, io = self.config.seed, self.env.num_envs, self.env.io
        rows = self.cfg.steps or (self.cfg.episodes or 0) * self.env.max_episode_length
        needed = 2 * 4 * rows * n * (io.size() + io.num_actions + 5)  # two copies: by step and by history
        self._require_space(needed, "The histories need", f"env.num_envs={n}, stage.steps or stage.episodes")
        self.calibration = calibrate(self.run, self.env, self.policy.expert, self.cfg.noise.box, seed)
        torch.manual_seed(seed)
        self.obs = self.env.reset(seed=seed)
        all_envs = torch.arange(n, device=self.env.device)
        self.policy.begin(all_envs, torch.zeros(n, device=self.env.device))
        self.writer = HistoryWriter(self.folder, n, io.size(), io.num_actions, self.policy.label)
        return 0

    def _complete(self, row: int) -> bool:
        if self.cfg.steps is not None:
            return super()._complete(row)
        return row > 0 and bool((self.rows_of > 0).all())

    def _step(self, row: int) -> None:
        """Act, record the step, and begin new episodes in the envs whose episode ended."""
        action = self.policy.act(self.obs, self.calibration.box)
        obs, reward, terminated, truncated, info = self.env.step(action)
        if self.mass is None and EVENT in info["labels"]:
            self.mass = info["labels"][EVENT].clone()
        values = {"proprio_observation": self.obs["policy"], "action": action, "reward": reward}
        values |= {"step_num": self.step_num, self.policy.label: self.policy.value}
        values |= {"terminated": terminated, "truncated": truncated}
        assert self.writer is not None, "opened by _begin and _restore"
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

    def _index(self) -> HistoryIndex:
        """Return the fields of `histories.json` beside those of its files."""
        cfg, task, best = self.cfg, self.config.choices.get("task", ""), self.best
        noise = asdict(cfg.noise) | {"range": self.calibration.box} if cfg.mode == "noise" else None
        return HistoryIndex(
            **self._provenance(),
            **self.policy.about(),
            task_name=task,
            group=cfg.group or task,
            action_type="discrete" if getattr(self.env, "discrete_actions", False) else "continuous",
            reward_scale=cfg.reward_scale,
            episode_sparsity=cfg.episode_sparsity,
            mode=cfg.mode,
            random_score=self.calibration.random,
            expert_score=best["total"] / best["episodes"] if best["episodes"] else self.calibration.expert,
            expert_episodes=int(best["episodes"]),
            noise=noise,
            domain_randomization=asdict(cfg.domain_randomization),
            sim=self.config.choices.get("sim", ""),
        )

    def _episode_progress(self) -> dict[str, float]:
        return {"iteration": self.ended, "iterations": self.env.num_envs * (self.cfg.episodes or 0)}

    def _state(self) -> StateDict:
        return {
            "actor": self.policy.state_dict(),
            "trial": vars(self.calibration),
            "best": dict(self.best),
            "ended": self.ended,
            "mass": self.mass,
            "counts": {name: getattr(self, name) for name in ("step_num", "episodes", "rows_of", "returns")},
        }

    def _restore(self, saved: StateDict) -> int:
        self.policy.load_state_dict(saved["actor"])
        self.calibration = Calibration(**saved["trial"])
        self.best, self.mass, self.ended = saved["best"], saved["mass"], saved["ended"]
        for name, value in saved["counts"].items():
            setattr(self, name, value)
        self.writer = HistoryWriter.resume(self.folder, saved["rows"])
        return super()._restore(saved)
