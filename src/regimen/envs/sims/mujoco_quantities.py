"""Physical quantities of a MuJoCo model that differ between the robots of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    import mujoco

    from regimen.runs.checkpoint_header import StateDict


@dataclass(frozen=True)
class _Field:
    """A field of the model, or one component of it.

    Attributes:
        name: of the field.
        component: index in the last dimension; None for a field of single numbers.
        is_constant: whether MuJoCo derives constants of the model from it.
    """

    name: str
    component: int | None = None
    is_constant: bool = False


FIELDS = {
    "com_x": _Field("body_ipos", 0, True),
    "com_y": _Field("body_ipos", 1, True),
    "com_z": _Field("body_ipos", 2, True),
    "link_x": _Field("body_pos", 0, True),
    "link_y": _Field("body_pos", 1, True),
    "link_z": _Field("body_pos", 2, True),
    "joint_friction": _Field("dof_frictionloss"),
    "joint_damping": _Field("dof_damping"),
    "armature": _Field("dof_armature", None, True),
    "joint_spring": _Field("jnt_stiffness"),
    "joint_low": _Field("jnt_range", 0),
    "joint_high": _Field("jnt_range", 1),
    "friction": _Field("geom_friction", 0),
    "torsional_friction": _Field("geom_friction", 1),
    "rolling_friction": _Field("geom_friction", 2),
    "contact_time": _Field("geom_solref", 0),
    "contact_damping": _Field("geom_solref", 1),
    "contact_depth": _Field("geom_solimp", 2),
    "contact_margin": _Field("geom_margin"),
    "shape_size": _Field("geom_size", 0, True),
}

EXPANDED = (
    *dict.fromkeys(field.name for field in FIELDS.values()),
    *("body_mass", "body_inertia", "actuator_gainprm", "actuator_biasprm", "actuator_forcerange", "opt.gravity"),
)
"""Fields that events change per robot; they are saved with the state when they have been."""

CONSTANTS = ("body_mass", "body_inertia", "body_ipos", "body_pos", "dof_armature", "geom_size")
"""Those of them from which MuJoCo derives constants, such as the bounds outside of which a shape touches nothing."""

GRAVITY = {"gravity_x": 0, "gravity_y": 1, "gravity_z": 2}
"""Quantity -> component of `opt.gravity`."""


@dataclass
class _GroundFriction:
    """Sliding friction of shapes that a factor of the ground multiplies. MuJoCo has no product of two frictions.

    Attributes:
        shapes: (N, shapes), without the factor.
        factor: (N,).
    """

    shapes: np.ndarray
    factor: np.ndarray


class MujocoQuantities:
    """Reads the nominal values of quantities, and sets those of single robots.

    Attributes:
        gravity: (N, 3) m/s², the values of the batch; None while all robots have that of the model.
    """

    def __init__(
        self, model: mujoco.MjModel, batch: Any, joints: Sequence[str], joint_ids: np.ndarray, servos: Sequence[int]
    ) -> None:
        """Find bodies, joints and shapes.

        Args:
            model: compiled.
            batch: of it.
            joints: of the robot.
            joint_ids: their numbers in the model.
            servos: which of them are moved by a position servo; the gains and limits of the others are not its own.
        """
        self._model, self._batch = model, batch
        self._servos = np.array(servos, dtype=int)
        bodies = np.arange(1, model.nbody)
        names = [model.body(int(i)).name for i in bodies]
        solid = [
            i
            for i in range(model.ngeom)
            if model.geom_bodyid[i] > 0 and (model.geom_contype[i] or model.geom_conaffinity[i])
        ]
        dofs = model.jnt_dofadr[joint_ids]
        actuators = np.arange(len(joints))
        self._of: dict[str, tuple[list[str], np.ndarray]] = {
            "body": (names, bodies),
            "jnt": (list(joints), np.asarray(joint_ids)),
            "dof": (list(joints), np.asarray(dofs)),
            "actuator": (list(joints), actuators),
            "geom": ([self._shape_name(i) for i in solid], np.array(solid)),
            "opt.gravity": (["world"], np.array([0])),
            "ground": (["ground"], np.array([0])),
        }
        self._writers: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], None]] = {
            "body_mass": self._set_mass,
            "body_inertia": self._set_inertia,
            "stiffness": self._set_stiffness,
            "damping": self._set_damping,
            "torque_limit": self._set_limit,
            "motor_strength": self._set_strength,
            "friction": lambda ids, rows, values: self.set_friction(ids, np.asarray(rows), values),
            "terrain_friction": self._set_terrain_friction,
            **{name: partial(self._set_gravity, axis) for name, axis in GRAVITY.items()},
        }
        self._changed: set[int] = set()
        self.gravity: np.ndarray | None = None
        self._ground: _GroundFriction | None = None

    def names(self, quantity: str) -> list[str]:
        """Return the names of the bodies, joints or shapes that have a quantity."""
        return self._owners(quantity)[0]

    def nominal(self, quantity: str) -> np.ndarray:
        """Return the values of the model, (K,) in the order of `names`."""
        model, rows = self._model, self._owners(quantity)[1]
        if quantity in GRAVITY:
            return np.array(model.opt.gravity[[GRAVITY[quantity]]])
        if quantity in FIELDS:
            values = getattr(model, FIELDS[quantity].name)[rows]
            component = FIELDS[quantity].component
            return np.array(values if component is None else values[:, component])
        own = {
            "body_mass": model.body_mass,
            "stiffness": model.actuator_gainprm[:, 0],
            "damping": -model.actuator_biasprm[:, 2],
            "torque_limit": model.actuator_forcerange[:, 1],
        }
        return np.array(own[quantity][rows]) if quantity in own else np.ones(len(rows))

    def set(self, quantity: str, ids: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        """Set a quantity of some robots.

        Args:
            quantity: its name.
            ids: (n,) robots.
            columns: (k,) indices in `names`.
            values: (n, k).
        """
        rows = self._owners(quantity)[1][columns]
        if quantity in self._writers:
            self._writers[quantity](ids, rows, values)
        else:
            field = FIELDS[quantity]
            array, at = self._batch.expand(field.name), (ids[:, None], rows)
            array[at if field.component is None else (*at, field.component)] = values
        if quantity in ("body_mass", "body_inertia") or (quantity in FIELDS and FIELDS[quantity].is_constant):
            self._changed.update(ids.tolist())

    def set_servos(self, quantity: str, ids: np.ndarray, values: np.ndarray) -> None:
        """Set a quantity of the servos of some robots `ids` (n,): values (n, J) of all joints."""
        if len(self._servos):
            self.set(quantity, ids, self._servos, values[:, self._servos])

    def derive(self) -> None:
        """Compute the constants of the robots that were changed since the last call."""
        if self._changed:
            self._batch.set_const(np.array(sorted(self._changed)))
            self._changed.clear()

    def set_friction(self, ids: np.ndarray, rows: np.ndarray | slice, values: np.ndarray) -> None:
        """Set the sliding friction of some robots `ids` (n,): of the shapes `rows` (k,) of the model to (n, k)."""
        friction = self._batch.expand("geom_friction")[:, :, 0]
        at = (ids, rows) if isinstance(rows, slice) else (ids[:, None], rows)
        if self._ground is None:
            friction[at] = values
        else:
            self._ground.shapes[at] = values
            friction[at] = self._ground.shapes[at] * self._ground.factor[ids, None]

    def state_dict(self) -> StateDict:
        """Return the changed fields of the model as tensors."""
        changed = {name: self._batch.expanded(name) for name in EXPANDED}
        state = {"expanded": {n: torch.from_numpy(np.array(v)) for n, v in changed.items() if v is not None}}
        if self._ground is not None:
            parts = {"shapes": self._ground.shapes, "factor": self._ground.factor}
            state["terrain_friction"] = {name: torch.from_numpy(part.copy()) for name, part in parts.items()}
        return state

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; fields expanded since then get the values of the model."""
        saved = state["expanded"]
        changed = [name for name in EXPANDED if name in saved or self._batch.expanded(name) is not None]
        for name in changed:
            option = name.removeprefix("opt.")
            nominal = getattr(self._model if option == name else self._model.opt, option)
            values = self._batch.expand(name)
            values[:] = saved[name].numpy() if name in saved else nominal[None]
            if name == "opt.gravity":
                self.gravity = values
        if any(name in CONSTANTS for name in changed):
            self._batch.set_const()
        ground = state.get("terrain_friction")
        self._ground = ground and _GroundFriction(**{name: part.numpy().copy() for name, part in ground.items()})

    def _owners(self, quantity: str) -> tuple[list[str], np.ndarray]:
        if quantity in FIELDS:
            return self._of[FIELDS[quantity].name.partition("_")[0]]
        if quantity in GRAVITY or quantity == "terrain_friction":
            return self._of["opt.gravity" if quantity in GRAVITY else "ground"]
        return self._of["body" if quantity in ("body_mass", "body_inertia") else "actuator"]

    def _shape_name(self, i: int) -> str:
        if name := self._model.geom(i).name:
            return str(name)
        body = int(self._model.geom_bodyid[i])
        return f"{self._model.body(body).name}_{i - int(self._model.body_geomadr[body])}"

    def _set_mass(self, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        at, nominal = (ids[:, None], rows), self._model.body_mass[rows]
        masses = np.maximum(values, 0.1 * nominal)
        self._batch.expand("body_mass")[at] = masses
        share = (masses / np.maximum(nominal, 1e-9))[..., None]
        self._batch.expand("body_inertia")[at] = self._model.body_inertia[rows] * share

    def _set_inertia(self, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        self._batch.expand("body_inertia")[(ids[:, None], rows)] = self._model.body_inertia[rows] * values[..., None]

    def _set_stiffness(self, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        at = (ids[:, None], rows)
        self._batch.expand("actuator_gainprm")[(*at, 0)] = values
        self._batch.expand("actuator_biasprm")[(*at, 1)] = -values

    def _set_damping(self, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        self._batch.expand("actuator_biasprm")[(ids[:, None], rows, 2)] = -values

    def _set_limit(self, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        at, limits = (ids[:, None], rows), self._batch.expand("actuator_forcerange")
        limits[(*at, 0)], limits[(*at, 1)] = -values, values

    def _set_strength(self, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        model = self._model
        self._set_stiffness(ids, rows, model.actuator_gainprm[rows, 0] * values)
        self._set_damping(ids, rows, -model.actuator_biasprm[rows, 2] * values)
        self._set_limit(ids, rows, model.actuator_forcerange[rows, 1] * values)

    def _set_terrain_friction(self, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        friction = self._batch.expand("geom_friction")[:, :, 0]
        if self._ground is None:
            self._ground = _GroundFriction(friction.copy(), np.ones(len(friction)))
        self._ground.factor[ids] = values[:, 0]
        friction[ids] = self._ground.shapes[ids] * values

    def _set_gravity(self, axis: int, ids: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        self.gravity = self._batch.expand("opt.gravity")
        self.gravity[ids, axis] = values[:, 0]
