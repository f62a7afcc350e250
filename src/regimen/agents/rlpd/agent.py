"""RLPD with demonstrations and interventions, as HIL-SERL trains (Luo et al. 2024, arXiv 2410.21845), in one process.

Half of each minibatch are demonstrations. Steps in which the scripted expert or a human intervened go into both
buffers, those of the policy into that of the training alone. What an episode of the training achieves is with help;
`stage=evaluate` judges the policy without.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regimen.agents.rlpd import demonstrations as demos
from regimen.agents.rlpd.config import HUMAN, PixelsCfg, RlpdCfg
from regimen.agents.rlpd.episode_statistics import EpisodeStatistics
from regimen.agents.rlpd.gripper_penalty import GripperPenalty
from regimen.agents.rlpd.intervention import HumanIntervener, Intervener, Intervention, ScriptedIntervener
from regimen.agents.rlpd.learner import Learner
from regimen.agents.rlpd.networks import Perceptron
from regimen.agents.rlpd.pixels import PixelAction, PixelEncoder, PixelLearner, TimeEstimate
from regimen.agents.rlpd.policy import ImagePolicy, MeanAction, MeanPolicy, groups_read
from regimen.agents.rlpd.rows import row_spec, rows_of, transitions_of
from regimen.agents.training_session import free_bytes
from regimen.data.episodes.lengths import discount_problem
from regimen.data.frame_store import FrameStore, frame_bytes, frames_bytes
from regimen.data.transition_buffer import TransitionBuffer, Transitions, buffer_bytes
from regimen.envs.controls.human import HumanControls
from regimen.envs.encoded_images.description import EncoderDescription
from regimen.envs.vec_env import DemonstratedTask, task_below
from regimen.system import wire
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, did_you_mean
from regimen.system.seeding import seed_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from regimen.agents.actor_learner.actor_session import ActorSession
    from regimen.agents.actor_learner.channel import RowSpec
    from regimen.agents.actor_learner.learner_session import LearnerSession
    from regimen.agents.training_session import TrainingSession
    from regimen.data.transition_buffer import Minibatches
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

DEMONSTRATION_SEED, INTERVENTION_SEED = 10_000_000, 20_000_000
"""Added to the seed of the run, so that demonstrations, interventions and training draw different numbers."""

CHANNELS = 3
"""Of a picture that the encoder reads."""

ROWS_AT_ONCE = 16
"""Rows of actors that are learned from between two publications of the weights, at most."""

PUSHED_AT_ONCE = 1000
"""Demonstrations that go into the buffer at once: it copies their pictures on the way."""

CLOSED = "window_closed"
"""Report of an actor whose window was closed."""

WINDOW_CLOSED = "the window was closed: no human intervenes from here on"
HUMAN_RESUMED = "resumed with interventions of a human: the result is not that of an uninterrupted run, bit for bit"


class Rlpd:
    """Learns by RLPD.

    Attributes:
        learner: networks and updates.
        groups: observation groups of vectors that it reads.
        images: images that it reads, camera -> [H, W, C].
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
            ConfigError: an unknown group or image, an action whose bound is not 1, or a penalty without a gripper.
        """
        self.groups = groups_read(cfg.observations, io)
        for group in self.groups:
            if group not in io.observations:
                offered = did_you_mean(group, io.observations)
                raise ConfigError(f"agent.observations={group}: no such group of vectors. {offered}")
        self.images = _images_read(cfg.images or [], io)
        if io.action.clip != 1.0:
            raise ConfigError(f"agent=rlpd acts within ±1, the task clips its actions at {io.action.clip}.")
        if cfg.gripper_penalty and "gripper" not in io.action.joints:
            raise ConfigError("agent.gripper_penalty: the task has no action `gripper`. Type agent.gripper_penalty=0.")
        self.cfg, self.io, self.num_envs, self.device, self.seed = cfg, io, num_envs, device, seed
        self.sizes = {group: io.size(group) for group in self.groups}
        seed_all(seed)
        width = sum(self.sizes.values())
        self.learner = (
            PixelLearner(cfg, width, self.images, io.num_actions, device, seed)
            if self.images
            else Learner(cfg, width, io.num_actions, device)
        )
        self.penalty = GripperPenalty(cfg.gripper_penalty, io, num_envs)
        self.episodes = EpisodeStatistics(num_envs, cfg.gamma)
        self.intervener: Intervener | None = None
        self._data: Sequence[Path] = ()
        self._task: str | None = None
        self._seconds: dict[str, float] = {}
        self._timers_of_actors: dict[str, float] = {}
        self._frames = FrameStore(self.images) if self.images else None
        self._estimate = TimeEstimate(device) if self.images else None

    @property
    def total_steps(self) -> int:
        """Env steps per env of the whole training."""
        return self.cfg.total_steps()

    def use_data(self, paths: Sequence[Path], task: str | None) -> None:
        """Take the demonstrations of `learn` from these files, in place of those of the task's scripted expert."""
        self._data, self._task = paths, task

    def use_encoder(self, bundle: PolicyBundle) -> None:
        """Begin with the networks of a trained image encoder.

        Raises:
            CheckpointError: it is of something else, or does not fit `agent.images` and `agent.pixels`.
        """
        description = EncoderDescription.of(bundle)
        if lines := description.misfits(self.images, None):
            raise CheckpointError("encoder= does not fit agent.images:\n  " + "\n  ".join(lines))
        assert isinstance(self.learner, PixelLearner)
        self.learner.begin_from(bundle["encoder"]["network"], part="cameras.")

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
        self._set_threads()
        with self._intervening(env, lambda: session.run.warn(WINDOW_CLOSED)):
            if resume is not None and self._human_intervenes:
                session.run.warn(HUMAN_RESUMED)
            obs = self._begin(env, session) if resume is None else self._restore(resume)
            filling = self._announce_filling(session)
            while session.steps_done < self.total_steps:
                obs, steps = self._step(env, obs, session, session.steps_done)
                self._keep(steps)
                if len(self.online) >= self.cfg.training_starts:
                    with self._timed("train"):
                        self.learner.update(self.cfg.utd * self.num_envs, self._draw)
                    self._tell_time(session.steps_done)
                    if filling:
                        filling = False
                        session.run.progress(note=None)
                if session.steps_done % self.cfg.log_period == 0:
                    losses = self._losses(session)
                    session.end_iteration(losses, partial(self._checkpoint_state, obs), self.episodes.score())

    def prepare(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Get ready to learn from actors: demonstrations and buffers, or those of a checkpoint.

        Args:
            env: where the scripted expert demonstrates; not used afterwards.
            session: receives progress and warnings.
            resume: the `training` part of a checkpoint of `learn_from`, or None to begin.

        Raises:
            ConfigError, DatasetError, PreflightError: see `learn`.
        """
        self._set_threads()
        if resume is None:
            self._fill_prior(env, session)
        else:
            self._restore_learner(resume)

    def row_spec(self) -> RowSpec:
        """Return the columns of a row that an actor sends."""
        return row_spec(self.sizes, self.io.num_actions, self.images)

    def learn_from(self, actors: LearnerSession) -> None:
        """Train on the rows of actors until `total_steps`, with `utd` updates for each of them as in `learn`.

        Args:
            actors: rows arrive there, and weights are published there.
        """
        session, envs = actors.training, self.num_envs
        filling = self._announce_filling(session)
        period = self.cfg.log_period * envs
        self._publish(actors)
        while self.online.next_id < self.total_steps * envs:
            left = period - self.online.next_id % period
            with self._timed("wait_for_rows"):
                parcels = actors.take(min(left, ROWS_AT_ONCE), lambda: session.save(self._learner_state()))
            for parcel in parcels:
                steps = transitions_of(parcel.rows)
                self._keep(steps)
                self.episodes.add_interventions(steps.intervened)
                due = min(len(steps), self.online.next_id - self.cfg.training_starts + 1)
                if due > 0:
                    with self._timed("train"):
                        self.learner.update(self.cfg.utd * due, self._draw)
                    self._tell_time(self.online.next_id // envs)
                    if filling:
                        filling = False
                        session.run.progress(note=None)
            self._publish(actors)
            session.receive_steps(self.online.next_id // envs)
            for values in actors.reports():
                self._receive(values, session)
            if self.online.next_id % period == 0:
                losses = self._losses(session) | self._timers_of_actors
                session.end_iteration(losses, self._learner_state, self.episodes.score())

    def act(self, env: VecEnv, session: ActorSession) -> None:
        """Act for a learner elsewhere, with its newest weights, until the session ends.

        Args:
            env: new.
            session: to the learner.
        """
        self._set_threads()
        with self._intervening(env, lambda: session.report({CLOSED: 1.0})):
            weights = session.first_weights()
            if weights is None:
                return
            done = self._take_weights(weights)
            obs = env.reset(seed=self.seed)
            if self.num_envs > 1:
                env.stagger()
            while session.running:
                obs, steps = self._step(env, obs, session, done)
                for episode in self.episodes.take():
                    session.report(episode)
                if session.steps % self.cfg.log_period == 0:
                    spent = {f"timer/{what}": spent / self.cfg.log_period for what, spent in self._seconds.items()}
                    session.report(spent)
                    self._seconds = {}
                weights = session.send(rows_of(steps))
                if weights is not None:
                    done = self._take_weights(weights)

    def _publish(self, actors: LearnerSession) -> None:
        values = {name: x.cpu().numpy().copy() for name, x in self.learner.acting_weights().items()}
        actors.publish({**values, "steps_done": self.online.next_id // self.num_envs})

    def _take_weights(self, weights: wire.Message) -> int:
        """Act with these weights from now on; return the env steps per env that the learner has."""
        with torch.no_grad():
            for name, values in self.learner.acting_weights().items():
                values.copy_(torch.from_numpy(wire.require(weights, name, "float32", tuple(values.shape))))
        done: int = wire.require_plain(weights, "steps_done", int)
        return done

    def _receive(self, values: dict[str, float], session: TrainingSession) -> None:
        """Take figures of an actor: those of an episode, the times of its steps, or that its window was closed."""
        if CLOSED in values:
            return session.run.warn(WINDOW_CLOSED)
        timers = {name: value for name, value in values.items() if name.startswith("timer/")}
        self._timers_of_actors |= timers
        if not timers:
            self.episodes.receive(values)

    def _set_threads(self) -> None:
        """Set one thread where there are no images: the products are small, and a second thread makes them slower."""
        if not self.images:
            torch.set_num_threads(1)

    def _tell_time(self, done: int) -> None:
        if self._estimate is not None:
            self._estimate.tell(self.learner.updates, done, self.total_steps)

    @property
    def _human_intervenes(self) -> bool:
        return self.cfg.interventions.enabled and self.cfg.interventions.by == HUMAN

    @contextmanager
    def _intervening(self, env: VecEnv, on_close: Callable[[], None]) -> Iterator[None]:
        """Open what intervenes, and close the window of a human at the end.

        Args:
            env: in which it intervenes.
            on_close: called when a human closed the window.

        Raises:
            ConfigError: the task has no scripted expert, an action has no input, or no window opens.
            PreflightError: there is no such gamepad.
        """
        cfg = self.cfg.interventions
        with ExitStack() as stack:
            if self._human_intervenes:
                action = self.io.action
                controls = HumanControls(cfg.controls, action.joints, action.clip, "move to intervene")
                self.intervener = HumanIntervener(env, stack.enter_context(controls), on_close)
            elif cfg.enabled:
                task = _demonstrated(env, "interventions.enabled=false")
                expert = task.scripted_expert(cfg.noise, self.seed + INTERVENTION_SEED)
                self.intervener = ScriptedIntervener(cfg, task, expert, self.num_envs)
            yield

    def _announce_filling(self, session: TrainingSession) -> bool:
        """Return whether the buffer lacks transitions for the first update, and show it."""
        filling = len(self.online) < self.cfg.training_starts
        if filling:
            print(f"Filling up replay buffer: {self.cfg.training_starts} transitions", flush=True)
            session.run.progress(note="Filling up replay buffer")
        return filling

    def _begin(self, env: VecEnv, session: TrainingSession) -> Obs:
        """Fill the buffer of demonstrations, and begin new episodes."""
        self._fill_prior(env, session)
        obs = env.reset(seed=self.seed)
        if self.num_envs > 1:
            env.stagger()
        return obs

    def _fill_prior(self, env: VecEnv, session: TrainingSession) -> None:
        """Open the buffers, and fill that of demonstrations."""
        seed_all(self.seed)
        given = self._demonstrations(env, session)
        self._open_buffers(0 if given is None else len(given.transitions))
        if given is not None:
            for piece in self.penalty.charged(given).pieces(PUSHED_AT_ONCE):
                self.prior.push(piece)
            count, steps = len(given.lengths), len(given.transitions)
            print(f"demo buffer size: {steps} transitions of {count} episodes", flush=True)
            if warning := discount_problem(float(np.median(given.lengths)), self.cfg.gamma):
                session.run.warn(warning)

    def _demonstrations(self, env: VecEnv, session: TrainingSession) -> demos.Demonstrations | None:
        if self._data:
            encoder = getattr(env, "encoder", None)
            return demos.read(self._data, self.io, self.groups, self._task, encoder, list(self.images))
        cfg = self.cfg.demonstrations
        if cfg.episodes == 0:
            return None

        def on_step(found: int) -> None:
            session.run.progress(note=f"recording demonstrations: {found} of {cfg.episodes}")
            session.run.check_stop(0, lambda: None)

        seed = self.seed + DEMONSTRATION_SEED
        return demos.record(env, cfg.noise, cfg.episodes, [*self.groups, *self.images], seed, on_step)

    def _open_buffers(self, given: int, held: int = 0) -> None:
        """Allocate the buffers; `given` demonstrations are never overwritten.

        Args:
            given: number of demonstrations.
            held: bytes of pictures that are in memory already, of a checkpoint.

        Raises:
            PreflightError: the buffers do not fit into the free memory.
        """
        capacity = min(self.cfg.replay_buffer_capacity, self.total_steps * self.num_envs)
        width, count = sum(self.sizes.values()), self.io.num_actions
        frames = frames_bytes(given, frame_bytes(self.images)) + self.cfg.pixel_bytes(
            self.num_envs, frame_bytes(self.images)
        )
        needed, free = buffer_bytes(given + 2 * capacity, width, count), free_bytes(self.device)
        room = free_bytes(torch.device("cpu")) + held
        if self.images:
            print(
                f"pictures in the buffers: about {frames / 2**20:.0f} MiB while the last checkpoint is saved, "
                f"{room / 2**20:.0f} MiB are free"
            )
        if frames > room:
            raise PreflightError(
                f"The pictures of {given} demonstrations and {capacity} transitions take about {frames / 2**30:.1f} "
                f"GiB, {room / 2**30:.1f} GiB are free. Type a smaller env.images.size, agent.max_steps or "
                f"agent.replay_buffer_capacity={int(0.4 * capacity * room / frames)}."
            )
        if needed > free:
            raise PreflightError(
                f"The buffers of {given} and twice {capacity} transitions take {needed / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} GiB are free on {self.device}. Type "
                f"agent.replay_buffer_capacity={int(0.9 * capacity * free / needed)}."
            )
        self.online = TransitionBuffer(capacity, self.sizes, count, self.device, self._frames)
        self.prior = TransitionBuffer(given + capacity, self.sizes, count, self.device, self._frames, kept=given)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[what] = self._seconds.get(what, 0.0) + time.perf_counter() - began

    def _step(
        self, env: VecEnv, obs: Obs, session: TrainingSession | ActorSession, done: int
    ) -> tuple[Obs, Transitions]:
        """Step all envs, of which `done` steps were done before; return the next observations and the transitions."""
        with self._timed("sample_actions"):
            chosen = self._choose(obs, done)
        with self._timed("step_env"):
            outcome = env.step(chosen.action.to(env.device))
        following, reward, terminated, truncated, info = outcome
        session.step(reward, terminated, truncated, info)
        steps = demos.one_step(obs, chosen.action, outcome, [*self.groups, *self.images], chosen.intervened)
        steps.reward = steps.reward - self.penalty.charge(chosen.action)
        ended = (terminated | truncated).cpu()
        self.episodes.add(reward, ended, chosen, info["labels"].get("success"))
        if ended.any():
            ids = ended.nonzero().squeeze(1)
            self.penalty.reset(ids)
            if self.intervener is not None:
                self.intervener.reset(ids)
        return following, steps

    def _keep(self, steps: Transitions) -> None:
        """Push transitions to the buffer of the training, and those of interventions to that of demonstrations too."""
        self.online.push(steps)
        if steps.intervened.any():
            self.prior.push(steps.select(steps.intervened))

    def _choose(self, obs: Obs, step: int) -> Intervention:
        """Return the action of the policy, or of the expert or human where one intervenes."""
        if step < self.cfg.random_steps:
            action = 2.0 * torch.rand(self.num_envs, self.io.num_actions) - 1.0
        else:
            vectors = torch.cat([obs[group] for group in self.groups], dim=1).to(self.device)
            action = self.learner.act(self.learner.features(vectors, {name: obs[name] for name in self.images})).cpu()
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

    def _losses(self, session: TrainingSession) -> dict[str, float]:
        """Return the scalars of the last log period; the line of the progress shows the share of interventions."""
        steps = self.cfg.log_period
        scalars = self.learner.measured() | self.episodes.means(steps)
        scalars |= {"buffer/online": float(len(self.online)), "buffer/demonstrations": float(len(self.prior))}
        scalars |= {f"timer/{what}": spent / steps for what, spent in self._seconds.items()}
        self._seconds = {}
        if self.cfg.interventions.enabled:
            share = scalars["environment/intervention_share"]
            session.run.progress(note=f"{self.cfg.interventions.by} interventions {share:.0%} of the steps")
        return scalars

    def policy_state(self) -> StateDict:
        """Return the actor; where it reads images, their names and sizes, and the encoder."""
        state: StateDict = {"actor": self.learner.actor.values.detach(), "groups": self.groups}
        if isinstance(self.learner, PixelLearner):
            state |= {"images": self.images, "encoder": self.learner.encoder.state_dict()}
        return state

    def load_policy_state(self, state: StateDict) -> None:
        """Initialise the actor by another run's policy, as saved by `policy_state`; critics are new.

        Raises:
            CheckpointError: it has other layers, or reads other groups or images.
        """
        values = self.learner.actor.values
        if (images := dict(state.get("images", {}))) != self.images:
            raise CheckpointError(
                f"policy=: it reads the images {images or 'none'}, this training {self.images or 'none'}. Set "
                "agent.images and env.images as in its run."
            )
        if list(state["groups"]) != self.groups or state["actor"].shape != values.shape:
            raise CheckpointError(
                f"policy=: its actor reads {list(state['groups'])} with {state['actor'].numel()} weights, this one "
                f"{self.groups} with {values.numel()}. Set agent.observations and agent.hidden as in its run."
            )
        with torch.no_grad():
            values.copy_(state["actor"])
        if isinstance(self.learner, PixelLearner):
            self.learner.begin_from(state["encoder"])

    def _learner_state(self) -> PolicyBundle:
        """Return the part of a checkpoint that does not belong to the envs."""
        parts: dict[str, Any] = {"learner": self.learner, "online": self.online, "prior": self.prior}
        if self._frames is not None:
            parts["frames"] = self._frames
        training = {name: part.state_dict() for name, part in {**parts, "episodes": self.episodes}.items()}
        training |= {"given": self.prior.capacity, "seconds": dict(self._seconds)}
        return {"policy": self.policy_state(), "training": training}

    def _checkpoint_state(self, obs: Obs) -> PolicyBundle:
        bundle = self._learner_state()
        training = {**bundle["training"], "penalty": self.penalty.state_dict()}
        training["obs"] = {group: x.clone() for group, x in obs.items()}
        training["intervener"] = None if self.intervener is None else self.intervener.state_dict()
        return {**bundle, "training": training}

    def _restore_learner(self, state: StateDict) -> None:
        held = state["frames"]["frames"].nbytes if self._frames is not None else 0
        capacity = min(self.cfg.replay_buffer_capacity, self.total_steps * self.num_envs)
        self._open_buffers(state["given"] - capacity, held)
        for part in ("learner", "online", "prior"):
            getattr(self, part).load_state_dict(state[part])
        self.episodes.load_state_dict(state["episodes"])
        self._seconds = dict(state.get("seconds", {}))  # an older checkpoint has none
        if self._frames is not None:
            self._frames.load_state_dict(state["frames"])

    def _restore(self, state: StateDict) -> Obs:
        self._restore_learner(state)
        if state.get("restarted"):
            self.episodes.begin_episodes()
        else:
            self.penalty.load_state_dict(state["penalty"])
            if self.intervener is not None:
                self.intervener.load_state_dict(state["intervener"])
        return {group: x.clone() for group, x in state["obs"].items()}

    def restart(self, state: StateDict, obs: Obs) -> StateDict:
        """Return the state of a checkpoint for envs that begin new episodes with `obs`."""
        return {**state, "obs": obs, "restarted": True}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> MeanPolicy | ImagePolicy:
        """Return the policy of a checkpoint, acting by the mean of its Gaussian."""
        policy, cfg = bundle["policy"], bundle["agent"]
        groups, images = list(policy["groups"]), dict(policy.get("images", {}))
        width = sum(io.size(group) for group in groups)
        encoder = PixelEncoder(PixelsCfg(**cfg["pixels"]), images, width) if images else None
        shape = Perceptron(width if encoder is None else encoder.width, tuple(cfg["hidden"]), 2 * io.num_actions)
        actor = MeanAction(shape, policy["actor"], io.num_actions)
        if encoder is None:
            return MeanPolicy(actor.to(device), groups)
        encoder.load_state_dict(policy["encoder"])
        return ImagePolicy(PixelAction(encoder, actor, groups, list(images)).to(device), groups, list(images))


def _images_read(wanted: Sequence[str], io: IOSpec) -> dict[str, list[int]]:
    """Return the images that an agent names with their sizes.

    Raises:
        ConfigError: the task does not give one of them, or one that has not three channels.
    """
    for name in wanted:
        if name not in io.images:
            offered = (
                did_you_mean(name, io.images) if io.images else "It gives none: set env.images, if it has that key."
            )
            raise ConfigError(f"agent.images={name}: the task gives no such image. {offered}")
        if io.images[name][-1] != CHANNELS:
            size = "x".join(map(str, io.images[name]))
            raise ConfigError(
                f"agent.images={name}: its size is {size}, expected {CHANNELS} channels. Remove it from agent.images."
            )
    return {name: list(io.images[name]) for name in wanted}


def _demonstrated(env: VecEnv, without: str) -> DemonstratedTask:
    """Return the task below all wrappers.

    Args:
        env: the environment of the training.
        without: setting of the agent that needs no expert.

    Raises:
        ConfigError: the task has no scripted expert.
    """
    task = task_below(env)
    if not isinstance(task, DemonstratedTask):
        raise ConfigError(f"The task has no scripted expert. Type agent.{without}.")
    return task
