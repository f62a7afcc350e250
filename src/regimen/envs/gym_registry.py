"""Registration, arguments and spaces of a Gymnasium task, checked before it runs. Imports no torch."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec
    from gymnasium.spaces import Box, Space

    from regimen.config.yaml_io import PlainConfig

MUJOCO_NEEDS = ("mujoco", "glfw", "imageio")
"""Modules that Gymnasium's MuJoCo tasks import; `gymnasium[mujoco]` would install another MuJoCo."""

HEAVY = ("torch", "mujoco", "genesis", "warp", "jax", "tensorflow", "pybullet", "sapien", "isaacsim", "omni", "rclpy")
"""Modules after whose import a task may open a simulator or a device, so that the launcher does not open it."""

UNBOUNDED = 1e30
"""A bound of a space from here on means that there is none."""


def spec_of(task: str) -> EnvSpec:
    """Return the registration of a task, after importing its module.

    Args:
        task: `Name-v0`, or `module:Name-v0`.

    Raises:
        ConfigError: the module cannot be imported, or registers no such task.
    """
    import gymnasium

    module, _, name = task.rpartition(":")
    before = set(gymnasium.registry)
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise ConfigError(f"the module `{module}` cannot be imported: {error}.") from error
            where = "the current directory, PYTHONPATH or the installed packages"
            raise ConfigError(f"there is no module `{error.name}` in {where}.") from error
        except Exception as error:
            kind = type(error).__name__
            raise ConfigError(f"the module `{module}` cannot be imported: {kind}: {error}.") from error
    if name not in gymnasium.registry:
        owner = f"`{module}` registers" if module else "Gymnasium has"
        own = set(gymnasium.registry) - before or {n for n, s in gymnasium.registry.items() if _made_in(s, module)}
        names = own if module and own else gymnasium.registry
        form = "" if module else " A task of your own: module:Name-v0."
        raise ConfigError(f"{owner} no such task. {did_you_mean(name, names)}{form}")
    return gymnasium.registry[name]


def drawn_for(config: PlainConfig) -> str | None:
    """Return the setting of a run that needs pictures of env 0, a video or the window of a human; None without one."""
    stage, policy = (config.get("choices") or {}).get("stage"), config.get("policy")
    if config.get("video"):
        return "video=true"
    if stage == "collect" and policy == "human":
        return "policy=human"
    interventions = (config.get("agent") or {}).get("interventions") or {}
    acts = stage in ("train", "actor") and interventions.get("enabled") and interventions.get("by") == "human"
    return "agent.interventions.by=human" if acts else None


def problems(task: str, kwargs: dict[str, Any], timed: bool, drawn: str | None) -> Iterator[str]:
    """Yield what prevents a run with a task, as far as it is known without opening a simulator.

    Args:
        task: its name.
        kwargs: arguments of `gymnasium.make`.
        timed: whether the configuration gives the length of an episode.
        drawn: setting because of which `render` will be called; None if it will not.
    """
    try:
        spec = spec_of(task)
    except ConfigError as error:
        yield f"id={task}: {error}"
        return
    if spec.max_episode_steps is None and not timed:
        yield f"id={task}: the task has no time limit of its own: type env.episode_length_s=<seconds>."
    if "gymnasium.envs.mujoco" in str(spec.entry_point):  # its import opens a simulator
        missing = [name for name in MUJOCO_NEEDS if importlib.util.find_spec(name) is None]
        if missing:
            yield f"id={task}: needs {' and '.join(missing)}. Type: pip install {' '.join(missing)}"
        return
    yield from _creator_problems(task, spec, kwargs, drawn)


def entries(observation: Space[Any]) -> dict[str, Box]:
    """Return the terms of an observation, name -> box: those of a Dict in its order, or the one box `observation`."""
    inner = getattr(observation, "spaces", None)
    return dict(inner) if isinstance(inner, dict) else {"observation": cast("Box", observation)}


def space_problems(observation: Space[Any], action: Space[Any]) -> Iterator[str]:
    """Yield which space of a task cannot be used.

    Observations are a flat box or a Dict of them, actions a flat box of floats, or a choice.
    """
    remedy = "Choose another task, or register yours with a wrapper around it."
    given = entries(observation)
    if not given:
        yield f"its observation is {observation}, which has no entry; expected a flat Box, or a Dict of them. {remedy}"
    for name, space in given.items():
        if not _is_flat(space):
            what = f"its observation `{name}`" if name != "observation" else "its observation"
            yield f"{what} is {space}, expected a flat Box, or a Dict of flat Boxes. {remedy}"
    if type(action).__name__ == "Discrete":
        return
    if not _is_flat(action):
        yield f"its action is {action}, expected a flat Box or Discrete. {remedy}"
    elif not np.issubdtype(action.dtype or np.float32, np.floating):
        yield f"its action is {action}, expected a Box of floats, or Discrete. {remedy}"


def _is_flat(space: Space[Any]) -> bool:
    return type(space).__name__ == "Box" and len(space.shape or ()) == 1


def action_range(action: Box) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return (offset (A,), scale (A,), bounded) that map actions of ±1 to the bounds of a box.

    With one bound, the action of -1 or 1 is that bound and the scale 1; without, offset 0 and scale 1. `bounded`:
    both bounds of every action are finite.

    Args:
        action: the space, A values.
    """
    low, high = action.low.astype(np.float64), action.high.astype(np.float64)
    below, above = np.abs(low) < UNBOUNDED, np.abs(high) < UNBOUNDED
    both = below & above
    low, high = np.where(below, low, 0.0), np.where(above, high, 0.0)
    offset = np.where(both, (high + low) / 2, low + high + below.astype(float) - above.astype(float))
    return offset, np.where(both, (high - low) / 2, 1.0), bool(both.all())


def _creator_problems(task: str, spec: EnvSpec, kwargs: dict[str, Any], drawn: str | None) -> Iterator[str]:
    """Yield what is wrong with the arguments of the task's class, its images, and its spaces if it is light to open."""
    from gymnasium.envs.registration import load_env_creator

    try:
        creator: Any = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
    except Exception as error:
        yield f"id={task}: its class {spec.entry_point} cannot be imported: {type(error).__name__}: {error}."
        return
    metadata = getattr(creator, "metadata", None)  # of a wrapper it is a property, which only an object has
    modes = metadata.get("render_modes") if inspect.isclass(creator) and isinstance(metadata, dict) else None
    if drawn and modes is not None and "rgb_array" not in modes:
        yield f"id={task}: cannot be drawn: its render_modes are {modes}, without rgb_array. Leave {drawn} away."
        return
    given = {**spec.kwargs, **kwargs, **({"render_mode": "rgb_array"} if drawn else {})}
    try:
        inspect.signature(creator).bind(**given)
    except TypeError as error:
        if drawn and "render_mode" not in inspect.signature(creator).parameters:
            yield f"id={task}: cannot be drawn: its class takes no `render_mode`. Leave {drawn} away."
            return
        known = [name for name in inspect.signature(creator).parameters if name not in ("self", "render_mode")]
        wrong = next((name for name in given if name not in known), None)
        yield f"kwargs={kwargs}: {error}. {did_you_mean(wrong, known) if wrong else ''}".rstrip()
        return
    except ValueError:  # no signature: a class written in C
        return
    if not any(name in sys.modules for name in HEAVY):
        yield from (f"id={task}: {line}" for line in _space_problems_of_one(spec, kwargs))


def _space_problems_of_one(spec: EnvSpec, kwargs: dict[str, Any]) -> Iterator[str]:
    """Yield the problems with the spaces of a task, which only an env of it has."""
    import gymnasium

    try:
        env = gymnasium.make(spec, max_episode_steps=-1, disable_env_checker=True, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        yield str(error)
    except Exception:  # the worker, on the machine that has what it needs, reports it
        return
    else:
        yield from space_problems(env.observation_space, env.action_space)
        env.close()


def _made_in(spec: EnvSpec, module: str) -> bool:
    """Whether the class of a task is part of `module`."""
    origin = spec.entry_point if isinstance(spec.entry_point, str) else getattr(spec.entry_point, "__module__", "")
    return str(origin).startswith(module) and bool(module)
