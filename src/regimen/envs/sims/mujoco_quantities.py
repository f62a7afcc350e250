"""Physical quantities of a MuJoCo model that differ between the robots of a simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch

from regimen.envs.sims.motor_parameters import GAINS, STRENGTH, MotorParameters

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

PARAMETERS = {
    "stiffness": (("actuator_gainprm", 0, 1.0), ("actuator_biasprm", 1, -1.0)),
    "damping": (("actuator_biasprm", 2, -1.0),),
    "torque_limit": (("actuator_forcerange", 0, -1.0), ("actuator_forcerange", 1, 1.0)),
}
"""Parameter of a servo -> field, component and sign, wherever the model has it."""

GRAVITY = {"gravity_x": 0, "gravity_y": 1, "gravity_z": 2}
"""Quantity -> component of `opt.gravity`."""


class ModelFields(Protocol):
    """The fields of a compiled model, some of which have a row for each of N robots.

    Attributes:
        num_envs: N.
        device: torch device of the fields.
    """

    num_envs: int
    device: torch.device

    def expand(self, name: str) -> torch.Tensor:
        """Return a field (N, …), first given a row per robot with the values of the model; writing changes it."""
        ...

    def expanded(self, name: str) -> torch.Tensor | None:
        """Return a field (N, …) that has a row per robot, None for one that all robots share."""
        ...

    def derive(self, changed: torch.Tensor) -> None:
        """Compute the constants that MuJoCo derives from `CONSTANTS`, of the robots where (N,) bool is true."""
        ...


@dataclass
class _GroundFriction:
    """Sliding friction of shapes that a factor of the ground multiplies. MuJoCo has no product of two frictions.

    Attributes:
        shapes: (N, shapes), without the factor.
        factor: (N,).
    """

    shapes: torch.Tensor
    factor: torch.Tensor


@dataclass
class _Inertia:
    """Two factors of the moments of inertia of bodies.

    Attributes:
        share: (N, bodies), mass divided by that of the model.
        factor: (N, bodies), drawn.
    """

    share: torch.Tensor
    factor: torch.Tensor


@dataclass
class _Ranges:
    """Ranges of joints that a lock replaces for a time.

    Attributes:
        own: (N, joints, 2) rad, of the model or drawn.
        imposed: (N, joints, 2) rad, what acts in their place; NaN for none.
    """

    own: torch.Tensor
    imposed: torch.Tensor


_Part = TypeVar("_Part", _GroundFriction, _Inertia, _Ranges)


class MujocoQuantities:
    """Reads the nominal values of quantities, and sets those of single robots.

    Attributes:
        gravity: (N, 3) m/s², the values of the fields; None while all robots have that of the model.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        fields: ModelFields,
        joints: Sequence[str],
        joint_ids: np.ndarray,
        servos: Sequence[int],
    ) -> None:
        """Find bodies, joints and shapes.

        Args:
            model: compiled.
            fields: of it.
            joints: of the robot.
            joint_ids: their numbers in the model.
            servos: which of them are moved by a position servo; the gains and limits of the others are not its own.
        """
        self._model, self._fields = model, fields
        self._servos = torch.tensor(servos, dtype=torch.long, device=fields.device)
        bodies = np.arange(1, model.nbody)
        names = [model.body(int(i)).name for i in bodies]
        solid = [
            i
            for i in range(model.ngeom)
            if model.geom_bodyid[i] > 0 and (model.geom_contype[i] or model.geom_conaffinity[i])
        ]
        dofs = model.jnt_dofadr[joint_ids]
        actuators = np.arange(len(joints))
        owners: dict[str, tuple[list[str], Sequence[int] | np.ndarray]] = {
            "body": (names, bodies),
            "jnt": (list(joints), joint_ids),
            "dof": (list(joints), dofs),
            "actuator": (list(joints), actuators),
            "geom": ([self._shape_name(i) for i in solid], solid),
            "opt.gravity": (["world"], [0]),
            "ground": (["ground"], [0]),
        }
        self._of = {kind: (own, self._indices(rows)) for kind, (own, rows) in owners.items()}
        self._writers: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]] = {
            "body_mass": self._set_mass,
            "body_inertia": self._set_inertia,
            **{name: partial(self._set_motors, name) for name in (*GAINS, STRENGTH)},
            "joint_low": partial(self._set_range_end, 0),
            "joint_high": partial(self._set_range_end, 1),
            "friction": self.set_friction,
            "terrain_friction": self._set_terrain_friction,
            **{name: partial(self._set_gravity, axis) for name, axis in GRAVITY.items()},
        }
        self._changed = torch.zeros(fields.num_envs, dtype=torch.bool, device=fields.device)
        self._outdated = False  # on the host, so that nothing waits for the device
        self.gravity: torch.Tensor | None = None
        self._ground: _GroundFriction | None = None
        self._motors: MotorParameters | None = None
        self._inertia: _Inertia | None = None
        self._ranges: _Ranges | None = None
        self._nominal: dict[str, torch.Tensor] = {}

    def _indices(self, rows: Sequence[int] | np.ndarray) -> torch.Tensor:
        return torch.tensor(np.array(rows, dtype=np.int64), device=self._fields.device)

    def _of_model(self, name: str) -> torch.Tensor:
        """Return a field of the model, float64 on the device."""
        if name not in self._nominal:
            option = name.removeprefix("opt.")
            values = getattr(self._model if option == name else self._model.opt, option)
            self._nominal[name] = torch.from_numpy(np.array(values)).double().to(self._fields.device)
        return self._nominal[name]

    def names(self, quantity: str) -> list[str]:
        """Return the names of the bodies, joints or shapes that have a quantity."""
        return self._owners(quantity)[0]

    def nominal(self, quantity: str) -> torch.Tensor:
        """Return the values of the model, (K,) float64 in the order of `names`."""
        rows = self._owners(quantity)[1]
        if quantity in GRAVITY:
            return self._of_model("opt.gravity")[[GRAVITY[quantity]]]
        if quantity in FIELDS:
            values = self._of_model(FIELDS[quantity].name)[rows]
            component = FIELDS[quantity].component
            return values if component is None else values[:, component]
        if quantity == "body_mass":
            return self._of_model("body_mass")[rows]
        own = {
            "stiffness": self._of_model("actuator_gainprm")[:, 0],
            "damping": -self._of_model("actuator_biasprm")[:, 2],
            "torque_limit": self._of_model("actuator_forcerange")[:, 1],
        }
        ones = torch.ones(len(rows), dtype=torch.float64, device=self._fields.device)
        return own[quantity][rows] if quantity in own else ones

    def set(self, quantity: str, ids: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> None:
        """Set a quantity of some robots.

        Args:
            quantity: its name.
            ids: (n,) robots.
            columns: (k,) indices in `names`.
            values: (n, k).
        """
        rows, values = self._owners(quantity)[1][columns], values.double()
        if quantity in self._writers:
            self._writers[quantity](ids, rows, values)
        else:
            field = FIELDS[quantity]
            array = self._fields.expand(field.name)
            if field.component is not None:
                array = array[..., field.component]
            array[ids[:, None], rows] = values.to(array.dtype)
        if quantity in ("body_mass", "body_inertia") or (quantity in FIELDS and FIELDS[quantity].is_constant):
            self._changed[ids] = True
            self._outdated = True

    def set_servos(self, quantity: str, ids: torch.Tensor, values: torch.Tensor) -> None:
        """Set a quantity of the servos of some robots `ids` (n,): values (n, J) of all joints."""
        if len(self._servos):
            self.set(quantity, ids, self._servos, values[:, self._servos])

    def torque_limits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the torque limits (n, J) in N·m that act in some robots `ids` (n,), float32."""
        limits = self._fields.expanded("actuator_forcerange")
        if limits is None:
            return self.nominal("torque_limit").float().repeat(len(ids), 1)
        return limits[ids][:, self._owners("torque_limit")[1], 1].float()

    def impose_torque_limits(self, ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Let torque limits (n, J) in N·m act in the servos of some robots `ids` (n,), NaN: those that they have."""
        if len(self._servos):
            at = (ids[:, None], self._servos)
            self._write_motors(ids, self._servos, self._drawn_motors().impose(at, limits[:, self._servos]))

    def impose_ranges(self, ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Let ranges (n, J, 2) in rad act in the joints of some robots `ids` (n,), NaN: those that they have."""
        at = (ids[:, None], self._of["jnt"][1])
        self._drawn_ranges().imposed[at] = ranges.double()
        self._write_ranges(at)

    def derive(self) -> None:
        """Compute the constants of the robots that were changed since the last call."""
        if self._outdated:
            self._fields.derive(self._changed)
            self._changed.zero_()
            self._outdated = False

    def set_friction(self, ids: torch.Tensor, rows: torch.Tensor | slice, values: torch.Tensor) -> None:
        """Set the sliding friction of some robots `ids` (n,): of the shapes `rows` (k,) of the model to (n, k)."""
        friction = self._fields.expand("geom_friction")[:, :, 0]
        at = (ids, rows) if isinstance(rows, slice) else (ids[:, None], rows)
        values = values.to(friction.dtype)
        if self._ground is None:
            friction[at] = values
        else:
            self._ground.shapes[at] = values
            friction[at] = self._ground.shapes[at] * self._ground.factor[ids, None]

    def state_dict(self) -> StateDict:
        """Return the changed fields of the model, and of what they are products, as tensors."""
        changed = {name: self._fields.expanded(name) for name in EXPANDED}
        state: StateDict = {"expanded": {n: v.clone() for n, v in changed.items() if v is not None}}
        for name, part in (("terrain_friction", self._ground), ("inertia", self._inertia), ("ranges", self._ranges)):
            if part is not None:
                state[name] = {field: values.clone() for field, values in vars(part).items()}
        if self._motors is not None:
            state["motors"] = self._motors.state_dict()
        return state

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; fields expanded since then get the values of the model.

        A state of an older version has only products: factors begin at 1, and change the products when they are drawn.
        """
        saved = state["expanded"]
        changed = [name for name in EXPANDED if name in saved or self._fields.expanded(name) is not None]
        for name in changed:
            values = self._fields.expand(name)
            values[:] = (saved[name] if name in saved else self._of_model(name)[None]).to(values.dtype)
            if name == "opt.gravity":
                self.gravity = values
        if any(name in CONSTANTS for name in changed):
            self._fields.derive(torch.ones_like(self._changed))
            self._changed.zero_()
            self._outdated = False
        self._ground = self._part(_GroundFriction, state.get("terrain_friction"))
        self._inertia = self._part(_Inertia, state.get("inertia"))
        self._ranges = self._part(_Ranges, state.get("ranges"))
        self._motors = None
        if "motors" in state:
            self._drawn_motors().load_state_dict(state["motors"])

    def _part(self, kind: type[_Part], saved: StateDict | None) -> _Part | None:
        """Return one of the dataclasses above with copies of what was saved of it, None for nothing."""
        if not saved:
            return None
        return kind(**{field: values.to(self._fields.device, copy=True) for field, values in saved.items()})

    def _owners(self, quantity: str) -> tuple[list[str], torch.Tensor]:
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

    def _write(self, field: str, at: tuple[torch.Tensor, ...], values: torch.Tensor) -> None:
        """Write values into a field, rounded to its precision."""
        array = self._fields.expand(field)
        array[at] = values.to(array.dtype)

    def _set_mass(self, ids: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
        at, nominal = (ids[:, None], rows), self._of_model("body_mass")[rows]
        masses = torch.maximum(values, 0.1 * nominal)
        self._write("body_mass", at, masses)
        self._drawn_inertia().share[at] = masses / nominal.clamp_min(1e-9)
        self._write_inertia(at)

    def _set_inertia(self, ids: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
        at = (ids[:, None], rows)
        self._drawn_inertia().factor[at] = values
        self._write_inertia(at)

    def _drawn_inertia(self) -> _Inertia:
        if self._inertia is None:
            ones = torch.ones_like(self._of_model("body_mass")).repeat(self._fields.num_envs, 1)
            self._inertia = _Inertia(ones, ones.clone())
        return self._inertia

    def _write_inertia(self, at: tuple[torch.Tensor, torch.Tensor]) -> None:
        drawn = self._drawn_inertia()
        nominal = self._of_model("body_inertia")[at[1]]
        self._write("body_inertia", at, nominal * drawn.share[at][..., None] * drawn.factor[at][..., None])

    def _set_motors(self, quantity: str, ids: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
        self._write_motors(ids, rows, self._drawn_motors().set(quantity, (ids[:, None], rows), values))

    def _drawn_motors(self) -> MotorParameters:
        if self._motors is None:
            self._motors = MotorParameters({name: self.nominal(name) for name in GAINS}, self._fields.num_envs)
        return self._motors

    def _write_motors(self, ids: torch.Tensor, rows: torch.Tensor, acting: dict[str, torch.Tensor]) -> None:
        """Write parameters of the actuators `rows` (k,) of some robots `ids` (n,): name -> (n, k)."""
        for name, values in acting.items():
            for field, component, sign in PARAMETERS[name]:
                array = self._fields.expand(field)[..., component]
                array[ids[:, None], rows] = (sign * values).to(array.dtype)

    def _set_range_end(self, end: int, ids: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
        at = (ids[:, None], rows)
        self._drawn_ranges().own[..., end][at] = values
        self._write_ranges(at)

    def _drawn_ranges(self) -> _Ranges:
        if self._ranges is None:
            own = self._of_model("jnt_range").repeat(self._fields.num_envs, 1, 1)
            self._ranges = _Ranges(own, torch.full_like(own, torch.nan))
        return self._ranges

    def _write_ranges(self, at: tuple[torch.Tensor, torch.Tensor]) -> None:
        own, imposed = (ranges[at] for ranges in (self._drawn_ranges().own, self._drawn_ranges().imposed))
        self._write("jnt_range", at, torch.where(imposed.isnan(), own, imposed))

    def _set_terrain_friction(self, ids: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
        friction = self._fields.expand("geom_friction")[:, :, 0]
        if self._ground is None:
            self._ground = _GroundFriction(friction.clone(), torch.ones_like(friction[:, 0]))
        self._ground.factor[ids] = values[:, 0].to(friction.dtype)
        friction[ids] = self._ground.shapes[ids] * self._ground.factor[ids, None]

    def _set_gravity(self, axis: int, ids: torch.Tensor, rows: torch.Tensor, values: torch.Tensor) -> None:
        self.gravity = self._fields.expand("opt.gravity")
        self.gravity[ids, axis] = values[:, 0].to(self.gravity.dtype)
