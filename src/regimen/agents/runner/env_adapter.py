"""A `VecEnv` as the vectorised environment of rl_games."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from regimen.agents.runner import library

library.load()

from rl_games.common.ivecenv import IVecEnv  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from regimen.envs.vec_env import IOSpec, Obs, StepInfo, VecEnv

    EnvInfo = dict[str, Any]
    AgentObs = dict[str, torch.Tensor]


class StepRecorder(Protocol):
    """Receives every env step."""

    def step(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo) -> None:
        """Record reward, terminated, truncated (N,) and the env's info."""
        ...


class EnvAdapter(IVecEnv):
    """Steps a `VecEnv` for an rl_games agent or player.

    Actions of agents are within ±1 or unbounded; `bounds` scales them to those of the env. With discrete actions the
    agent gives numbers of choices, the env gets one-hot rows.

    Attributes:
        bounds: largest action of each joint (A,), or None where the action of the agent is that of the env.
        value: values (N, 1) of observations; where it is set, `bonus` is computed.
        bonus: discounted value (N, 1) of the last observation of episodes that the last step cut off, else None.
        final_obs: observations after the last step, before the automatic reset.
        groups: observations after the last step, by group of the env.
        ended: (N,) episodes that ended in the last step.
        seen_ends: where it is set, it gives the ends (N,) of the last step that the agent sees; otherwise it sees all.
    """

    def __init__(self, io: IOSpec, num_envs: int, device: torch.device, bounds: torch.Tensor | None = None) -> None:
        """Describe an env that `attach` provides later.

        Args:
            io: observations and actions.
            num_envs: N.
            device: of the agent.
            bounds: see the class.
        """
        self.io, self.num_envs, self.device, self.bounds = io, num_envs, device, bounds
        self.value: Callable[[AgentObs], torch.Tensor] | None = None
        self.gamma = 0.0
        self.seen_ends: Callable[[], torch.Tensor] | None = None
        self.bonus: torch.Tensor | None = None
        self.groups: Obs = {}
        self.final_obs: Obs = {}
        self.ended = torch.zeros(num_envs, dtype=torch.bool, device=device)
        self._first: Obs | None = None

    def attach(self, env: VecEnv, recorder: StepRecorder, first: Obs | None, seed: int, stagger: bool = True) -> None:
        """Connect the environment.

        Args:
            env: the environment.
            recorder: receives each step.
            first: observations of a resumed training, which the first `reset` returns in place of a reset.
            seed: of the first reset.
            stagger: whether episodes begin at random times.
        """
        self.env, self.recorder, self._first, self._stagger = env, recorder, first, stagger
        self._seed: int | None = seed

    def get_env_info(self) -> EnvInfo:
        """Return the spaces under the library's names, and `group_sizes`: observation group -> number of values.

        `state_space` is that of the group `critic`, if there is one.
        """
        from gymnasium.spaces import Box, Discrete

        def box(size: int, bound: float) -> Box:
            return Box(-bound, bound, (size,), np.float32)

        actions = self.io.num_actions
        info: EnvInfo = {"observation_space": box(self.io.size(), float("inf")), "agents": 1, "value_size": 1}
        info["group_sizes"] = {group: self.io.size(group) for group in self.io.observations}
        info["action_space"] = Discrete(actions) if self.io.action.discrete else box(actions, 1.0)
        info["state_space"] = box(self.io.size("critic"), float("inf")) if "critic" in self.io.observations else None
        return info

    def reset(self) -> AgentObs:
        """Return the first observations, in a resumed training those of its checkpoint."""
        if self._first is not None:
            obs, self._first = self._first, None
        elif self._seed is not None:
            obs, self._seed = self.env.reset(seed=self._seed), None
            if self._stagger:
                self.env.stagger()
        else:
            obs = self.env.reset()
        self.groups = self._moved(obs)
        # A resumed agent restores its observation in place, which must not be that of the env.
        return {name: value.clone() for name, value in self.agent_obs(self.groups).items()}

    def step(self, actions: torch.Tensor) -> tuple[AgentObs, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Step by actions (N, A), of discrete ones (N,); return observations, rewards (N,), ends (N,) bool and infos.

        `infos` has `time_outs` (N,) where the agent is to handle them itself, `terminate` (N,), and the observations
        before the automatic reset by group as `final_obs`.
        """
        obs, reward, terminated, truncated, info = self.env.step(self._env_action(actions.detach()))
        self.recorder.step(reward, terminated, truncated, info)
        self.groups, self.final_obs = self._moved(obs), self._moved(info["final_obs"])
        cut = (truncated & ~terminated).to(self.device)
        self.ended = (terminated | truncated).to(self.device)
        infos = {"terminate": terminated.to(self.device), "final_obs": self.final_obs}
        self.bonus = None
        if self.value is None:
            infos["time_outs"] = cut
        elif cut.any():
            successor = {k: v.nan_to_num() for k, v in self.agent_obs(self.final_obs).items()}
            self.bonus = self.gamma * cut[:, None] * self.value(successor)
        ends = self.ended if self.seen_ends is None else self.seen_ends().to(self.device)
        return self.agent_obs(self.groups), reward.to(self.device), ends, infos

    def agent_obs(self, groups: Obs) -> AgentObs:
        """Return the observations under the library's names: `obs` (N, d), and `states` of the group `critic`."""
        obs = {"obs": groups["policy"]}
        return obs | {"states": groups["critic"]} if "critic" in groups else obs

    def _env_action(self, actions: torch.Tensor) -> torch.Tensor:
        if self.io.action.discrete:
            actions = torch.nn.functional.one_hot(actions.long().reshape(self.num_envs), self.io.num_actions)
        elif self.bounds is not None:
            actions = actions * self.bounds
        return actions.to(self.env.device, torch.float32).reshape(self.num_envs, self.io.num_actions)

    def _moved(self, obs: Obs) -> Obs:
        return {group: value.to(self.device) for group, value in obs.items()}
