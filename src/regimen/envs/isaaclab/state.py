"""State of an environment of Isaac Lab: what its managers, assets, sensors and Newton's solver hold.

Isaac Lab has no complete state: its own `scene.get_state` leaves out the solver and the managers. Here the objects are
walked from the environment, and every tensor, array and number that they hold is read and written in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.foreign import walk
from regimen.envs.foreign.walk import DEPTH, OWN, Found, Walk, as_tensor

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

RAYS = ("bvh_shape_enabled", "bvh_shape_world_transforms", "bvh_shape_bounds", "bvh_shape_count_enabled")
"""Arrays of Newton's model that ray casts compute from the shapes; until then they hold whatever the memory held."""

RETURNED = ("obs_buf", "_obs_buffer")
"""Observations of the last step, which an agent may still hold: a restore must not write into them."""

AWAY = ("_env", "env", "sim", "_sim", "stage", "_debug_vis_handle", "_visualizer", "_IO_descriptor")
"""Attributes that lead away from the state."""

SKIPPED = frozenset((*AWAY, *RAYS, *RETURNED))

SOLVER_ARRAYS = ("qacc_warmstart", "time", "qpos", "qvel", "act", "ctrl", "qfrc_applied", "xfrc_applied", "qacc")
"""Arrays of the solver that outlive a step."""


def values(env: Any) -> Iterator[Found]:
    """Yield path, owner, key and value of everything that an open environment holds.

    Args:
        env: of Isaac Lab, unwrapped.
    """
    found = Walk(SKIPPED)
    yield from _newton(env, found)
    for name in ("articulations", "rigid_objects", "rigid_object_collections", "sensors", "terrain"):
        yield from found.values(getattr(env.scene, name, None), f"scene.{name}", env.scene, name)
    for name in MANAGERS:
        yield from found.values(getattr(env, name, None), name, env, name)
    for name, value in vars(env).items():  # last: some are buffers of the managers
        if name.startswith("_") or name in ("cfg", "extras", "scene", "sim", *MANAGERS, *RETURNED):
            continue
        if isinstance(value, torch.Tensor | bool | int | float | dict):
            yield from found.values(value, f"{OWN}.{name}", env, name)
    yield from found.values(env._sim_step_counter, f"{OWN}._sim_step_counter", env, "_sim_step_counter")


def physics_manager(simulation: Any) -> Any:
    """Return the class that computes the physics of an open simulation, which has its name until it is used."""
    named: Any = simulation.physics_manager
    return named if isinstance(named, type) else named._resolve()


def newton_manager(env: Any) -> Any:
    """Return Newton's manager, a class, of an open environment; None where another simulator computes the physics."""
    manager = physics_manager(env.sim)
    return manager if getattr(manager, "backend", None) is not None else None


def _newton(env: Any, found: Walk) -> Iterator[Found]:
    """Yield the raw state of Newton, the control, the warm start of the solver, and what events change of the model."""
    manager = newton_manager(env)
    if manager is None:
        return
    backend, solver = manager.backend, manager._solver
    for name in ("state_0", "state_1", "control"):
        yield from found.values(getattr(backend, name), f"newton.{name}", backend, name, DEPTH - 1)
    yield from found.values(getattr(manager, "_adapter", None), "newton.actuators", manager, "_adapter", 2)
    for base in manager.__mro__:  # the manager is a class: its counters and masks are attributes of classes
        for name, value in vars(base).items():
            if isinstance(value, bool | int | float) or as_tensor(value) is not None:
                yield from found.values(value, f"newton.{base.__name__}.{name}", base, name)
    data = getattr(solver, "mjw_data", None)
    for name in SOLVER_ARRAYS if data is not None else ():
        yield from found.values(getattr(data, name, None), f"newton.solver.{name}", data, name)
    for part, model in (("model", backend.model), ("solver_model", getattr(solver, "mjw_model", None))):
        for name, value in (vars(model) if model is not None else {}).items():
            tensor = as_tensor(value)
            if tensor is not None and tensor.is_floating_point() and _of_envs(name):
                yield from found.values(value, f"newton.{part}.{name}", model, name)


def _of_envs(name: str) -> bool:
    """Return whether events may change an array of the model in single environments."""
    begins = ("body_", "joint_", "shape_material", "geom_friction", "dof_", "jnt_", "actuator_", "gravity")
    return name.startswith(begins)


def read(env: Any) -> StateDict:
    """Return path -> copy of every tensor, and every number, that an environment holds."""
    return walk.read(values(env))


def write(env: Any, state: StateDict) -> None:
    """Restore what `read` returned.

    Raises:
        CheckpointError: the environment holds other values than the one whose state it is.
    """
    walk.write(values(env), state)
