"""Gymnasium tasks as a `VecEnv`: continuous or discrete actions, vectors as observations, N copies in one process."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regimen.config.structured import to_plain
from regimen.config.task_schema import EvaluationCfg
from regimen.envs import gym_registry
from regimen.envs.finite import all_finite, bad_rows
from regimen.envs.vec_env import ActionSpec, IOSpec, Obs, StepInfo
from regimen.system.errors import CheckpointError, ConfigError, DivergedError, PreflightError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.runs.checkpoint_header import StateDict


@dataclass
class GymEnvCfg:
    """A task registered with Gymnasium.

    Attributes:
        id: its name, such as Pendulum-v1; `module:Name-v0` imports your module first.
        kwargs: arguments of `gymnasium.make`.
        num_envs: environments stepped together.
        episode_length_s: time after which an episode is truncated, in seconds; null: as registered.
        success_key: entry of the task's info with the success at the end of an episode, such as is_success; null: none.
        observation_noise: set by `stage=evaluate`; without effect in these tasks.
    """

    _target_: str = "regimen.envs.gym.GymEnv"
    id: str = "Pendulum-v1"
    kwargs: dict[str, Any] = field(default_factory=dict)
    num_envs: int = 8
    episode_length_s: float | None = None
    success_key: str | None = None
    observation_noise: bool = False
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return what is wrong with the task's name, arguments, figures and spaces, and what is not installed."""
        from regimen.envs import gym_registry

        lines = [] if self.num_envs >= 1 else [f"num_envs={self.num_envs}: expected 1 or more."]
        length = self.episode_length_s
        if length is not None and not length > 0:
            lines.append(f"episode_length_s={length}: expected seconds, more than 0, or null.")
        drawn = gym_registry.drawn_for(config)
        return [*lines, *gym_registry.problems(self.id, self.kwargs, length is not None, drawn)]


class GymEnv:
    """N copies of a Gymnasium task. See `regimen.envs.vec_env.VecEnv` for the meaning of each method.

    An action of -1 to 1 spans the task's own range; of a range with one bound, ±1 is that bound. Of a task with A
    choices, the action is one score for each, and the choice with the largest is made. Gymnasium's time limit
    and automatic reset are not used: steps are counted here, and an env is reset in the step in which it ends, after
    its final observation was read.

    An observation that is a Dict of flat boxes is the group `policy`, with one term for each entry, in its order.
    """

    def __init__(self, cfg: GymEnvCfg, seed: int, render: bool = False) -> None:
        """Open the copies.

        Args:
            cfg: the task.
            seed: of everything random.
            render: whether `render` will be called.

        Raises:
            ConfigError: spaces that are not flat, or no time limit.
            PreflightError: something that the task needs is not installed.
        """
        self.cfg, self.num_envs, self.device = cfg, cfg.num_envs, torch.device("cpu")
        self.vector = _open(cfg, "rgb_array" if render else None)
        self.step_dt = _step_dt(self.vector.envs[0])
        self.max_episode_length = self._length()
        self.io = self._io()
        self.discrete_actions = self.io.action.discrete
        self.age = torch.zeros(self.num_envs, dtype=torch.long)
        self.generator = torch.Generator().manual_seed(seed)
        self.reset(seed)

    @classmethod
    def open(cls, config: Config) -> GymEnv:
        """Open the task of a run, and write the episode length into `config`, where the stages read it."""
        env = cls(config.env, config.seed, gym_registry.drawn_for(to_plain(config)) is not None)
        config.env.episode_length_s = env.max_episode_length * env.step_dt
        return env

    def _length(self) -> int:
        if self.cfg.episode_length_s is not None:
            return max(1, round(self.cfg.episode_length_s / self.step_dt))
        limit = gym_registry.spec_of(self.cfg.id).max_episode_steps
        if limit is None:
            raise ConfigError(f"{self.cfg.id} has no time limit of its own: type env.episode_length_s=<seconds>.")
        return limit

    def _io(self) -> IOSpec:
        observation, action = self.vector.single_observation_space, self.vector.single_action_space
        if line := next(gym_registry.space_problems(observation, action), None):
            raise ConfigError(f"{self.cfg.id}: {line}")
        if type(action).__name__ == "Discrete":
            count = int(action.n)
            spec = ActionSpec([f"choice_{i}" for i in range(count)], [1.0] * count, [0.0] * count, discrete=True)
        else:
            middle, half, bounded = gym_registry.action_range(action)
            joints = [f"action_{i}" for i in range(action.shape[0])]
            spec = ActionSpec(joints, scale=half.tolist(), offset=middle.tolist(), clip=1.0 if bounded else None)
        sizes = {name: space.shape[0] for name, space in gym_registry.entries(observation).items()}
        meaning = {"policy": {name: {"of": self.cfg.id} for name in sizes}}
        return IOSpec({"policy": sizes}, spec, self.step_dt, meaning)

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs; with a seed, each gets its own generator, seeded by `seeds_of`."""
        if seed is not None:
            self.generator.manual_seed(seed)
        obs, _ = self.vector.reset(seed=None if seed is None else seeds_of(seed, self.num_envs))
        self.age = torch.zeros(self.num_envs, dtype=torch.long)
        return self._obs(obs)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs by actions (N, A). See `VecEnv.step`.

        Raises:
            ConfigError: the task's info lacks `success_key` at the end of an episode.
            DivergedError: if an action is not finite.
        """
        if not all_finite(action):
            raise DivergedError(f"The policy's action for {self.cfg.id} is not finite.", bad_rows(action))
        observed, reward, terminated, truncated, given = self.vector.step(self._given(action))
        self.age += 1
        terminal = torch.from_numpy(terminated.copy())
        cut = (torch.from_numpy(truncated.copy()) | (self.age >= self.max_episode_length)) & ~terminal
        final = obs = self._obs(observed)
        done = terminal | cut
        labels = {} if self.cfg.success_key is None else {"success": self._success(self.cfg.success_key, given, done)}
        if done.any():
            after, _ = self.vector.reset(options={"reset_mask": done.numpy()})
            obs, self.age = self._obs(after), self.age.masked_fill(done, 0)
        info: StepInfo = {"final_obs": final, "log": {}, "labels": labels, "metrics": {}}
        return obs, torch.from_numpy(reward).float(), terminal, cut, info

    def _success(self, key: str, given: dict[str, Any], done: torch.Tensor) -> torch.Tensor:
        """Return whether the episode of each env ends in success with this step, (N,) bool.

        Args:
            key: entry of the task's info.
            given: the info of the vector of envs; an entry that some envs lack has a mask of the same name with `_`.
            done: (N,) bool, whose episodes end.

        Raises:
            ConfigError: an env whose episode ends lacks the entry.
        """
        there = torch.from_numpy(np.broadcast_to(given.get(f"_{key}", False), self.num_envs).copy())
        if (done & ~there).any():
            names = [name for name in given if not name.startswith("_")]
            raise ConfigError(
                f"env.success_key={key}: the info of {self.cfg.id} has no such entry at the end of an "
                f"episode. {did_you_mean(key, names) if names else 'It has none: type env.success_key=null.'}"
            )
        return there & done & torch.from_numpy(np.broadcast_to(given.get(key, False), self.num_envs).astype(bool))

    def _obs(self, observed: Any) -> Obs:
        """Return an observation of the vector, (N, d) or name -> (N, d), as the group `policy`."""
        if isinstance(observed, dict):
            observed = np.concatenate([observed[name] for name in self.io.observations["policy"]], axis=1)
        return {"policy": torch.tensor(observed, dtype=torch.float32)}

    def _given(self, action: torch.Tensor) -> np.ndarray:
        """Return the task's own actions, (N, A) or choices (N,), for actions (N, A)."""
        space, spec = self.vector.single_action_space, self.io.action
        if spec.discrete:
            return action.argmax(1).numpy() + int(space.start)
        bounded = action if spec.clip is None else action.clamp(-spec.clip, spec.clip)
        given = torch.tensor(spec.offset) + torch.tensor(spec.scale) * bounded
        low, high = (torch.from_numpy(bound.astype(np.float32)) for bound in (space.low, space.high))
        return given.clamp(low, high).numpy()  # the one bound of a half-open range, and rounding

    def stagger(self) -> None:
        """Set the envs to random times of their episodes, so that they do not all time out in the same step."""
        self.age = (torch.rand(self.num_envs, generator=self.generator) * self.max_episode_length).long()

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Raise: these tasks have no commands."""
        raise ConfigError(f"{self.cfg.id} has no command `{name}`.")

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Raise: these tasks have no events."""
        raise ConfigError(f"{self.cfg.id} has no event `{name}`.")

    def state_dict(self) -> StateDict:
        """Return the full state; `envs` is None for a task whose state cannot be read."""
        states = self._states()
        inner = None if states is None else [state.read() for state in states]
        return {"age": self.age.clone(), "generator": self.generator.get_state(), "envs": inner}

    def _states(self) -> list[EnvState] | None:
        """Return what reads and writes the states of the copies; None for a task whose state may be incomplete."""
        states = [state_of(env) for env in self.vector.envs]
        complete = [state for state in states if state is not None]
        return complete if len(complete) == len(states) else None

    def restores(self, state: StateDict) -> bool:
        """Return whether `load_state_dict` can restore a state."""
        return state["envs"] is not None and self._states() is not None

    def restart(self, state: StateDict) -> Obs:
        """Begin new episodes at random times, with the generator of a state; return the observations.

        The seeds of the episodes are drawn from the generator, so that a resumed run does not repeat its first ones.
        """
        self.generator.set_state(state["generator"])
        seed = int(torch.randint(2**31, (), generator=self.generator))
        obs, _ = self.vector.reset(seed=seeds_of(seed, self.num_envs))
        self.stagger()
        return self._obs(obs)

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`.

        Raises:
            CheckpointError: the state of the task cannot be restored.
        """
        writers = self._states()
        if state["envs"] is None or writers is None:
            raise CheckpointError(
                f"{self.cfg.id} cannot be resumed: only Gymnasium's classic control and MuJoCo tasks, without wrappers "
                "that may hold state, have a state that is complete. Start a new run from the policy: "
                "policy=<run reference>."
            )
        self.age = state["age"].clone()
        self.generator.set_state(state["generator"])
        for writer, inner in zip(writers, state["envs"], strict=True):
            writer.write(inner)

    def render(self) -> np.ndarray:
        """Return an image of env 0, (H, W, 3) uint8.

        Raises:
            PreflightError: what draws it is not installed.
        """
        from gymnasium.error import DependencyNotInstalled

        try:
            picture: np.ndarray = self.vector.envs[0].render()
        except DependencyNotInstalled as error:
            raise PreflightError(
                f"{self.cfg.id} cannot be drawn: {error}. Or leave away what shows it: video=true, or a human."
            ) from error
        return picture

    def close(self) -> None:
        """Close all copies."""
        self.vector.close()


def seeds_of(seed: int, count: int) -> list[int]:
    """Return the seeds of `count` envs.

    Those of two values of `seed` are different ones. Gymnasium's own, `seed`, `seed` + 1, …, are nearly the same for
    neighbouring values, so that evaluations with the seeds 0, 1 and 2 would be of the same episodes.
    """
    words: list[int] = np.random.SeedSequence(seed).generate_state(count).tolist()
    return words


def _open(cfg: GymEnvCfg, render_mode: str | None) -> Any:
    """Return Gymnasium's vector of N copies, without its time limit, its checks, and its automatic reset."""
    import gymnasium
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    drawn = {"render_mode": render_mode} if render_mode else {}  # a class may lack the argument
    make = partial(gymnasium.make, cfg.id, max_episode_steps=-1, disable_env_checker=True, **drawn)
    try:
        return SyncVectorEnv([partial(make, **cfg.kwargs)] * cfg.num_envs, autoreset_mode=AutoresetMode.DISABLED)
    except gymnasium.error.DependencyNotInstalled as error:
        raise PreflightError(f"{cfg.id}: {error}") from error
    except gymnasium.error.Error as error:
        raise ConfigError(f"{cfg.id}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"env.kwargs={cfg.kwargs}: {error}") from error


def _step_dt(env: Any) -> float:
    """Return the seconds of a step: of the task's `dt`, else of its frame rate, else 1."""
    dt = getattr(env.unwrapped, "dt", None)
    return float(dt) if dt is not None else 1.0 / float(env.metadata.get("render_fps") or 1.0)


PLAIN = (bool, int, float, str, type(None))

LAGGING = ("xpos", "xquat", "xmat", "xipos", "subtree_com", "cinert", "cvel", "cfrc_ext", "qfrc_actuator", "site_xpos")
"""Fields of MuJoCo's data that a task may read before its next step, computed in the last one."""


STATELESS = (
    *("OrderEnforcing", "PassiveEnvChecker"),
    *("FilterObservation", "FlattenObservation", "ReshapeObservation", "RescaleObservation", "DtypeObservation"),
    *("DiscretizeObservation", "ClipAction", "RescaleAction", "DiscretizeAction", "ClipReward"),
)
"""Wrappers of `gymnasium.wrappers` that keep nothing on which later observations, rewards or ends depend."""


class EnvState:
    """Reads and writes the state of an environment that keeps it in arrays and numbers, and in tuples of them."""

    def __init__(self, env: Any) -> None:
        """Take an environment without its wrappers."""
        self.env = env

    def read(self) -> StateDict:
        """Return the state as tensors and plain values."""
        held = {k: v for k, v in vars(self.env).items() if _is_plain(v)}
        return {"attributes": {k: _pack(v) for k, v in held.items()}, "random": self.env.np_random.bit_generator.state}

    def write(self, state: StateDict) -> None:
        """Restore what `read` returned."""
        for name, value in state["attributes"].items():
            setattr(self.env, name, _unpack(value))
        self.env.np_random.bit_generator.state = state["random"]


class MujocoState(EnvState):
    """The same with the simulator's state."""

    def read(self) -> StateDict:
        """Return the state as tensors and plain values."""
        import mujoco

        model, data, kind = self.env.model, self.env.data, mujoco.mjtState.mjSTATE_INTEGRATION
        integration = np.zeros(mujoco.mj_stateSize(model, kind))
        mujoco.mj_getState(model, data, integration, kind)
        lagging = {name: _pack(getattr(data, name)) for name in LAGGING}
        return {**super().read(), "simulator": _pack(integration), "lagging": lagging}

    def write(self, state: StateDict) -> None:
        """Restore what `read` returned."""
        import mujoco

        super().write(state)
        integration = state["simulator"].numpy()
        mujoco.mj_setState(self.env.model, self.env.data, integration, mujoco.mjtState.mjSTATE_INTEGRATION)
        for name, value in state["lagging"].items():
            getattr(self.env.data, name)[:] = value.numpy()


def state_of(env: Any) -> EnvState | None:
    """Return the reader and writer of the state of `env`; None where the state may be incomplete."""
    inner = env.unwrapped
    while env is not inner:
        if not (type(env).__module__.startswith("gymnasium.wrappers.") and type(env).__name__ in STATELESS):
            return None
        env = env.env
    module = type(inner).__module__
    if module.startswith("gymnasium.envs.classic_control."):
        return EnvState(inner)
    return MujocoState(inner) if module.startswith("gymnasium.envs.mujoco.") else None


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(_is_plain(v) for v in value)
    return isinstance(value, (*PLAIN, np.ndarray, np.generic))


def _pack(value: Any) -> Any:
    """Return arrays, also in a tuple or list, as new tensors, for a checkpoint."""
    if isinstance(value, tuple | list):
        return type(value)(_pack(v) for v in value)
    return torch.tensor(value) if isinstance(value, np.ndarray | np.generic) else value


def _unpack(value: Any) -> Any:
    """Return the inverse of `_pack`: new arrays, and a numpy scalar for a tensor without dimensions."""
    if isinstance(value, tuple | list):
        return type(value)(_unpack(v) for v in value)
    return value.numpy().copy()[()] if isinstance(value, torch.Tensor) else value
