"""Loop of `stage=collect stage.episodes=…`: whole episodes of an expert, a policy or a human."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import torch

from regimen.config.targets import resolve
from regimen.data.demonstrations import DemonstrationWriter
from regimen.data.episode_collector import EpisodeCollector, scripted_demonstrator
from regimen.data.episodes.schema import EpisodeAttributes
from regimen.envs.controls.human import HumanControls
from regimen.envs.vec_env import IOSpec
from regimen.stages.recording.recorders import Recorder
from regimen.system.errors import DatasetError, StopRequested

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.data.demonstrations import Demonstration
    from regimen.data.episode_collector import Demonstrator
    from regimen.data.episodes.schema import GateResult
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run
    from regimen.stages.recording.config import CollectCfg

ATTEMPTS_PER_EPISODE = 4
"""Episodes tried for each wanted one, where the config sets no bound."""


class DemonstrationRecorder(Recorder):
    """Record `cfg.episodes` episodes.

    Attributes:
        collector: of the episodes.
        kept: episodes in the file.
    """

    writer: DemonstrationWriter | None = None

    def __init__(
        self, cfg: CollectCfg, run: Run, config: Config, env: VecEnv, gate: GateResult, bundle: PolicyBundle | None
    ) -> None:
        """Prepare what acts.

        Args:
            cfg: of the stage.
            run: receives progress and the file.
            config: of the run.
            env: the environment.
            gate: result of `require_good_policy`.
            bundle: checkpoint of the policy that acts; None for the expert of the task or a human.

        Raises:
            ConfigError: the task has no scripted expert.
            IOMismatchError: the policy does not fit the env.
        """
        super().__init__(cfg, run, config, env)
        self.cfg, self.gate, self.kept = cfg, gate, 0
        self._wanted, self._steps = cfg.episodes or 0, None
        self._most = cfg.max_attempts or (None if config.policy == "human" else ATTEMPTS_PER_EPISODE * self._wanted)
        self._human: HumanControls | None = None
        if config.policy == "human":
            action, task = env.io.action, config.choices.get("task", "")
            self._human = HumanControls(cfg.controls, action.joints, action.clip, f"{task}: move to begin")
        self._begun, self._rows = False, 0
        self.collector = EpisodeCollector(env, self._demonstrator(bundle), cfg.only_successful)
        self.path = run.dir / "data" / "episodes.h5"

    def _demonstrator(self, bundle: PolicyBundle | None) -> Demonstrator:
        if bundle is not None:
            return _PolicyDemonstrator(bundle, self.env, self.cfg.action_noise)
        if self._human is not None:
            return _HumanDemonstrator(self._human, self.env)
        return scripted_demonstrator(self.env, self.cfg.action_noise, self.config.seed)

    def collect(self, saved: StateDict | None) -> None:
        """Record all episodes, or the remaining ones of a resumed run.

        Raises:
            DatasetError: too few of the episodes that may be tried ended in success.
        """
        if saved is None:
            self.run.rewind(-1)
            self.collector.begin(self.config.seed)
            self._record(0)
        else:
            self._record(self._restore(saved))
        try:
            self._save()  # the following steps can be repeated
        finally:
            self._close()

    def _complete(self, row: int) -> bool:
        if self.kept >= self._wanted:
            return True
        if self._most is not None and self.collector.attempts >= self._most:
            raise DatasetError(
                f"{self.kept} of {self.collector.attempts} episodes ended in success, {self._wanted} are wanted. Try "
                f"more, stage.max_attempts={2 * self._most}, with less noise, stage.action_noise="
                f"{self.cfg.action_noise / 2:g}, or keep every episode: stage.only_successful=false."
            )
        return False

    def _step(self, row: int) -> None:
        if self._human is not None and not self._acts(self._human, row):
            return
        episodes = self.collector.step(self._wanted - self.kept)
        for episode in episodes:
            self._add(episode)
        self.obs, self._rows = self.collector.obs, row + 1
        self._begun = self._begun and not self.collector.at_begin
        if self._human is not None and episodes:
            self._save()  # a human cannot repeat an episode

    def _acts(self, human: HumanControls, row: int) -> bool:
        """Return whether the human acts in this step: an episode begins with the first input.

        Raises:
            StopRequested: the window was closed; a checkpoint is written.
        """
        if human.closed:
            self._save()
            raise StopRequested(signal.SIGINT, row)
        human.show(self.env.render())
        human.wait(self.env.step_dt)
        if human.controller.discarded():
            self.collector.discard()
            self.obs = self.collector.obs
            human.controller.release()
            self._begun = False
        self._begun = self._begun or human.controller.active
        return self._begun

    def _close(self) -> None:
        super()._close()
        if self._human is not None:
            self._human.__exit__()

    def _add(self, episode: Demonstration) -> None:
        if self.writer is None:
            labels = {name: value.dtype for name, value in episode.labels.items()}
            self.writer = DemonstrationWriter(self.path, self.env.io, labels, self._attributes())
        self.writer.add_episode(episode)
        self.kept += 1

    def _attributes(self) -> EpisodeAttributes:
        policy = self.config.policy
        phases = getattr(self.env, "phases", None)
        return EpisodeAttributes(
            **self._provenance(),
            joints=list(self.env.io.action.joints),
            max_episode_length=self.env.max_episode_length,
            staggered=False,
            task=self.config.choices.get("task", ""),
            action_noise=self.cfg.action_noise,
            gate=self.gate,
            demonstrator=policy if policy in self.cfg.DEMONSTRATORS else "policy",
            phases=None if phases is None else list(phases),
        )

    def _episode_progress(self) -> dict[str, float]:
        return {"iteration": self.kept, "iterations": self._wanted}

    def _state(self) -> StateDict:
        return {
            "steps": self._rows,
            "kept": self.kept,
            "collector": self.collector.state_dict(),
            "gate": self.gate.to_dict(),
        }

    def _restore(self, saved: StateDict) -> int:
        super()._restore(saved)
        self.collector.load_state_dict(saved["collector"])
        self.collector.obs, self.kept = self.obs, saved["kept"]
        self.writer = DemonstrationWriter.resume(self.path, saved["rows"], saved["kept"])
        return int(saved["steps"])


class _HumanDemonstrator:
    """The present action of a human, in one env."""

    def __init__(self, human: HumanControls, env: VecEnv) -> None:
        self._human, self._device = human, env.device

    def act(self, obs: Obs) -> torch.Tensor:
        return torch.from_numpy(self._human.controller.action())[None].to(self._device)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Nothing is remembered of an episode."""

    def state_dict(self) -> StateDict:
        return {}

    def load_state_dict(self, state: StateDict) -> None:
        """Nothing was saved."""


class _PolicyDemonstrator:
    """A policy that was trained, with normal noise on its actions."""

    def __init__(self, bundle: PolicyBundle, env: VecEnv, noise: float) -> None:
        """Load the policy.

        Raises:
            IOMismatchError: it does not fit the env.
        """
        io = IOSpec.from_dict(bundle["io"])
        io.require_fits(env.io)
        self._policy, self._noise = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device), noise
        self._memory: Any = None

    def act(self, obs: Obs) -> torch.Tensor:
        action, self._memory = self._policy.act(obs, self._memory)
        return action + self._noise * torch.randn_like(action) if self._noise else action

    def reset(self, env_ids: torch.Tensor) -> None:
        self._memory = self._policy.reset(self._memory, env_ids)

    def state_dict(self) -> StateDict:
        return {"memory": self._memory}

    def load_state_dict(self, state: StateDict) -> None:
        self._memory = state["memory"]
