"""PPO of skrl 2, its configuration in skrl's own keys, with the complete resume that skrl lacks.

skrl's Runner builds models, memory and agent from the `models`, `memory`, `agent` and `trainer` sections, so a
configuration made for it works as it is. The loop here is ours: it hands the observation before the automatic reset
to skrl where an episode was cut off, logs into the run, and saves everything that decides the future.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents import data_parallel
from regimen.agents.skrl_ppo import processes, setting_checks
from regimen.agents.skrl_ppo.config import CRITIC, RunnerSection, SkrlPpoCfg
from regimen.agents.skrl_ppo.policy import SkrlPolicy
from regimen.agents.training_session import require_finite
from regimen.envs.device_reads import read_is_free
from regimen.runs import checkpoint
from regimen.system.distributed import rank, world_size
from regimen.system.errors import ConfigError, raise_if_any
from regimen.system.seeding import own_seed, seed_all

if TYPE_CHECKING:
    from regimen.agents.training_session import TrainingSession
    from regimen.envs.vec_env import IOSpec, Obs, StepInfo, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict


class SkrlEnvStub:
    """The attributes of an environment that skrl's Runner reads when it is built."""

    def __init__(self, io: IOSpec, num_envs: int, device: torch.device, has_states: bool) -> None:
        import gymnasium
        import numpy as np

        def box(size: int, bound: float = np.inf) -> gymnasium.spaces.Box:
            return gymnasium.spaces.Box(-bound, bound, (size,), np.float32)

        clip = io.action.clip
        self.num_envs, self.device, self.num_agents = num_envs, device, 1
        self.observation_space = box(io.size())
        self.action_space = box(io.num_actions, np.inf if clip is None else clip)
        self.state_space = box(io.size(CRITIC)) if has_states else None


def sections_for(cfg: SkrlPpoCfg, io: IOSpec, device: torch.device, seed: int) -> RunnerSection:
    """Return the configuration of skrl's Runner: sizes filled in, logs and checkpoints off.

    Args:
        cfg: the `agent` group.
        io: sizes of observation and action.
        device: of the normalisers.
        seed: of torch, numpy and python.
    """
    sections = {k: copy.deepcopy(getattr(cfg, k)) for k in ("models", "memory", "agent", "trainer")}
    agent = sections["agent"]
    # The run directory replaces skrl's own logs and checkpoints.
    agent["experiment"] = {"write_interval": 0, "checkpoint_interval": 0}
    sizes = {"observation_preprocessor": io.size(), "value_preprocessor": 1}
    if cfg.reads_states():
        sizes["state_preprocessor"] = io.size(CRITIC)
    for name, size in sizes.items():
        if agent.get(name):
            given = agent.get(f"{name}_kwargs") or {}
            agent[f"{name}_kwargs"] = {**given, "size": size, "device": device}
    own = {"close_environment_at_exit": False, "disable_progressbar": True}
    sections["trainer"] = {"class": "SequentialTrainer", **sections["trainer"], **own}
    return {**sections, "seed": seed}


def build(cfg: SkrlPpoCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> Any:
    """Return skrl's PPO agent with models and memory. See `sections_for`; `num_envs` is N.

    Raises:
        ConfigError: a network reads `STATES`, and the task has no group for them; or actions are clipped that have no
            bound.
    """
    with processes.importable():
        from skrl import logger
        from skrl.utils.runner.torch import Runner

    if cfg.reads_states() and CRITIC not in io.observations:
        raise ConfigError(f"agent.models: STATES are the group `{CRITIC}`, which the task does not have.")
    if io.action.clip is None:
        raise_if_any([f"agent.{line}" for line in setting_checks.clip_problems(cfg.models)])
    logger.setLevel(logging.WARNING)
    return Runner(SkrlEnvStub(io, num_envs, device, cfg.reads_states()), sections_for(cfg, io, device, seed)).agent


class SkrlPpo:
    """Learns with skrl's PPO.

    Attributes:
        ppo: the skrl agent.
    """

    def __init__(self, cfg: SkrlPpoCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> None:
        """Build models and memory. See `build`."""
        self.cfg, self.io, self.device, self.seed = cfg, io, device, seed
        self.ppo = build(cfg, io, num_envs, device, seed)

    @property
    def total_steps(self) -> int:
        """Env steps per env of the whole training."""
        return self.cfg.total_steps()

    def learn(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Train until `total_steps`.

        Args:
            env: new, or restored if `resume` is given.
            session: receives every step and update.
            resume: the `training` part of a checkpoint, or None to begin.
        """
        ppo, total, threads = self.ppo, self.total_steps, torch.get_num_threads()
        ppo.enable_training_mode(True)
        processes.join(ppo)
        if resume is None:
            if world_size() > 1:
                seed_all(own_seed(self.seed))
            obs = env.reset(seed=own_seed(self.seed))
            env.stagger()
        else:
            obs = self._restore(resume)
        while session.steps_done < total:
            step = session.steps_done
            # Operations on some hundred rows are slower with several threads; the update is large enough.
            torch.set_num_threads(1)
            with torch.no_grad():
                seen, before = obs["policy"].to(self.device), obs
                action, _ = ppo.act(seen, self._states(before), timestep=step, timesteps=total)
                obs, reward, terminated, truncated, info = env.step(action.to(env.device))
                session.step(reward, terminated, truncated, info)
                self._record(before, action, reward, obs, terminated, truncated, info, step)
            torch.set_num_threads(threads)
            warming = session.iteration < self.cfg.value_warmup_iterations
            ppo.policy.requires_grad_(not warming)
            ppo.post_interaction(timestep=step, timesteps=total)
            if warming:
                self._hold_learning_rate()
            if session.steps_done % ppo.cfg.rollouts == 0:
                require_finite(ppo.policy.state_dict(), "policy")
                require_finite(ppo.value.state_dict(), "value network")
                data_parallel.share_curriculum(env)
                session.end_iteration(data_parallel.mean_scalars(self._losses()), partial(self._checkpoint_state, obs))

    def _states(self, obs: Obs) -> torch.Tensor | None:
        """Return what skrl calls states, (N, c): the group `critic` of the task, None where it has none."""
        return obs[CRITIC].to(self.device) if self.ppo.state_space is not None else None

    def _record(
        self,
        obs: Obs,
        action: torch.Tensor,
        reward: torch.Tensor,
        next_obs: Obs,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        info: StepInfo,
        step: int,
    ) -> None:
        """Store a transition; its successor is the observation before the automatic reset."""
        done, final = (terminated | truncated)[:, None], info["final_obs"]
        groups = ("policy",) if self.ppo.state_space is None else ("policy", CRITIC)
        successor = {group: torch.where(done, final[group], next_obs[group]) for group in groups}
        to = self.device
        cut, following, states = truncated[:, None].to(to), successor["policy"].to(to), self._states(successor)
        with self._bootstrap(None if final is next_obs else (following, states), cut):
            self.ppo.record_transition(
                observations=obs["policy"].to(to),
                states=self._states(obs),
                actions=action,
                rewards=reward[:, None].clone().to(to),
                next_observations=following,
                next_states=states,
                terminated=terminated[:, None].to(to),
                truncated=cut,
                infos=info,
                timestep=step,
                timesteps=self.total_steps,
            )

    @contextmanager
    def _bootstrap(
        self, following: tuple[torch.Tensor, torch.Tensor | None] | None, cut: torch.Tensor
    ) -> Iterator[None]:
        """On a GPU, add the value of cut episodes to the reward that the library records within.

        The library does the same, but asks the device first whether an episode was cut off, and waits for the answer.

        Args:
            following: observations and states (N, d) after the step; None where no episode ended.
            cut: (N, 1) bool.
        """
        ppo, cfg = self.ppo, self.ppo.cfg
        if read_is_free(self.device) or not cfg.time_limit_bootstrap:
            yield
            return
        shaper = cfg.rewards_shaper

        def shaped(rewards: torch.Tensor, timestep: int, timesteps: int) -> torch.Tensor:
            rewards = rewards if shaper is None else shaper(rewards, timestep, timesteps)
            if following is None:
                return rewards
            seen, states = ppo._observation_preprocessor(following[0]), ppo._state_preprocessor(following[1])
            values, _ = ppo.value.act({"observations": seen, "states": states}, role="value")
            return rewards + cfg.discount_factor * ppo._value_preprocessor(values, inverse=True) * cut

        cfg.time_limit_bootstrap, cfg.rewards_shaper = False, shaped
        try:
            yield
        finally:
            cfg.time_limit_bootstrap, cfg.rewards_shaper = True, shaper

    def _hold_learning_rate(self) -> None:
        """Reset the learning rate, which the scheduler raises while the policy is frozen."""
        for group in self.ppo.optimizer.param_groups:
            group["lr"] = self.ppo.cfg.learning_rate[0]
        if self.ppo.scheduler:
            self.ppo.scheduler._last_lr = [self.ppo.cfg.learning_rate[0]]

    def _losses(self) -> dict[str, float]:
        data = {k.replace(" / ", "/"): float(sum(v) / len(v)) for k, v in self.ppo.tracking_data.items() if v}
        self.ppo.tracking_data.clear()
        return data

    def policy_state(self) -> StateDict:
        """Return the policy network and the observation normaliser."""
        modules = self.ppo.checkpoint_modules
        keep = ("policy", "observation_preprocessor")
        return {k: modules[k].state_dict() for k in keep if k in modules}

    def load_policy_state(self, state: StateDict) -> None:
        """Initialise the policy by another run's, as saved by `policy_state`."""
        for name, tensors in state.items():
            self.ppo.checkpoint_modules[name].load_state_dict(tensors)

    def extend_observations(self, state: StateDict, columns: list[int]) -> StateDict:
        """Return a policy's state for an observation with more columns, which have no effect at first.

        New columns get weight 0, mean 0 and variance 1. The normaliser's count stays, so that
        known columns keep their scale; new columns should have values of about 1.

        Args:
            state: as saved by `policy_state`.
            columns: for each of the policy's columns, its place in this agent's observation.
        """
        size = self.io.size()
        modules = {name: self.ppo.checkpoint_modules[name].state_dict() for name in state}
        return {
            name: {key: _extended(key, value, modules[name][key], columns, size) for key, value in tensors.items()}
            for name, tensors in state.items()
        }

    def _checkpoint_state(self, obs: Obs) -> PolicyBundle:
        """Return the content of a checkpoint; of other ranks than 0 only their own part."""
        own: StateDict = {"obs": {k: v.clone() for k, v in obs.items()}}
        if rank() > 0:
            return {"training": own}
        modules, memory = self.ppo.checkpoint_modules, self.ppo.memory
        training = {
            "modules": {k: m.state_dict() for k, m in modules.items()},
            "scaler": self.ppo.scaler.state_dict(),
            "learning_rates": self.ppo.scheduler.get_last_lr() if self.ppo.scheduler else None,
            "memory": {"index": memory.memory_index, "filled": memory.filled, "rollout": self.ppo._rollout},
            **own,
        }
        return {"policy": self.policy_state(), "training": training}

    def _restore(self, state: StateDict) -> Obs:
        for name, tensors in state["modules"].items():
            self.ppo.checkpoint_modules[name].load_state_dict(tensors)
        self.ppo.scaler.load_state_dict(state["scaler"])
        if self.ppo.scheduler:
            self.ppo.scheduler._last_lr = state["learning_rates"]
        self.ppo.memory.memory_index = state["memory"]["index"]
        self.ppo.memory.filled = state["memory"]["filled"]
        self.ppo._rollout = state["memory"]["rollout"]
        return {k: v.clone() for k, v in state["obs"].items()}

    def restart(self, state: StateDict, obs: Obs) -> StateDict:
        """Return the state of a checkpoint for envs that begin new episodes with `obs`."""
        return {**state, "obs": obs}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> SkrlPolicy:
        """Return the policy of a checkpoint, acting by its mean action; global generators stay as they are."""
        cfg = SkrlPpoCfg(**bundle["agent"])
        with checkpoint.unchanged_rng():
            agent = cls(cfg, io, 1, device, seed=0)
        agent.load_policy_state(bundle["policy"])
        return SkrlPolicy(agent.ppo, io.action.clip if cfg.models["policy"].get("clip_mean_actions") else None)


def _extended(key: str, value: torch.Tensor, like: torch.Tensor, columns: list[int], size: int) -> torch.Tensor:
    """Return a tensor with its last dimension, one entry for each observed column, extended to `size`."""
    if value.shape == like.shape or like.dim() == 0 or like.shape[-1] != size:
        return value
    value_extended = torch.ones_like(like) if key.endswith("variance") else torch.zeros_like(like)
    value_extended[..., columns] = value
    return value_extended
