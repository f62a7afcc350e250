"""Configurations of `stage=collect` and `stage=collect_histories`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from regimen.data.episodes.schema import GateResult
from regimen.envs.controls.config import ControlsCfg
from regimen.envs.mass_randomization import MassRangeCfg
from regimen.system.errors import did_you_mean
from regimen.system.json_data import JsonData

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig


@dataclass
class CollectCfg:
    """Record episodes of `policy` in the task: a run, `scripted` (the expert of the task) or `human`.

    Attributes:
        steps: control steps per env, rows of the dataset; not read where `episodes` is set.
        episodes: whole episodes to record as demonstrations, each with its final observation.
        only_successful: whether an episode is a demonstration only if it ends with the label `success`.
        max_attempts: episodes that are tried at most; null: four for each wanted, of a human any number.
        action_noise: standard deviation of normal noise added to every action, in units of the action.
        gate_envs: envs for each command of `env.evaluation.grid` in the check of the policy without faults.
        accept: reason to record a policy that fails `env.evaluation.gate`; stored with the data.
        checkpoint_interval: steps between two checkpoints.
        controls: of `policy=human`.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator", "encoder")
    LOADS_POLICY: ClassVar[bool] = True
    DEMONSTRATORS: ClassVar[tuple[str, ...]] = ("scripted", "human")
    _target_: str = "regimen.stages.collect.Collect"
    steps: int = 3000
    episodes: int | None = None
    only_successful: bool = True
    max_attempts: int | None = None
    action_noise: float = 0.0
    gate_envs: int = 16
    accept: str | None = None
    checkpoint_interval: int = 512
    controls: ControlsCfg = field(default_factory=ControlsCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        names = ("steps", "gate_envs", "checkpoint_interval", "episodes", "max_attempts")
        counts = {name: getattr(self, name) for name in names}
        lines = [
            f"{name}={value}: expected 1 or more." for name, value in counts.items() if value is not None and value < 1
        ]
        lines += self._demonstration_problems(config)
        if self.action_noise < 0:
            lines.append(f"action_noise={self.action_noise}: expected 0 or more.")
        if self.accept is not None and not self.accept.strip():
            lines.append("accept=: expected a reason, such as accept='data of falls wanted'.")
        events = config["env"].get("events") or {}
        faults = (config["env"].get("evaluation") or {}).get("faults") or []
        return lines + [
            f"env.evaluation.faults names `{name}`, not in env.events. {did_you_mean(name, events)}"
            for name in faults
            if name not in events
        ]

    def _demonstration_problems(self, config: PlainConfig) -> list[str]:
        lines, policy = [], config.get("policy")
        if self.episodes is None and policy in self.DEMONSTRATORS:
            lines.append(f"policy={policy} records whole episodes: add their number, stage.episodes=25.")
        if None not in (self.episodes, self.max_attempts) and (self.max_attempts or 0) < (self.episodes or 0):
            lines.append(f"max_attempts={self.max_attempts}: expected episodes={self.episodes} or more.")
        if policy == "human":
            lines += self.controls.problems()
            if config["env"].get("num_envs", 1) != 1:
                lines.append("policy=human acts in one env: add env.num_envs=1.")
            if (config.get("hardware") or {}).get("scheduler"):
                lines.append("policy=human: a run on a scheduler has no window. Take hardware=cpu.")
        return lines

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the two open chunks."""
        from regimen.data.episodes.schema import chunk_steps

        return 2 * 4 * chunk_steps(num_envs) * num_envs * (observation + action + 8)


@dataclass
class CollectResult(JsonData):
    """Result of `stage=collect`.

    Attributes:
        dataset: file in the run directory.
        gate: check of the policy.
        problems: quality checks that the data fail, one line each.
        wall_s: duration in s.
        attempts: episodes tried, of demonstrations.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"attempts"})
    dataset: str = "data/episodes.h5"
    attempts: int | None = None
    gate: GateResult | None = None
    problems: list[str] = field(default_factory=list)
    wall_s: float = 0.0


MODES = ("checkpoints", "noise", "expert")
BOXES = ("demonstrator", "limits", "clip")


@dataclass
class NoiseCfg:
    """Noise that decays along a history: a = (1 - ε) π(o) + ε u, u uniform in a box, ε constant within an episode.

    ε = (1 - r^p)^(1/p), with r from 0 to 1 over the history without its noise-free end: continuous noise distillation
    (Vintix, arXiv 2501.19400). A discrete action is replaced by a random one with probability ε, as in AD^ε
    (arXiv 2312.12275).

    Attributes:
        power: p; above 1 the noise decays late, below 1 early.
        noise_free: share of the history at its end without noise.
        box: range of u for each joint: `demonstrator`: lowest to highest action of the policy in the calibration
            without noise; `limits`: all targets within the joint's range; `clip`: the bounds of the action.
    """

    power: float = 0.6
    noise_free: float = 0.05
    box: str = "demonstrator"

    def problems(self) -> list[str]:
        """Return the problems of the values, one line each."""
        lines = []
        if self.power <= 0:
            lines.append(f"noise.power={self.power:g}: expected more than 0.")
        if not 0 < self.noise_free < 1:
            lines.append(f"noise.noise_free={self.noise_free:g}: expected a share between 0 and 1.")
        if self.box not in BOXES:
            lines.append(f"noise.box={self.box}: {did_you_mean(self.box, BOXES)}")
        return lines


@dataclass
class CollectHistoriesCfg:
    """Record one learning history in each env.

    Attributes:
        mode: `noise`: the policy with decaying noise; `checkpoints`: the checkpoints of the trainings `runs` in order;
            `expert`: the policy without noise, for comparison only.
        episodes: length of each history in episodes; null if `steps` is set.
        steps: length of each history in steps; null if `episodes` is set.
        group: common name of tasks with the same observations and actions; null: the name of the task.
        reward_scale: factor applied to rewards in training; the file holds unscaled rewards.
        episode_sparsity: training reads every n-th episode.
        thin: every n-th checkpoint of a training is used, and the last one.
        noise: see `NoiseCfg`.
        domain_randomization: see `MassRangeCfg`.
        checkpoint_interval: steps between two checkpoints.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "runs", "estimator")
    LOADS_POLICY: ClassVar[bool] = True
    _target_: str = "regimen.stages.collect_histories.CollectHistories"
    mode: str = "noise"
    episodes: int | None = None
    steps: int | None = None
    group: str | None = None
    reward_scale: float = 1.0
    episode_sparsity: int = 1
    thin: int = 1
    noise: NoiseCfg = field(default_factory=NoiseCfg)
    domain_randomization: MassRangeCfg = field(default_factory=MassRangeCfg)
    checkpoint_interval: int = 512

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        lines = [f"mode={self.mode}: {did_you_mean(self.mode, MODES)}"] if self.mode not in MODES else []
        if (self.episodes is None) == (self.steps is None):
            lines.append(f"episodes={self.episodes}: expected either this or stage.steps={self.steps}, the other null.")
        counts = {name: getattr(self, name) for name in ("episodes", "steps", "episode_sparsity", "thin")}
        counts["checkpoint_interval"] = self.checkpoint_interval
        lines += [
            f"{name}={value}: expected 1 or more." for name, value in counts.items() if value is not None and value < 1
        ]
        if self.episodes == 0 or self.steps == 0:
            lines.append("episodes=0 or steps=0: expected 1 or more.")
        if self.reward_scale <= 0:
            lines.append(f"reward_scale={self.reward_scale:g}: expected more than 0.")
        return lines + self._inputs(config) + self.noise.problems() + self.domain_randomization.problems(config["env"])

    def _inputs(self, config: PlainConfig) -> list[str]:
        """Return a line if the inputs do not match the mode."""
        if self.mode == "checkpoints":
            if not config.get("runs"):
                return ["mode=checkpoints: needs trainings: runs=[<run reference>,…]."]
            return ["mode=checkpoints: reads runs=[…], not policy=. Take it away."] if config.get("policy") else []
        if config.get("runs"):
            return [f"mode={self.mode}: reads policy=, not runs=[…]. Take them away, or set stage.mode=checkpoints."]
        from regimen.config.static_types import class_variable

        solved = ((config["env"] or {}).get("low_level") or {}).get("goal")  # known of other tasks once they are open
        if config.get("policy") is None and class_variable(config["env"], "MANAGER_BASED") and not solved:
            return [f"mode={self.mode}: needs a policy: policy=<run reference>, <file> or pretrained:<name>."]
        return []

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the open chunks and of the rows that are sorted by env at the end."""
        from regimen.data.episodes.schema import chunk_steps
        from regimen.data.histories.file import BLOCK
        from regimen.data.histories.writer import ENVS_AT_ONCE

        rows = 2 * chunk_steps(num_envs) * num_envs + BLOCK * min(num_envs, ENVS_AT_ONCE)
        return 4 * rows * (observation + action + 6)
