"""The training of an rl_games agent in a run: its own `train()`, with the run's checkpoints between two epochs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.runner import library
from regimen.agents.runner.capture import Capture
from regimen.agents.training_session import require_finite
from regimen.runs.checkpoint import rng_state, set_rng_state

library.load()

from rl_games.algos_torch.sac_agent import SACAgent  # noqa: E402
from rl_games.common.a2c_common import A2CBase  # noqa: E402
from rl_games.common.algo_observer import AlgoObserver  # noqa: E402

if TYPE_CHECKING:
    from regimen.agents.runner.env_adapter import EnvAdapter
    from regimen.agents.training_session import TrainingSession
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

SKIP = (
    "vec_env", "env_info", "observation_space", "action_space", "state_space", "writer", "writter", "algo_observer",
    "diagnostics", "train_dir", "experiment_dir", "nn_dir", "summaries_dir",
)  # fmt: skip
"""Attributes that are no state: what the run owns."""

SKIP_IN_LIBRARY = (
    "config", "central_value_config", "network", "experience_buffer", "values_dict", "rewards_shaper",
)  # fmt: skip
"""Attributes of objects of rl_games that are no state: settings, and what is filled again in each epoch."""

TIMES = (
    "step_inference_rl_update_fps", "step_inference_fps", "step_fps", "rl_update_time", "step_inference_time",
    "step_time",
)  # fmt: skip
EPISODES = ("rewards", "shaped_rewards", "episode_lengths")
OF_THE_SESSION = {f"performance/{name}" for name in TIMES} | {"info/epochs"}
OF_THE_SESSION |= {f"{name}/{axis}" for name in EPISODES for axis in ("step", "iter", "time")}
"""Names of scalars of rl_games that the training session logs itself."""


class ScalarWriter:
    """Takes the place of the agent's TensorBoard writer.

    Attributes:
        scalars: last value of each name since they were taken.
    """

    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}

    def add_scalar(self, name: str, value: Any, *_: Any, **__: Any) -> None:
        """Keep a scalar that the session does not log itself."""
        if name not in OF_THE_SESSION:
            self.scalars[name] = float(value)

    def __getattr__(self, name: str) -> Any:
        """Accept histograms, text and the like, without effect."""
        if name.startswith(("add_", "flush", "close")):
            return lambda *_, **__: None
        raise AttributeError(name)


class UpdateThreads(AlgoObserver):
    """Lets torch use one thread for the rollout, whose operations on some hundred rows are slower with several."""

    def __init__(self) -> None:
        self.threads = torch.get_num_threads()

    def before_rollout(self) -> None:
        """Take one thread."""
        self.threads = max(self.threads, torch.get_num_threads())
        torch.set_num_threads(1)

    def after_steps(self) -> None:
        """Take all threads for the update."""
        torch.set_num_threads(self.threads)

    def after_clear_stats(self) -> None:
        """Nothing to clear."""


class _Finished(Exception):
    """All steps of the training are done."""


class AgentTraining:
    """Trains an agent that `Runner.build_agent` made.

    The agent's `train()` runs unchanged. Its `update_epoch` and `train_epoch` are wrapped: the first call of an epoch
    ends the iteration before it, where the state of the agent is complete, or restores a checkpoint.
    """

    def __init__(self, agent: Any, adapter: EnvAdapter) -> None:
        """Connect agent and environment.

        Args:
            agent: an rl_games agent.
            adapter: its environment.
        """
        self.agent, self.adapter, self.writer = agent, adapter, ScalarWriter()
        self.capture = Capture(SKIP, [adapter, self.writer], SKIP_IN_LIBRARY, "rl_games")
        self._restore: Callable[[], None] | None = None
        self._warned = False
        _replace_writer(agent, self.writer)
        agent.vec_env = adapter
        agent.save = lambda *_, **__: None  # the run saves
        for name in ("update_epoch", "train_epoch"):
            if hasattr(agent, name):
                setattr(agent, name, partial(self._first_of_epoch, getattr(agent, name)))
        if isinstance(agent, A2CBase) and agent.value_bootstrap:
            adapter.value, adapter.gamma = self._value, agent.gamma
            agent.rewards_shaper = partial(self._shaped, agent.rewards_shaper)
        if isinstance(agent, SACAgent):
            agent.replay_buffer.add = partial(self._add, agent.replay_buffer.add)

    def learn(self, env: VecEnv, session: TrainingSession, resume: StateDict | None, seed: int) -> None:
        """Train until `session.total_steps`, or until the agent's `train` returns, as it does at `score_to_win`.

        Args:
            env: new, or restored if `resume` is given.
            session: receives steps and iterations.
            resume: what `state` returned, or None to begin.
            seed: of the first reset.
        """
        self.session, self._ended_at = session, session.steps_done
        first = None
        if resume is not None:
            first = {group: value.clone() for group, value in resume["obs"].items()}
            self._restore = partial(self._restored, resume, rng_state())
        self.adapter.attach(env, session, first, seed)
        threads = torch.get_num_threads()
        try:
            self.agent.train()
            session.total_steps = session.steps_done
            self._end_iteration()
        except _Finished:
            pass
        finally:
            torch.set_num_threads(threads)

    def state(self) -> StateDict:
        """Return everything that decides the future of the training, beside the environment and the generators."""
        state = {"agent": self.capture.save(self.agent), "obs": {k: v.clone() for k, v in self.adapter.groups.items()}}
        if self.capture.omitted and not self._warned:
            self._warned = True
            self.session.run.warn(
                f"not saved, because their state is not visible: {', '.join(self.capture.omitted[:6])}. A resumed "
                "training has new ones; give them state_dict and load_state_dict, or hold tensors and numbers"
            )
        return state

    def policy_state(self) -> StateDict:
        """Return the weights and normalisers of the agent's model."""
        state = self.agent.model.state_dict()
        return {"model": {name.removeprefix("_orig_mod."): value for name, value in state.items()}}

    def _first_of_epoch(self, method: Callable[[], Any]) -> Any:
        """Run a method that an epoch begins with, after the end of the iteration before it."""
        if self._restore is not None:
            self._restore()
            self._restore = None
        self._end_iteration()
        if self.session.steps_done >= self.session.total_steps:
            raise _Finished
        if isinstance(self.agent.algo_observer, UpdateThreads) and isinstance(self.agent, A2CBase):
            self.agent.algo_observer.before_rollout()
        return method()

    def _end_iteration(self) -> None:
        if self.session.steps_done == self._ended_at:
            return
        self._ended_at = self.session.steps_done
        require_finite(self.agent.model.state_dict(), "model")
        losses = dict(self.writer.scalars)
        self.writer.scalars.clear()
        self.session.end_iteration(losses, self._bundle)

    def _bundle(self) -> PolicyBundle:
        return {"policy": self.policy_state() | {"num_envs": self.adapter.num_envs}, "training": self.state()}

    def _restored(self, state: StateDict, generators: StateDict) -> None:
        """Restore the agent and the generators, from which `train()` has drawn since."""
        self.capture.load(self.agent, state["agent"])
        if state.get("restarted"):
            self._begin_episodes()
        set_rng_state(generators)

    def _begin_episodes(self) -> None:
        """Reset what the agent holds about present episodes."""
        agent = self.agent
        agent.obs = self.adapter.agent_obs(self.adapter.groups)
        for name in ("current_rewards", "current_shaped_rewards", "current_lengths"):
            if isinstance(getattr(agent, name, None), torch.Tensor):
                getattr(agent, name).zero_()
        central = getattr(agent, "central_value_net", None)
        for holder in (agent, central):
            for states in getattr(holder, "rnn_states", None) or []:
                states.zero_()

    def _value(self, obs: Obs) -> torch.Tensor:
        """Return the value (N, 1) of observations, without changing the state of a recurrent critic."""
        central = self.agent.central_value_net if self.agent.has_central_value else None
        kept = central.rnn_states if central is not None else None
        value: torch.Tensor = self.agent.get_values(obs)
        if central is not None:
            central.rnn_states = kept
        return value

    def _shaped(self, shaper: Callable[[torch.Tensor], torch.Tensor], rewards: torch.Tensor) -> torch.Tensor:
        """Return the agent's shaped rewards (N, 1), and where an episode was cut off the value of its last observation.

        The library's own way, `time_outs`, adds the value of the observation before the step instead.
        """
        shaped = shaper(rewards)
        return shaped if self.adapter.bonus is None else shaped + self.adapter.bonus

    def _add(self, add: Callable[..., None], obs: Any, action: Any, reward: Any, next_obs: Any, done: Any) -> None:
        """Store a transition with its true successor; the library stores the observation before the step instead."""
        successor = self.adapter.agent_obs(self.adapter.final_obs)["obs"]
        add(obs, action, reward, torch.where(self.adapter.ended[:, None], successor, next_obs), done)


def restart(state: StateDict, obs: Obs) -> StateDict:
    """Return the state of a training for envs that begin new episodes with `obs`."""
    return {**state, "obs": obs, "restarted": True}


def _replace_writer(agent: Any, writer: ScalarWriter) -> None:
    if getattr(agent, "writer", None) is not None:
        agent.writer.close()
    agent.writer = writer
    if getattr(agent, "central_value_net", None) is not None:
        agent.central_value_net.writter = writer
