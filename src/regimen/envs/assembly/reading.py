"""Measured state of the assembly scenes, read for all envs at once, and the observations made of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from mujoco.batch import Batch

    from regimen.envs.assembly.scene import Scene
    from regimen.runs.checkpoint_header import StateDict

LOOKING_DOWN = np.diag([1.0, -1.0, -1.0])
"""Rotation of the hand that looks down, as of the site `reference` of panda.xml."""


@dataclass(frozen=True)
class Term:
    """Values of an observation.

    Attributes:
        size: number of values.
        unit: of the quantity.
        scale: factor from the quantity in its unit to the observed value.
        offset: subtracted before the scale.
        clip: bound on the absolute observed value, or None.
    """

    size: int
    unit: str
    scale: float
    offset: tuple[float, ...] = (0.0,)
    clip: float | None = None

    def meaning(self) -> dict[str, Any]:
        """Return the entry of `IOSpec.meaning`."""
        return {"scale": self.scale, "clip": self.clip, "unit": self.unit, "offset": list(self.offset)}


PROPRIOCEPTION = {
    "position": Term(3, "m", 1 / 0.03, (0.0, 0.0, 0.06)),
    "rotation": Term(3, "rad", 1 / 0.2),
    "velocity": Term(3, "m/s", 1 / 0.1),
    "angular_velocity": Term(3, "rad/s", 1 / 0.5),
    "opening": Term(1, "m", 1 / 0.02, (0.01,)),
    "force": Term(3, "N", 1 / 10.0, clip=3.0),
    "torque": Term(3, "N·m", 1 / 0.5, clip=3.0),
    "target_position": Term(3, "m from the measured position", 1 / 0.01),
    "target_rotation": Term(3, "rad from the measured rotation", 1 / 0.06),
}
PRIVILEGED = {
    "part_position": Term(3, "m from the seat", 1 / 0.03),
    "part_position_fine": Term(3, "m from the seat", 1 / 0.003, clip=3.0),
    "part_tilt": Term(2, "rad", 1 / 0.1),
    "tooth_phase": Term(2, "sine and cosine", 1.0),
}


_TERMS = [*PROPRIOCEPTION.values(), *PRIVILEGED.values()]
_SCALE = np.concatenate([np.full(term.size, term.scale) for term in _TERMS])
_OFFSET = np.concatenate([np.broadcast_to(term.offset, term.size) for term in _TERMS])
_BOUND = np.concatenate([np.full(term.size, np.inf if term.clip is None else term.clip) for term in _TERMS])
_PROPRIOCEPTIVE = sum(term.size for term in PROPRIOCEPTION.values())


PHASES = ("approach", "align", "insert")
"""Names of the values of the label `phase`."""


@dataclass
class Reading:
    """Measured state of N scenes, one physics step behind the simulator, in float64.

    Attributes:
        position: (N, 3) of the tool centre point from the nominal place of the fixture, in m.
        rotation: (N, 3) rotation vector of the hand from the pose that looks down, in its frame, in rad.
        motion: (N, 6) linear and angular velocity of the tool centre point in the world, in m/s and rad/s.
        opening: (N, 1) half of the distance between the fingers, in m.
        wrench: (N, 6) force and torque at the wrist in N and N·m.
        part_position: (N, 3) of the part from its seat, in m.
        part_tilt: (N, 2) x and y of the direction of the part's axis.
        part_phase: (N,) by how much the teeth fail to mesh, within ±π; 0 without teeth.
        away: (N,) distance of the part from its place in the hand, in m.
    """

    position: np.ndarray
    rotation: np.ndarray
    motion: np.ndarray
    opening: np.ndarray
    wrench: np.ndarray
    part_position: np.ndarray
    part_tilt: np.ndarray
    part_phase: np.ndarray
    away: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """(N,) distance of the part from its seat, in m."""
        return np.linalg.norm(self.part_position, axis=1)

    @property
    def lateral(self) -> np.ndarray:
        """(N,) distance of the part from the axis of its seat, in m."""
        return np.hypot(self.part_position[:, 0], self.part_position[:, 1])

    def seated(self, lateral: float, height: float, tilt: float) -> np.ndarray:
        """Return whether the part is seated within tolerances in m, m and rad, (N,) bool."""
        flat = np.hypot(self.part_tilt[:, 0], self.part_tilt[:, 1]) < tilt
        return (self.lateral < lateral) & (self.part_position[:, 2] < height) & flat

    def phase(self, near_axis: float, insertion: float) -> np.ndarray:
        """Return the index into `PHASES` of each env, (N,) int16.

        Args:
            near_axis: distance from the axis below which the part is near it, in m.
            insertion: height above the seat below which a part on the axis is being inserted, in m.
        """
        near = self.lateral < near_axis
        inside = near & (self.part_position[:, 2] < insertion)
        return (near.astype(np.int16) + inside).astype(np.int16)

    def observed(self, target: np.ndarray, target_rotation: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the groups `policy` (N, 25) and `privileged` (N, 10), with the targets (N, 3) of the controller."""
        place, turned, part = self.position, self.rotation, self.part_position
        own = (place, turned, self.motion, self.opening, self.wrench, target - place, target_rotation - turned)
        phase = self.part_phase[:, None]
        seen = (part, part, self.part_tilt, np.sin(phase), np.cos(phase))
        values = (np.concatenate((*own, *seen), 1) - _OFFSET) * _SCALE
        values = np.minimum(np.maximum(values, -_BOUND), _BOUND).astype(np.float32)
        groups = {"policy": values[:, :_PROPRIOCEPTIVE], "privileged": values[:, _PROPRIOCEPTIVE:]}
        return {name: torch.from_numpy(columns.copy()) for name, columns in groups.items()}

    def state_dict(self) -> StateDict:
        """Return all arrays as tensors."""
        return {f.name: torch.from_numpy(getattr(self, f.name).copy()) for f in fields(self)}

    @classmethod
    def from_state(cls, state: StateDict) -> Reading:
        """Return the reading of `state_dict`."""
        return cls(**{name: values.numpy().copy() for name, values in state.items()})


class Reader:
    """Reads the scenes of a batch.

    Attributes:
        fingers: columns (2,) of `qpos` of the fingers.
        part_qpos: first column of `qpos` of the part.
        second_gear: column of `qpos` of the second gear; -1 without one.
    """

    def __init__(self, batch: Batch, scene: Scene, teeth: int) -> None:
        """Bind what is read.

        Args:
            batch: N scenes.
            scene: of the batch.
            teeth: of the gear.
        """
        model = scene.model
        self._teeth, self._hold = teeth, scene.hold
        self._tcp, self._reference = model.site("tcp").id, model.site("reference").id
        self._part, self._seat = model.site("part").id, model.site("seat").id
        self._place, self._turned = batch.bind("site_xpos"), batch.bind("site_xmat")
        self._sensors, self._qpos = batch.bind("sensordata"), batch.bind("qpos")
        self.fingers = np.array([model.joint(f"finger_{k}").qposadr[0] for k in (1, 2)])
        self.part_qpos = int(model.joint("part").qposadr[0])
        self.second_gear = int(model.joint("second_gear").qposadr[0]) if teeth else -1

    def tcp(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return position (n, 3) and rotation (n, 3, 3) of the tool centre point of the envs `ids` (n,), copies."""
        return self._place[ids, self._tcp], self._turned[ids, self._tcp].reshape(-1, 3, 3)

    def read(self) -> Reading:
        """Return the state of all envs, as copies."""
        place = self._place
        tcp, part, n = place[:, self._tcp], place[:, self._part], len(place)
        hand = self._turned[:, self._tcp].reshape(n, 3, 3)
        turned = self._turned[:, self._part].reshape(n, 3, 3)
        axis = turned[:, :, 2]
        phase = np.zeros(n)
        if self._teeth:
            yaw = np.arctan2(turned[:, 1, 0], turned[:, 0, 0])
            phase = self._teeth * (yaw + self._qpos[:, self.second_gear]) - np.pi * (self._teeth + 1)
            phase = (phase + np.pi) % (2 * np.pi) - np.pi
        return Reading(
            position=tcp - place[:, self._reference],
            rotation=rotation_vector(LOOKING_DOWN @ hand),
            motion=self._sensors[:, 6:12].copy(),
            opening=self._qpos[:, self.fingers[:1]],
            wrench=self._sensors[:, :6].copy(),
            part_position=part - place[:, self._seat],
            part_tilt=axis[:, :2].copy(),
            part_phase=phase,
            away=np.linalg.norm(part + self._hold * axis - tcp, axis=1),
        )


def rotation_vector(matrices: np.ndarray) -> np.ndarray:
    """Return the rotation vectors (n, 3) in rad of rotation matrices (n, 3, 3) by less than π."""
    m = matrices
    twice = np.stack((m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]), 1)
    sine = np.sqrt((twice * twice).sum(1)) / 2
    angle = np.arctan2(sine, (m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2] - 1) / 2)
    factor = np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1.0) / 2
    return twice * factor[:, None]


def rotation_matrix(vectors: np.ndarray) -> np.ndarray:
    """Return the rotation matrices (n, 3, 3) of rotation vectors (n, 3) in rad, by Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    x, y, z = (vectors / np.maximum(angle[:, 0], 1e-12)).T
    zero = np.zeros_like(x)
    cross = np.stack((zero, -z, y, z, zero, -x, -y, x, zero), 1).reshape(-1, 3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def to_quaternion(vectors: np.ndarray) -> np.ndarray:
    """Return the unit quaternions (n, 4), w first, of rotation vectors (n, 3) in rad."""
    angle = np.linalg.norm(vectors, axis=1, keepdims=True)
    axis = vectors / np.maximum(angle, 1e-12)
    return np.concatenate((np.cos(angle / 2), np.sin(angle / 2) * axis), 1)
