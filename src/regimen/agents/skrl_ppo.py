"""PPO of skrl 2, its configuration in skrl's own keys, with the complete resume that skrl lacks.

skrl's Runner builds models, memory and agent from the `models`, `memory`, `agent` and `trainer` sections, so a
configuration made for it works as it is. The loop here is ours: it hands the observation before the automatic reset
to skrl where an episode was cut off, logs into the run, and saves everything that decides the future.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from regimen.training import require_finite

if TYPE_CHECKING:
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv
    from regimen.training import TrainingSession


@dataclass
class SkrlPpoCfg:
    """The sections of a skrl Runner configuration.

    Attributes:
        models: networks of `policy` and `value`.
        memory: rollout storage; a size of -1 takes `agent.rollouts`.
        agent: hyperparameters of PPO.
        trainer: `timesteps` is the number of steps of each env.
    """

    _target_: str = "regimen.agents.skrl_ppo.SkrlPpo"
    models: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=lambda: {"class": "RandomMemory", "memory_size": -1})
    agent: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "library": ["skrl.agents.torch.ppo.ppo_cfg:PPO_CFG", "skrl.agents.torch.base:AgentCfg"],
            "extra": ["class", "rewards_shaper_scale"],
        },
    )
    trainer: dict[str, Any] = field(
        default_factory=dict,
        metadata={"library": ["skrl.trainers.torch.base:TrainerCfg"], "extra": ["class"]},
    )

    def total_steps(self) -> int:
        """Return the env steps per env of the whole training, a whole number of rollouts."""
        rollouts = int(self.agent["rollouts"])
        return max(1, int(self.trainer["timesteps"]) // rollouts) * rollouts

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return about what rollouts take: stored once, and once more while minibatches are drawn."""
        return 2 * 4 * int(self.agent.get("rollouts", 24)) * num_envs * (observation + action + 8)


class _Spaces:
    """What skrl's Runner reads from an environment before it steps it."""

    def __init__(self, io: IOSpec, num_envs: int, device: torch.device) -> None:
        import gymnasium
        import numpy as np

        def box(size: int) -> gymnasium.spaces.Box:
            return gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)

        self.num_envs, self.device, self.num_agents = num_envs, device, 1
        self.observation_space, self.state_space = box(io.size()), None
        self.action_space = box(io.num_actions)


def build(cfg: SkrlPpoCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> Any:
    """Return skrl's PPO agent with models and memory, nothing of it writing to disk.

    Args:
        cfg: the `agent` group.
        io: sizes of observation and action.
        num_envs: N.
        device: of models and memory.
        seed: of the initial weights; seeds torch, numpy and python.
    """
    logging.getLogger("skrl").setLevel(logging.WARNING)
    from skrl.utils.runner.torch import Runner

    sections = {k: copy.deepcopy(getattr(cfg, k)) for k in ("models", "memory", "agent", "trainer")}
    # The run directory replaces skrl's own logs and checkpoints.
    sections["agent"]["experiment"] = {"write_interval": 0, "checkpoint_interval": 0}
    for section in ("observation_preprocessor", "value_preprocessor"):
        if sections["agent"].get(section):
            size = io.size() if section.startswith("observation") else 1
            sections["agent"].setdefault(f"{section}_kwargs", None)
            kwargs = sections["agent"][f"{section}_kwargs"] or {}
            sections["agent"][f"{section}_kwargs"] = {**kwargs, "size": size, "device": device}
    trainer = {"class": "SequentialTrainer", **sections["trainer"]}
    trainer |= {"close_environment_at_exit": False, "disable_progressbar": True}
    runner = Runner(_Spaces(io, num_envs, device), {**sections, "trainer": trainer, "seed": seed})
    return runner.agent


class SkrlPpo:
    """Learns with skrl's PPO.

    Attributes:
        ppo: the skrl agent.
    """

    def __init__(self, cfg: SkrlPpoCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> None:
        """Build models and memory. See `build`."""
        self.cfg, self.io, self.device = cfg, io, device
        self.ppo = build(cfg, io, num_envs, device, seed)

    @property
    def total_steps(self) -> int:
        """Env steps per env of the whole training."""
        return self.cfg.total_steps()

    def learn(self, env: VecEnv, session: TrainingSession, resume: dict[str, Any] | None) -> None:
        """Train until `total_steps`.

        Args:
            env: already restored if `resume` is given.
            session: told of every step and update.
            resume: the `training` part of a checkpoint, or None to begin.
        """
        ppo, total = self.ppo, self.total_steps
        ppo.enable_training_mode(True)
        obs = env.reset() if resume is None else self._restore(resume)
        while session.steps_done < total:
            step = session.steps_done
            with torch.no_grad():
                policy_obs = obs["policy"]
                action, _ = ppo.act(policy_obs, None, timestep=step, timesteps=total)
                obs, reward, terminated, truncated, info = env.step(action)
                session.step(reward, terminated, truncated, info)
                self._record(policy_obs, action, reward, obs, terminated, truncated, info, step)
            ppo.post_interaction(timestep=step, timesteps=total)
            if session.steps_done % ppo.cfg.rollouts == 0:
                require_finite(ppo.policy.state_dict(), "policy")
                require_finite(ppo.value.state_dict(), "value network")
                current = obs
                session.end_iteration(self._losses(), lambda: self._bundle(env, session, current))

    def _record(
        self, obs: torch.Tensor, action: torch.Tensor, reward: torch.Tensor, next_obs: Obs, terminated: torch.Tensor,
        truncated: torch.Tensor, info: dict[str, Any], step: int,
    ) -> None:
        """Store a transition whose successor is the observation before the automatic reset."""
        done = (terminated | truncated)[:, None]
        successor = torch.where(done, info["final_obs"]["policy"], next_obs["policy"])
        self.ppo.record_transition(
            observations=obs, states=None, actions=action, rewards=reward[:, None].clone(),
            next_observations=successor, next_states=None, terminated=terminated[:, None],
            truncated=truncated[:, None], infos=info, timestep=step, timesteps=self.total_steps,
        )

    def _losses(self) -> dict[str, float]:
        data = {k.replace(" / ", "/"): float(sum(v) / len(v)) for k, v in self.ppo.tracking_data.items() if v}
        self.ppo.tracking_data.clear()
        return data

    def policy_state(self) -> dict[str, Any]:
        """Return what acting needs: the policy network and the observation normaliser."""
        modules = self.ppo.checkpoint_modules
        keep = ("policy", "observation_preprocessor")
        return {k: modules[k].state_dict() for k in keep if k in modules}

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """Start from the weights of another run's policy, as saved by `policy_state`."""
        for name, tensors in state.items():
            self.ppo.checkpoint_modules[name].load_state_dict(tensors)

    def _bundle(self, env: VecEnv, session: TrainingSession, obs: Obs) -> dict[str, Any]:
        from regimen.checkpoint import rng_state

        modules, memory = self.ppo.checkpoint_modules, self.ppo.memory
        training = {
            "modules": {k: m.state_dict() for k, m in modules.items()},
            "scaler": self.ppo.scaler.state_dict(),
            "scheduler": getattr(self.ppo.scheduler, "_last_lr", None) if self.ppo.scheduler else None,
            "memory": {"index": memory.memory_index, "filled": memory.filled, "rollout": self.ppo._rollout},
            "rng": rng_state(),
            "env": env.state_dict(),
            "obs": {k: v.clone() for k, v in obs.items()},
            "session": session.state_dict(),
        }
        return {"policy": self.policy_state(), "training": training}

    def _restore(self, state: dict[str, Any]) -> Obs:
        from regimen.checkpoint import set_rng_state

        for name, tensors in state["modules"].items():
            self.ppo.checkpoint_modules[name].load_state_dict(tensors)
        self.ppo.scaler.load_state_dict(state["scaler"])
        if self.ppo.scheduler and state["scheduler"] is not None:
            self.ppo.scheduler._last_lr = state["scheduler"]
        self.ppo.memory.memory_index = state["memory"]["index"]
        self.ppo.memory.filled = state["memory"]["filled"]
        self.ppo._rollout = state["memory"]["rollout"]
        set_rng_state(state["rng"])
        return {k: v.clone() for k, v in state["obs"].items()}

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> SkrlPolicy:
        """Return the policy of a checkpoint, acting by its mean action."""
        cfg = SkrlPpoCfg(**bundle["agent"])
        agent = cls(cfg, io, 1, device, seed=0)
        agent.load_policy_state(bundle["policy"])
        return SkrlPolicy(agent.ppo)


class SkrlPolicy:
    """The mean action of a trained policy, without memory."""

    def __init__(self, ppo: Any) -> None:
        """Take the networks of a skrl agent."""
        self.ppo = ppo
        ppo.enable_training_mode(False, apply_to_models=True)

    @torch.no_grad()
    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the mean action (N, A) for `obs["policy"]` (N, d)."""
        inputs = {"observations": self.ppo._observation_preprocessor(obs["policy"]), "states": None}
        _, outputs = self.ppo.policy.act(inputs, role="policy")
        return outputs["mean_actions"], None

    def reset(self, env_ids: torch.Tensor) -> None:
        """Nothing to forget."""
