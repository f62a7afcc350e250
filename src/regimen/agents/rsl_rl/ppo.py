"""PPO of rsl_rl 5, configured by the library's runner keys, with a complete resume.

Models, storage, algorithm, acting and updates are the library's. The loop of its runner is replaced: it bootstraps from
the observation before the automatic reset where an episode was truncated, logs into the run, and saves the full state.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.utils import check_nan

from regimen.agents import data_parallel
from regimen.agents.rsl_rl.build import as_tensordict, build, build_actor, groups_of
from regimen.agents.rsl_rl.config import RslRlPpoCfg
from regimen.agents.rsl_rl.policy import RslRlPolicy, extended, load_actor
from regimen.agents.training_session import require_finite
from regimen.envs.device_reads import read_is_free
from regimen.system.distributed import rank, world_size
from regimen.system.errors import DivergedError
from regimen.system.seeding import own_seed, seed_all

if TYPE_CHECKING:
    from regimen.agents.training_session import TrainingSession
    from regimen.envs.vec_env import IOSpec, Obs, StepInfo, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict


class RslRlPpo:
    """Learns with rsl_rl's PPO.

    Attributes:
        ppo: the library's algorithm.
    """

    def __init__(self, cfg: RslRlPpoCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> None:
        """Build models and storage. See `regimen.agents.rsl_rl.build.build`."""
        self.cfg, self.io, self.device, self.seed = cfg, io, device, seed
        self.ppo = build(cfg, io, num_envs, device, seed)
        self._to_tensordict = partial(as_tensordict, groups=groups_of(cfg), device=device)
        self._trainable = [p for p in self.ppo.get_policy().parameters() if p.requires_grad]

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

        Raises:
            DivergedError: naming what is not finite.
        """
        threads = torch.get_num_threads()
        self.ppo.train_mode()
        if resume is None:
            if world_size() > 1:
                self.ppo.broadcast_parameters()
                seed_all(own_seed(self.seed))
            obs = env.reset(seed=own_seed(self.seed))
            env.stagger()
        else:
            obs = self._restore(resume)
        while session.steps_done < self.total_steps:
            # Operations on some hundred rows are slower with several threads; the update is large enough.
            torch.set_num_threads(1)
            with torch.no_grad():
                obs = self._rollout(env, session, obs)
            torch.set_num_threads(threads)
            for parameter in self._trainable:
                parameter.requires_grad_(session.iteration >= self.cfg.value_warmup_iterations)
            losses = data_parallel.mean_scalars(self._update())
            data_parallel.share_curriculum(env)
            session.end_iteration(losses, partial(self._checkpoint_state, obs))

    def _rollout(self, env: VecEnv, session: TrainingSession, obs: Obs) -> Obs:
        """Fill the storage; return the observations (N, d) of each group that the next rollout begins with."""
        for _ in range(self.cfg.num_steps_per_env):
            action = self.ppo.act(self._to_tensordict(obs))
            obs, reward, terminated, truncated, info = env.step(action.to(env.device))
            session.step(reward, terminated, truncated, info)
            self._record(obs, reward, terminated, truncated, info)
        self.ppo.compute_returns(self._to_tensordict(obs))
        if world_size() > 1 and type(self.ppo).compute_returns is PPO.compute_returns:
            # The library standardises the advantages of each process by themselves
            storage = self.ppo.storage
            storage.advantages = data_parallel.standardised(storage.returns - storage.values)
        return obs

    def _record(
        self, obs: Obs, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo
    ) -> None:
        """Store a transition; where an episode was cut off, the value of its last observation is added to the reward.

        The library's own way, `time_outs`, adds the value of the observation before the step instead.
        """
        observed, reward, done = (
            self._to_tensordict(obs),
            reward.to(self.device),
            (terminated | truncated).to(self.device),
        )
        if self.cfg.check_for_nan and read_is_free(self.device):
            try:
                check_nan(observed, reward, done)
            except ValueError as error:
                raise DivergedError(str(error)) from error
        cut = (truncated & ~terminated).to(self.device)
        # On a GPU the question would wait for the device; the values of a step without cut episodes count 0.
        if info["final_obs"] is not obs and (not read_is_free(self.device) or bool(cut.any())):
            reward = reward + self.ppo.gamma * cut * self._value(self._to_tensordict(info["final_obs"]))
        self.ppo.process_env_step(observed, reward, done, {})

    def _value(self, observed: Any) -> torch.Tensor:
        """Return the value (N,) of observations, without changing the state of a recurrent critic."""
        memory = self.ppo.critic.get_hidden_state()
        value: torch.Tensor = self.ppo.critic(observed).squeeze(1)
        self.ppo.critic.reset(hidden_state=memory)
        return value

    def _update(self) -> dict[str, float]:
        """Update from the storage; return the scalars under the names of the library's logger."""
        try:
            losses = self.ppo.update()
        except RuntimeError:  # from drawing with a standard deviation that is not a number
            self._require_finite()
            raise
        self._require_finite()
        named = {f"Loss/{name}": float(value) for name, value in losses.items()}
        std = float(self.ppo.get_policy().output_std.detach().mean())
        return named | {"Loss/learning_rate": self.ppo.learning_rate, "Policy/mean_std": std}

    def _require_finite(self) -> None:
        require_finite(self.ppo.get_policy().state_dict(), "actor")
        require_finite(self.ppo._raw_critic.state_dict(), "critic")

    def policy_state(self) -> StateDict:
        """Return the actor with its normaliser."""
        return {"actor": self.ppo.get_policy().state_dict()}

    def load_policy_state(self, state: StateDict) -> None:
        """Initialise the actor by another run's policy, as saved by `policy_state`.

        Raises:
            CheckpointError: it is of another architecture or of another agent.
        """
        load_actor(self.ppo.get_policy(), state)

    def extend_observations(self, state: StateDict, columns: list[int]) -> StateDict:
        """Return a policy's state for this agent's observations; see `regimen.agents.rsl_rl.policy.extended`.

        Args:
            state: as saved by `policy_state`.
            columns: for each of the policy's columns, its place in this agent's observation.
        """
        return {"actor": extended(state["actor"], self.policy_state()["actor"], columns)}

    def _checkpoint_state(self, obs: Obs) -> PolicyBundle:
        """Return the content of a checkpoint; of other ranks than 0 only their own part."""
        rnd = self.ppo.rnd
        own: StateDict = {
            "memory": [self.ppo.actor.get_hidden_state(), self.ppo.critic.get_hidden_state()],
            # State of random network distillation outside of its state_dict
            "curiosity": None if rnd is None else {"updates": rnd.update_counter, "average": _average(rnd)},
            "obs": {k: v.clone() for k, v in obs.items()},
        }
        if rank() > 0:
            return {"training": own}
        return {"policy": self.policy_state(), "training": {"algorithm": self.ppo.save(), **own}}

    def _restore(self, state: StateDict) -> Obs:
        self.ppo.load(state["algorithm"], None, strict=True)
        for model, memory in zip((self.ppo.actor, self.ppo.critic), state["memory"], strict=True):
            model.reset(hidden_state=_on(memory, self.device))
        if state["curiosity"] is not None:
            self.ppo.rnd.update_counter = state["curiosity"]["updates"]
            if state["curiosity"]["average"] is not None:
                self.ppo.rnd.reward_normalizer.disc_avg.avg = state["curiosity"]["average"].to(self.device)
        return {k: v.clone() for k, v in state["obs"].items()}

    def restart(self, state: StateDict, obs: Obs) -> StateDict:
        """Return the state of a checkpoint for envs that begin new episodes with `obs`; recurrent states are zero."""
        return {**state, "obs": obs, "memory": [None, None]}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> RslRlPolicy:
        """Return the policy of a checkpoint, acting by its mean action."""
        cfg = RslRlPpoCfg(**bundle["agent"])
        actor = build_actor(cfg, io, device)
        load_actor(actor, bundle["policy"])
        return RslRlPolicy(actor, cfg.obs_groups["actor"])


def _average(rnd: Any) -> torch.Tensor | None:
    """Return the discounted average (N,) by which intrinsic rewards are normalised, None where they are not."""
    average = getattr(rnd.reward_normalizer, "disc_avg", None)
    return None if average is None else average.avg


def _on(memory: Any, device: torch.device) -> Any:
    """Return a recurrent state, None, a tensor or a pair of these, on a device."""
    if memory is None:
        return None
    return tuple(part.to(device) for part in memory) if isinstance(memory, tuple) else memory.to(device)
