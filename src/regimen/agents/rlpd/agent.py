"""RLPD with demonstrations and interventions, as HIL-SERL trains (Luo et al. 2024, arXiv 2410.21845), in one process.

Half of each minibatch are demonstrations. Steps in which the scripted expert intervened go into both buffers, those of
the policy into that of the training alone. What an episode of the training achieves is with help; `stage=evaluate`
judges the policy without.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.rlpd import demonstrations as demos
from regimen.agents.rlpd.config import RlpdCfg
from regimen.agents.rlpd.intervention import Intervener, Intervention
from regimen.agents.rlpd.learner import Learner
from regimen.agents.rlpd.networks import Perceptron
from regimen.agents.rlpd.policy import MeanAction, MeanPolicy, groups_read
from regimen.agents.training_session import free_bytes
from regimen.data.transition_buffer import TransitionBuffer, Transitions, buffer_bytes
from regimen.envs.vec_env import DemonstratedTask
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, did_you_mean
from regimen.system.seeding import seed_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from regimen.agents.training_session import TrainingSession
    from regimen.data.transition_buffer import Minibatches
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

DEMONSTRATION_SEED, INTERVENTION_SEED = 10_000_000, 20_000_000
"""Added to the seed of the run, so that demonstrations, interventions and training draw different numbers."""

COUNTED = ("return", "length", "intervention_count", "intervention_steps")
"""What is counted of each episode."""

DISCOUNTED = "discounted_return"
SCORED = 50
"""Episodes over which the score of a checkpoint is averaged."""

TURNS = 0.5
"""Absolute command of the gripper beyond which it counts as opened or closed."""


class Rlpd:
    """Learns by RLPD.

    Attributes:
        learner: networks and updates.
        groups: observation groups that it reads.
        online: buffer of all steps of the training.
        prior: buffer of demonstrations and interventions; both are allocated by `learn`.
    """

    online: TransitionBuffer
    prior: TransitionBuffer

    def __init__(self, cfg: RlpdCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> None:
        """Build the networks.

        Args:
            cfg: the `agent` group.
            io: names and sizes; actions must be bounded by 1.
            num_envs: N.
            device: of networks and buffers.
            seed: of weights and of everything drawn.

        Raises:
            ConfigError: an unknown group, an action whose bound is not 1, or a penalty without a gripper.
        """
        self.groups = groups_read(cfg.observations, io)
        for group in self.groups:
            if group not in io.observations:
                offered = did_you_mean(group, io.observations)
                raise ConfigError(f"agent.observations={group}: no such group of vectors. {offered}")
        if io.action.clip != 1.0:
            raise ConfigError(f"agent=rlpd acts within ±1, the task clips its actions at {io.action.clip}.")
        if cfg.gripper_penalty and "gripper" not in io.action.joints:
            raise ConfigError("agent.gripper_penalty: the task has no action `gripper`. Type agent.gripper_penalty=0.")
        self.cfg, self.io, self.num_envs, self.device, self.seed = cfg, io, num_envs, device, seed
        self.sizes = {group: io.size(group) for group in self.groups}
        seed_all(seed)
        self.learner = Learner(cfg, sum(self.sizes.values()), io.num_actions, device)
        self.penalty = GripperPenalty(cfg.gripper_penalty, io, num_envs)
        self.episodes = EpisodeStatistics(num_envs, cfg.gamma)
        self.intervener: Intervener | None = None
        self._data: Sequence[Path] = ()
        self._task: str | None = None
        self._seconds: dict[str, float] = {}

    @property
    def total_steps(self) -> int:
        """Env steps per env of the whole training."""
        return self.cfg.total_steps()

    def use_data(self, paths: Sequence[Path], task: str | None) -> None:
        """Take the demonstrations of `learn` from these files, in place of those of the task's scripted expert."""
        self._data, self._task = paths, task

    def learn(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Train until `total_steps`.

        Args:
            env: new, or restored if `resume` is given.
            session: receives every step and update.
            resume: the `training` part of a checkpoint, or None to begin.

        Raises:
            ConfigError: the task has no scripted expert, and one is needed.
            DatasetError: there is nothing to learn from in the demonstrations.
            PreflightError: the buffers do not fit into the free memory.
        """
        torch.set_num_threads(1)  # the products are small: a second thread makes them slower
        if self.cfg.interventions.enabled:
            task = _demonstrated(env, "interventions.enabled=false")
            expert = task.scripted_expert(self.cfg.interventions.noise, self.seed + INTERVENTION_SEED)
            self.intervener = Intervener(self.cfg.interventions, task, expert, self.num_envs)
        obs = self._begin(env, session) if resume is None else self._restore(resume)
        filling = len(self.online) < self.cfg.training_starts
        if filling:
            print(f"Filling up replay buffer: {self.cfg.training_starts} transitions", flush=True)
            session.run.progress(note="Filling up replay buffer")
        while session.steps_done < self.total_steps:
            obs = self._step(env, obs, session)
            if len(self.online) >= self.cfg.training_starts:
                with self._timed("train"):
                    self.learner.update(self.cfg.utd * self.num_envs, self._draw)
                if filling:
                    filling = False
                    session.run.progress(note=None)
            if session.steps_done % self.cfg.log_period == 0:
                losses = self._losses()
                session.end_iteration(losses, partial(self._checkpoint_state, obs), self.episodes.score())

    def _begin(self, env: VecEnv, session: TrainingSession) -> Obs:
        """Fill the buffer of demonstrations, and begin new episodes."""
        seed_all(self.seed)
        given = self._demonstrations(env, session)
        self._open_buffers(0 if given is None else len(given.transitions))
        if given is not None:
            self.prior.push(self.penalty.charged(given))
            count, steps = len(given.lengths), len(given.transitions)
            print(f"demo buffer size: {steps} transitions of {count} episodes", flush=True)
            if warning := demos.discount_warning(given.lengths, self.cfg.gamma):
                session.run.warn(warning)
        obs = env.reset(seed=self.seed)
        if self.num_envs > 1:
            env.stagger()
        return obs

    def _demonstrations(self, env: VecEnv, session: TrainingSession) -> demos.Demonstrations | None:
        if self._data:
            return demos.read(self._data, self.io, self.groups, self._task, getattr(env, "encoder", None))
        cfg = self.cfg.demonstrations
        if cfg.episodes == 0:
            return None
        seed = self.seed + DEMONSTRATION_SEED
        expert = _demonstrated(env, "demonstrations.episodes=0").scripted_expert(cfg.noise, seed)

        def on_step(found: int) -> None:
            session.run.progress(note=f"recording demonstrations: {found} of {cfg.episodes}")
            session.run.check_stop(0, lambda: None)

        return demos.record(env, expert, cfg.episodes, self.groups, seed, on_step)

    def _open_buffers(self, given: int) -> None:
        """Allocate the buffers; `given` demonstrations are never overwritten."""
        capacity = min(self.cfg.replay_buffer_capacity, self.total_steps * self.num_envs)
        width, count = sum(self.sizes.values()), self.io.num_actions
        needed, free = buffer_bytes(given + 2 * capacity, width, count), free_bytes(self.device)
        if needed > free:
            raise PreflightError(
                f"The buffers of {given} and twice {capacity} transitions take {needed / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free on {self.device}. Type "
                f"agent.replay_buffer_capacity={int(0.9 * capacity * free / needed)}."
            )
        self.online = TransitionBuffer(capacity, self.sizes, count, self.device)
        self.prior = TransitionBuffer(given + capacity, self.sizes, count, self.device)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[what] = self._seconds.get(what, 0.0) + time.perf_counter() - began

    def _step(self, env: VecEnv, obs: Obs, session: TrainingSession) -> Obs:
        """Step all envs and keep the transitions."""
        with self._timed("sample_actions"):
            chosen = self._choose(obs, session.steps_done)
        with self._timed("step_env"):
            outcome = env.step(chosen.action.to(env.device))
        following, reward, terminated, truncated, info = outcome
        session.step(reward, terminated, truncated, info)
        steps = demos.one_step(obs, chosen.action, outcome, self.groups, chosen.intervened)
        steps.reward = steps.reward - self.penalty.charge(chosen.action)
        self.online.push(steps)
        if chosen.intervened.any():
            self.prior.push(steps.select(chosen.intervened))
        ended = (terminated | truncated).cpu()
        self.episodes.add(reward, ended, chosen, info["labels"].get("success"))
        if ended.any():
            ids = ended.nonzero().squeeze(1)
            self.penalty.reset(ids)
            if self.intervener is not None:
                self.intervener.reset(ids)
        return following

    def _choose(self, obs: Obs, step: int) -> Intervention:
        """Return the action of the policy, or of the expert where it intervenes."""
        if step < self.cfg.random_steps:
            action = 2.0 * torch.rand(self.num_envs, self.io.num_actions) - 1.0
        else:
            action = self.learner.act(torch.cat([obs[group] for group in self.groups], dim=1).to(self.device)).cpu()
        if self.intervener is None:
            nowhere = torch.zeros(self.num_envs, dtype=torch.bool)
            return Intervention(action, nowhere, nowhere)
        return self.intervener.choose(action)

    def _draw(self, batches: int) -> Minibatches:
        """Return minibatches, half of demonstrations and interventions where there are any."""
        size = self.cfg.batch_size
        if not len(self.prior):
            return self.online.sample(batches, size)
        return self.online.sample(batches, size - size // 2).beside(self.prior.sample(batches, size // 2))

    def _losses(self) -> dict[str, float]:
        """Return the scalars of the last log period."""
        steps = self.cfg.log_period
        scalars = self.learner.measured() | self.episodes.means(steps)
        scalars |= {"buffer/online": float(len(self.online)), "buffer/demonstrations": float(len(self.prior))}
        scalars |= {f"timer/{what}": spent / steps for what, spent in self._seconds.items()}
        self._seconds = {}
        return scalars

    def policy_state(self) -> StateDict:
        """Return the actor."""
        return {"actor": self.learner.actor.values.detach(), "groups": self.groups}

    def load_policy_state(self, state: StateDict) -> None:
        """Initialise the actor by another run's policy, as saved by `policy_state`; critics are new.

        Raises:
            CheckpointError: it has other hidden layers or reads other groups.
        """
        values = self.learner.actor.values
        if list(state["groups"]) != self.groups or state["actor"].shape != values.shape:
            raise CheckpointError(
                f"policy=: its actor reads {list(state['groups'])} with {state['actor'].numel()} weights, this one "
                f"{self.groups} with {values.numel()}. Set agent.observations and agent.hidden as in its run."
            )
        with torch.no_grad():
            values.copy_(state["actor"])

    def _checkpoint_state(self, obs: Obs) -> PolicyBundle:
        parts: dict[str, Any] = {"learner": self.learner, "online": self.online, "prior": self.prior}
        parts |= {"penalty": self.penalty, "episodes": self.episodes}
        training = {name: part.state_dict() for name, part in parts.items()}
        training |= {"obs": {group: x.clone() for group, x in obs.items()}, "given": self.prior.capacity}
        training["intervener"] = None if self.intervener is None else self.intervener.state_dict()
        return {"policy": self.policy_state(), "training": training}

    def _restore(self, state: StateDict) -> Obs:
        self._open_buffers(state["given"] - min(self.cfg.replay_buffer_capacity, self.total_steps * self.num_envs))
        for part in ("learner", "online", "prior"):
            getattr(self, part).load_state_dict(state[part])
        if not state.get("restarted"):
            self.penalty.load_state_dict(state["penalty"])
            self.episodes.load_state_dict(state["episodes"])
            if self.intervener is not None:
                self.intervener.load_state_dict(state["intervener"])
        return {group: x.clone() for group, x in state["obs"].items()}

    def restart(self, state: StateDict, obs: Obs) -> StateDict:
        """Return the state of a checkpoint for envs that begin new episodes with `obs`."""
        return {**state, "obs": obs, "restarted": True}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> MeanPolicy:
        """Return the policy of a checkpoint, acting by the mean of its Gaussian."""
        groups, hidden = list(bundle["policy"]["groups"]), tuple(bundle["agent"]["hidden"])
        shape = Perceptron(sum(io.size(group) for group in groups), hidden, 2 * io.num_actions)
        return MeanPolicy(MeanAction(shape, bundle["policy"]["actor"], io.num_actions).to(device), groups)


def _demonstrated(env: VecEnv, without: str) -> DemonstratedTask:
    """Return the task below all wrappers.

    Args:
        env: the environment of the training.
        without: setting of the agent that needs no expert.

    Raises:
        ConfigError: the task has no scripted expert.
    """
    task = getattr(env, "env", env)
    if not isinstance(task, DemonstratedTask):
        raise ConfigError(f"The task has no scripted expert. Type agent.{without}.")
    return task


class GripperPenalty:
    """What the commands of the gripper cost: each one that turns it, see `RlpdCfg.gripper_penalty`."""

    def __init__(self, cost: float, io: IOSpec, num_envs: int) -> None:
        """Begin closed in N envs; `cost` 0 for a task without a gripper."""
        self.cost, self._io = cost, io
        self._opened = torch.zeros(num_envs, dtype=torch.bool)

    def charge(self, action: torch.Tensor) -> torch.Tensor:
        """Return the cost (N,) of actions (N, A)."""
        if not self.cost:
            return torch.zeros(len(action))
        command = action[:, self._io.action.joints.index("gripper")].cpu()
        opened = torch.where(command.abs() > TURNS, command > 0, self._opened)
        turned, self._opened = opened != self._opened, opened
        return self.cost * turned.float()

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin closed in the envs `env_ids` (n,)."""
        self._opened[env_ids] = False

    def charged(self, given: demos.Demonstrations) -> Transitions:
        """Return the transitions of demonstrations with these costs."""
        if not self.cost:
            return given.transitions
        each, costs = given.transitions.action.split(given.lengths), []
        for actions in each:
            along = GripperPenalty(self.cost, self._io, 1)
            costs += [along.charge(action[None]) for action in actions]
        every = torch.arange(len(given.transitions))
        charged = given.transitions.select(every)
        charged.reward = charged.reward - torch.cat(costs)
        return charged

    def state_dict(self) -> StateDict:
        """Return which grippers are open."""
        return {"opened": self._opened.clone()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._opened = state["opened"].clone()


class EpisodeStatistics:
    """Return, length, success and interventions of episodes, as means over those that ended in a log period."""

    def __init__(self, num_envs: int, gamma: float) -> None:
        """Begin episodes in N envs; `gamma` is the discount of a step."""
        self.gamma = gamma
        self._running = {name: torch.zeros(num_envs) for name in (*COUNTED, DISCOUNTED)}
        self._ended: dict[str, list[float]] = {}
        self._unaided: deque[float] = deque(maxlen=SCORED)
        self._intervened = 0.0

    def add(
        self, reward: torch.Tensor, ended: torch.Tensor, chosen: Intervention, success: torch.Tensor | None
    ) -> None:
        """Count one step: reward (N,), ended (N,) bool, the actions, and whether the step succeeded (N,), if known."""
        discount = self.gamma ** self._running["length"]
        added = {"return": reward.cpu(), "length": torch.ones(len(reward)), DISCOUNTED: discount * reward.cpu()}
        added |= {"intervention_count": chosen.began, "intervention_steps": chosen.intervened}
        for name, total in self._running.items():
            total += added[name]
        self._intervened += float(chosen.intervened.float().mean())
        if not ended.any():
            return
        values = {name: total[ended].tolist() for name, total in self._running.items()}
        alone = (self._running["intervention_steps"][ended] == 0).float()
        self._unaided.extend((alone * self._running[DISCOUNTED][ended]).tolist())
        if success is not None:
            values["success"] = success.cpu()[ended].float().tolist()
        for name, rows in values.items():
            self._ended.setdefault(name, []).extend(rows)
        for total in self._running.values():
            total[ended] = 0.0

    def score(self) -> float | None:
        """Return what the best checkpoint is chosen by, or None before the first episode ended.

        It is the mean discounted return of the last episodes, 0 for one with an intervention: with help the return is
        high from the beginning.
        """
        return sum(self._unaided) / len(self._unaided) if self._unaided else None

    def means(self, steps: int) -> dict[str, float]:
        """Return the means of the last `steps` env steps, and start over; without an episode only the share."""
        rows_of = {name: rows for name, rows in self._ended.items() if name != DISCOUNTED}
        means = {f"environment/episode/{name}": sum(rows) / len(rows) for name, rows in rows_of.items()}
        means["environment/intervention_share"] = self._intervened / steps
        self._ended, self._intervened = {}, 0.0
        return means

    def state_dict(self) -> StateDict:
        """Return the sums of the running episodes and the last scores; to be called after `means`."""
        return {name: total.clone() for name, total in self._running.items()} | {"unaided": list(self._unaided)}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._running = {name: state[name].clone() for name in self._running}
        self._unaided.extend(state["unaided"])
