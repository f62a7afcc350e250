"""State of an environment of Isaac Lab: what its managers, assets, sensors and Newton's solver hold.

Isaac Lab has no complete state: its own `scene.get_state` leaves out the solver and the managers. Here the objects are
walked from the environment, and every tensor, array and number that they hold is read and written in place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

MANAGERS = (
    "action_manager",
    "command_manager",
    "curriculum_manager",
    "event_manager",
    "observation_manager",
    "reward_manager",
    "termination_manager",
)

SKIPPED = frozenset(("_env", "env", "sim", "_sim", "stage", "_debug_vis_handle", "_visualizer", "_IO_descriptor"))
"""Attributes that lead away from the state."""

DERIVED = "bvh_"
"""Beginning of the names of arrays that ray casts compute from the shapes, and that nobody has written before."""

FOREIGN = ("torch", "numpy", "gymnasium", "pxr", "logging", "threading", "weakref", "asyncio", "warp", "mujoco")
"""Packages whose objects are not walked; their tensors and arrays are values."""

SOLVER_ARRAYS = ("qacc_warmstart", "time", "qpos", "qvel", "act", "ctrl", "qfrc_applied", "xfrc_applied", "qacc")
"""Arrays of the solver that outlive a step."""

OWN = "env"
"""Path of the attributes of the environment itself; a step replaces some of its tensors by others."""

DEPTH = 10


class Walk:
    """Paths and owners of the values below some objects, each memory once, in an order that is always the same."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.memory: set[tuple[int, ...]] = set()

    def values(
        self, value: Any, path: str, owner: Any, key: Any, depth: int = 0
    ) -> Iterator[tuple[str, Any, Any, Any]]:
        """Yield path, owner, key and value of each tensor and number below `value`."""
        tensor = as_tensor(value)
        if tensor is not None:
            place = (tensor.data_ptr(), tensor.numel(), *tensor.stride())
            if tensor.numel() and place not in self.memory:
                self.memory.add(place)
                yield path, owner, key, tensor
        elif type(value) in (bool, int, float):  # not an enumeration
            yield path, owner, key, value
        elif depth < DEPTH and id(value) not in self.seen:
            self.seen.add(id(value))
            for name, child in _children(value):
                yield from self.values(child, f"{path}.{name}", value, name, depth + 1)


def as_tensor(value: Any) -> torch.Tensor | None:
    """Return a view of a tensor or of an array of Warp or NumPy; None for anything else."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(value) if value.flags.writeable and value.dtype != np.uint32 else None
    if type(value).__module__.startswith("warp") and hasattr(value, "ptr") and hasattr(value, "dtype"):
        import warp

        try:
            return warp.to_torch(value) if value.size and value.ptr else None
        except (RuntimeError, TypeError, KeyError):  # an array of structures, or one that is not contiguous
            return None
    return None


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from ((k, v) for k, v in value.items() if isinstance(k, str | int))
    elif isinstance(value, list | tuple | deque):
        yield from enumerate(value)
    elif not isinstance(value, type | str | bytes) and not callable(getattr(value, "__wrapped__", None)):
        module = type(value).__module__.partition(".")[0]
        if module in FOREIGN or module == "builtins":
            return
        named = getattr(value, "__dict__", {}).items()
        yield from ((k, v) for k, v in named if k not in SKIPPED and not str(k).startswith(DERIVED))


def values(env: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield path, owner, key and value of everything that an open environment holds.

    Args:
        env: of Isaac Lab, unwrapped.
    """
    walk = Walk()
    yield from _newton(env, walk)
    for name in ("articulations", "rigid_objects", "rigid_object_collections", "sensors", "terrain"):
        yield from walk.values(getattr(env.scene, name, None), f"scene.{name}", env.scene, name)
    for name in MANAGERS:
        yield from walk.values(getattr(env, name, None), name, env, name)
    for name, value in vars(env).items():  # last: some are buffers of the managers
        if name.startswith("_") or name in ("cfg", "extras", "scene", "sim", *MANAGERS):
            continue
        if isinstance(value, torch.Tensor | bool | int | float | dict):
            yield from walk.values(value, f"{OWN}.{name}", env, name)
    yield from walk.values(env._sim_step_counter, f"{OWN}._sim_step_counter", env, "_sim_step_counter")


def newton_manager(env: Any) -> Any:
    """Return Newton's manager, a class, of an open environment; None where another simulator computes the physics."""
    manager: Any = env.sim.physics_manager
    manager = manager if isinstance(manager, type) else manager._resolve()  # a name until it is used
    return manager if getattr(manager, "backend", None) is not None else None


def _newton(env: Any, walk: Walk) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield the raw state of Newton, the control, the warm start of the solver, and what events change of the model."""
    manager = newton_manager(env)
    if manager is None:
        return
    backend, solver = manager.backend, manager._solver
    for name in ("state_0", "state_1", "control"):
        yield from walk.values(getattr(backend, name), f"newton.{name}", backend, name, DEPTH - 1)
    yield from walk.values(getattr(manager, "_adapter", None), "newton.actuators", manager, "_adapter", 2)
    for base in manager.__mro__:  # the manager is a class: its counters and masks are attributes of classes
        for name, value in vars(base).items():
            if isinstance(value, bool | int | float) or as_tensor(value) is not None:
                yield from walk.values(value, f"newton.{base.__name__}.{name}", base, name)
    data = getattr(solver, "mjw_data", None)
    for name in SOLVER_ARRAYS if data is not None else ():
        yield from walk.values(getattr(data, name, None), f"newton.solver.{name}", data, name)
    for part, model in (("model", backend.model), ("solver_model", getattr(solver, "mjw_model", None))):
        for name, value in (vars(model) if model is not None else {}).items():
            tensor = as_tensor(value)
            if tensor is not None and tensor.is_floating_point() and _of_envs(name):
                yield from walk.values(value, f"newton.{part}.{name}", model, name)


def _of_envs(name: str) -> bool:
    """Return whether events may change an array of the model in single environments."""
    begins = ("body_", "joint_", "shape_material", "geom_friction", "dof_", "jnt_", "actuator_", "gravity")
    return name.startswith(begins)


def read(env: Any) -> StateDict:
    """Return path -> copy of every tensor, and every number, that an environment holds."""
    return {path: v.clone() if isinstance(v, torch.Tensor) else v for path, _, _, v in values(env)}


def write(env: Any, state: StateDict) -> None:
    """Restore what `read` returned.

    Raises:
        CheckpointError: the environment holds other values than the one whose state it is.
    """
    unused = dict(state)
    for path, owner, key, now in list(values(env)):
        if path not in unused:
            continue
        kept = unused.pop(path)
        if isinstance(now, torch.Tensor):
            if not isinstance(kept, torch.Tensor) or kept.shape != now.shape:
                raise CheckpointError(f"the state of this task does not fit: {path} has another shape.")
            now.copy_(kept)
        elif kept != now:  # a time stamp is -1 before the first reading, and a float later
            _put(owner, key, kept)
    missing = [p for p, kept in unused.items() if isinstance(kept, torch.Tensor) and not p.startswith(f"{OWN}.")]
    if missing:
        raise CheckpointError(f"the state of this task does not fit: it has no {', '.join(missing[:3])}.")


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, MutableMapping | list | deque):
        owner[key] = value
    elif not isinstance(owner, tuple):
        setattr(owner, key, value)
