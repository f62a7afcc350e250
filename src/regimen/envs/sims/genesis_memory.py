"""Solver state of Genesis in addition to positions and velocities.

Without it a restored robot continues within rounding only. Found by restoring every array of the solver and leaving out
one after the other, Genesis 1.4.5: the inertia of links in the frame of the centre of mass, which a step reuses from
the one before; the order of the broad phase, in which contacts are summed; the last contact normals; and the warm start
of the constraint solver.
"""

from __future__ import annotations

from typing import Any

import torch

MEMORY = (
    "dyn_state.links.cinr_inertial",
    "dyn_state.dofs.acc",
    "collider.collider_state.first_time",
    "collider.collider_state.sort_buffer.value",
    "collider.collider_state.sort_buffer.i_l",
    "collider.collider_state.sort_buffer.is_max",
    "collider.collider_state.contact_cache.normal",
    "collider.collider_state.contact_cache.penetration",
    "constraint_solver.constraint_state.is_warmstart",
    "constraint_solver.constraint_state.qacc_ws",
)
"""Paths from the rigid solver of a scene to its arrays."""


def save(solver: Any) -> dict[str, torch.Tensor]:
    """Return a copy of the arrays in `MEMORY`, by path.

    Args:
        solver: `scene.rigid_solver`.
    """
    return {path: view(solver, path).clone() for path in MEMORY}


def restore(solver: Any, memory: dict[str, torch.Tensor]) -> None:
    """Restore the result of `save`, after positions and velocities, whose setters clear these arrays.

    Args:
        solver: `scene.rigid_solver` of a scene of the same size.
        memory: result of `save`.
    """
    for path, saved in memory.items():
        view(solver, path).copy_(saved)


def view(solver: Any, path: str, transpose: bool = False) -> torch.Tensor:
    """Return an array of the solver as a tensor that shares its memory.

    Args:
        solver: `scene.rigid_solver`.
        path: names from the solver to the array.
        transpose: environments first; Genesis keeps them last.
    """
    from genesis.utils.misc import qd_to_torch

    for name in path.split("."):
        solver = getattr(solver, name)
    return qd_to_torch(solver, transpose=transpose, copy=False)
