"""State of an environment of mjlab: MuJoCo Warp's data, the randomized fields of its model, entities and managers.

mjlab has no complete state: its own runner stores the number of steps. Here the objects are walked from the
environment, see `regimen.envs.foreign.walk`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.foreign import walk
from regimen.envs.foreign.walk import FOREIGN, OWN, Found, Walk, as_tensor

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

MANAGERS = (
    "action_manager",
    "command_manager",
    "curriculum_manager",
    "event_manager",
    "metrics_manager",
    "observation_manager",
    "reward_manager",
    "termination_manager",
)

SKIPPED = frozenset(("_env", "_cached_data", "_cache_valid", "_obs_buffer"))
"""Attributes that lead away from the state, that sensors compute from it at the next reading, and observations, whose
tensors an agent may still hold."""

ELSEWHERE = (*FOREIGN, "mujoco_warp", "mjlab.sim", "mjlab.sensor.sensor_context", "mjlab.viewer")
"""Packages and modules whose objects are not walked."""

RECOMPUTED = ("efc_", "island_", "map_", "qL")
"""Beginnings of the names of large arrays that each physics step computes before it reads them."""


def values(env: Any) -> Iterator[Found]:
    """Yield path, owner, key and value of everything that an open environment holds.

    Args:
        env: of mjlab, unwrapped.
    """
    found, sim = Walk(SKIPPED, ELSEWHERE), env.sim
    for name, value in vars(sim.wp_data).items():
        tensor = None if name.startswith(RECOMPUTED) else as_tensor(value)
        if tensor is not None and tensor.dim() and len(tensor) == env.num_envs:
            yield from found.values(value, f"data.{name}", sim.wp_data, name)
    for name in sorted(sim.expanded_fields):
        yield from found.values(getattr(sim.wp_model, name), f"model.{name}", sim.wp_model, name)
    for name in ("entities", "sensors"):
        yield from found.values(getattr(env.scene, name), f"scene.{name}", env.scene, name)
    for name in MANAGERS:
        yield from found.values(getattr(env, name), name, env, name)
    for name, value in vars(env).items():  # last: some are buffers of the managers
        public = not name.startswith("_") or name == "_sim_step_counter"
        if (
            public
            and name not in ("cfg", "extras", "obs_buf")
            and isinstance(value, torch.Tensor | bool | int | float | dict)
        ):
            yield from found.values(value, f"{OWN}.{name}", env, name)


def read(env: Any) -> StateDict:
    """Return path -> copy of every tensor, and every number, that an environment holds."""
    return walk.read(values(env))


def write(env: Any, state: StateDict) -> None:
    """Restore what `read` returned.

    Raises:
        CheckpointError: the environment holds other values than the one whose state it is.
    """
    walk.write(values(env), state)
    for sensor in env.scene.sensors.values():
        sensor._invalidate_cache()
