"""A wrapper that appends a fault estimate to the observation: of an oracle, of a detector, or always healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from regimen.config.targets import resolve
from regimen.envs.fault_estimate.columns import SINCE_CLIP_S, affected_joints, class_difference, with_estimate
from regimen.envs.fault_estimate.oracle import Oracle
from regimen.envs.robots.robot import load as load_robot
from regimen.envs.robots.robot import match
from regimen.envs.vec_env import EnvWrapper
from regimen.system.errors import ConfigError, IOMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.config.schema import Config
    from regimen.envs.fault_estimate.estimator import Estimator
    from regimen.envs.vec_env import Obs, StepInfo, VecEnv
    from regimen.runs.checkpoint_header import StateDict


def robot_joints(config: Config, env: VecEnv) -> list[str]:
    """Return all joint names of the robot, in the order of labels and torques."""
    name = getattr(config.env, "robot", None)
    return list(load_robot(name).joints) if name else list(env.io.action.joints)


def fault_joints(config: Config, env: VecEnv) -> list[str]:
    """Return the joints that the events of `env.evaluation.faults` can affect."""
    return affected_joints(config.env, robot_joints(config, env))


SEED_OFFSET = 1_000_003
"""Separates the random numbers of the estimate from those of the environment, which has the same seed."""


class _EstimateSource(Protocol):
    def seed(self, seed: int) -> None: ...

    def update(self, obs: Obs, fault: torch.Tensor, begun: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...

    def state_dict(self) -> StateDict: ...

    def load_state_dict(self, state: StateDict) -> None: ...


class EstimatedEnv(EnvWrapper):
    """A `VecEnv` that appends a fault estimate to the group `policy` of another one.

    `fault_probability` (1 + C) are the probabilities of healthy and of each joint that can fail, those of an oracle
    being 0 and 1; `time_since_verdict` (1) is the age of the verdict of the decision rule, in units of `SINCE_CLIP_S`,
    0 while there is none. Probabilities are observed because they rise some steps before the verdict.

    A final observation has the estimate of the step before, one step older: the detector does not read it, because no
    action follows from it.
    """

    def __init__(
        self, env: VecEnv, joints: Sequence[str], numbered: Sequence[str], source: Oracle | Estimator, seed: int
    ) -> None:
        """Wrap `env`.

        Args:
            env: its labels name the fault: `fault_joint` (N,), -1 while healthy.
            joints: names of the C joints that can fail.
            numbered: all joints, in the order of the label.
            source: computes the estimate.
            seed: of the oracle's draws.

        Raises:
            IOMismatchError: if a detector has other classes.
        """
        self.env = self._inner = env
        self.num_envs, self.device = env.num_envs, env.device
        self.step_dt, self.max_episode_length = env.step_dt, env.max_episode_length
        self.io = with_estimate(env.io, list(joints))
        self._classes = _class_table(joints, numbered).to(self.device)
        self._source: _EstimateSource
        if isinstance(source, Oracle):
            self._source = _OracleEstimate(source, len(joints), env.step_dt)
        else:
            require_classes(source.classes, joints, "env.estimate.joints")
            self._source = _DetectorEstimate(source)
        self._source.seed(seed + SEED_OFFSET)
        self._healthy = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self._columns = torch.zeros(self.num_envs, len(joints) + 2, device=self.device)

    @classmethod
    def wrap(cls, env: VecEnv, config: Config, mode: str) -> EstimatedEnv:
        """Wrap `env` as `config.env.estimate` asks for.

        Raises:
            ConfigError: if `mode` is classifier and no estimator is named.
        """
        estimate, robot = config.env.estimate, load_robot(config.env.robot)
        joints = match(robot.joints, *estimate.joints)
        if mode != "classifier":
            source: Oracle | Estimator = Oracle(estimate, mode, len(joints), env.num_envs, env.step_dt, env.device)
        elif config.estimator is None:
            raise ConfigError("env.estimate.mode=classifier needs a detector: estimator=<run reference or file>.")
        else:
            source = _load_estimator(config.estimator, env, config)
        return cls(env, joints, robot.joints, source, config.seed)

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs. See `VecEnv.reset`."""
        if seed is not None:
            self._source.seed(seed + SEED_OFFSET)
        obs = self.env.reset(seed)
        everyone = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        return self._append_estimate(obs, self._healthy, everyone)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs. See `VecEnv.step`."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        begun = terminated | truncated
        final = _appended(info["final_obs"], self._aged_columns())
        return (
            self._append_estimate(obs, self._fault(info["labels"]) * ~begun, begun),
            reward,
            terminated,
            truncated,
            {**info, "final_obs": final},
        )

    def _fault(self, labels: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the true class (N,); a task whose fault event is switched off stays healthy."""
        joint = labels.get("fault_joint")
        return self._healthy if joint is None else self._classes[joint.long()]

    def _append_estimate(self, obs: Obs, fault: torch.Tensor, begun: torch.Tensor) -> Obs:
        probabilities, since = self._source.update(obs, fault, begun)
        self._columns = torch.cat((probabilities, (since / SINCE_CLIP_S).clamp_max(1.0)[:, None]), dim=1)
        return _appended(obs, self._columns)

    def _aged_columns(self) -> torch.Tensor:
        """Return the columns of the step before, with the age of the verdict one step higher."""
        age = self._columns[:, -1:]
        older = torch.where(age > 0, (age + self.step_dt / SINCE_CLIP_S).clamp_max(1.0), age)
        return torch.cat((self._columns[:, :-1], older), dim=1)

    def state_dict(self) -> StateDict:
        """Return the state of the environment and of the estimate, and the last columns."""
        return {"env": self.env.state_dict(), "estimate": self._source.state_dict(), "told": self._columns.clone()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.env.load_state_dict(state["env"])
        self._source.load_state_dict(state["estimate"])
        self._columns = state["told"].to(self.device, copy=True)


class _OracleEstimate:
    """The estimate of an oracle: probabilities of 0 and 1."""

    def __init__(self, oracle: Oracle, num_joints: int, step_dt: float) -> None:
        self.oracle, self.classes, self.step_dt = oracle, num_joints + 1, step_dt
        self.seed, self.state_dict, self.load_state_dict = oracle.seed, oracle.state_dict, oracle.load_state_dict

    def update(self, obs: Obs, fault: torch.Tensor, begun: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.oracle.update(fault, begun)
        sure = torch.nn.functional.one_hot(self.oracle.told, self.classes).float()
        return sure, self.oracle.steps * self.step_dt


class _DetectorEstimate:
    """The estimate of a detector, computed from observations; the true fault is not used."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.state_dict, self.load_state_dict = estimator.state_dict, estimator.load_state_dict

    def seed(self, seed: int) -> None:
        """Do nothing: a detector draws no random numbers."""

    def update(self, obs: Obs, fault: torch.Tensor, begun: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            estimate = self.estimator.update(obs, begun)
        return estimate.probabilities, estimate.since


def _appended(obs: Obs, columns: torch.Tensor) -> Obs:
    return {**obs, "policy": torch.cat((obs["policy"], columns), dim=1)}


def _class_table(joints: Sequence[str], numbered: Sequence[str]) -> torch.Tensor:
    """Return (J + 1,) class of each joint number: 0 for other joints, and for the last entry, which index -1 reads."""
    return torch.tensor([1 + joints.index(n) if n in joints else 0 for n in numbered] + [0])


def require_classes(classes: Sequence[str], joints: Sequence[str], keys: str) -> None:
    """Compare the classes of a detector with those of a task; the arguments are those of `class_difference`.

    Raises:
        IOMismatchError: they differ, in names or order.
    """
    if told := class_difference(classes, joints, keys):
        raise IOMismatchError(told)


def _load_estimator(path: str, env: VecEnv, config: Config) -> Estimator:
    from pathlib import Path

    from regimen.runs import checkpoint

    bundle = checkpoint.load(Path(path))
    estimator: Estimator = resolve(bundle["agent"]["_target_"]).load_estimator(bundle, env.io, env.device)
    return estimator
