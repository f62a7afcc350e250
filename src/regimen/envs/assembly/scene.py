"""The MuJoCo model of the assembly tasks: `panda.xml` with a held part and its fixture, all of primitives.

A round pin goes into a round bore: the pin is the shaft of the fixture and the bore that of the held gear, or the pin
is the held peg and the bore the hole of the fixture. A bore is a ring of 12 boxes, so contacts are analytic or convex.
The origin of the part's frame, the site `part`, is at the site `seat` when the part is seated, and its z axis points
up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import mujoco

PANDA = Path(__file__).with_name("panda.xml")

NOMINAL_PLACE = np.array([0.5, 0.0, 0.0])
"""Of the fixture in the world, in m; the site `reference` of panda.xml."""

PIN_RADIUS = 0.005
PARKED = np.array([0.0, 0.0, 0.2])
"""Of the part in the compiled model, above the fixture, in m."""

INSERTION = 0.018
"""Depth in m by which the pin enters the bore: the part's height above its seat when it begins to."""

CHAMFER = 0.0015
PLATE_HEIGHT = 0.010
BORE_SIDES = 12

GEAR_HALF = 0.005
"""Half of the thickness of a gear, in m."""

PITCH_RADIUS = 0.020
ROOT_RADIUS = 0.0175
TIP_RADIUS = 0.0213
TOOTH_RADIUS = 0.0013
"""Of the capsule of a tooth of a gear of 20 teeth, in m."""

PEG_LENGTH = 0.022
"""Below the grasp, in m."""

HOLE_OUTER_RADIUS = 0.016

GRASP_HALF_WIDTH = 0.0085
"""Of the box between the fingers, in m."""

GRASP_HEIGHT = 0.016
GRASP_ABOVE_CENTRE = 0.0015
"""Height of the tool centre point above the middle of the grasp, in m."""

TRIANGLES_OF_A_SIDE = ((0, 1, 2), (1, 3, 2))


@dataclass
class Scene:
    """A compiled model.

    Attributes:
        model: the model.
        hold: height of the tool centre point above the part's origin when it is grasped without slip, in m.
        bore: ids (12,) of the boxes round the bore.
        bore_outer: distance of their outer faces from the axis, in m.
        touching: ids of the geoms of part and fixture, which have the friction of the task.
    """

    model: mujoco.MjModel
    hold: float
    bore: np.ndarray
    bore_outer: float
    touching: np.ndarray

    def bore_boxes(self, clearance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions (n, 12, 3) and half sizes (n, 12, 3) of the boxes round bores with `clearance` (n,) in m."""
        inner = PIN_RADIUS + clearance[:, None]
        sizes = np.repeat(self.model.geom_size[self.bore][None], len(clearance), 0)
        places = np.repeat(self.model.geom_pos[self.bore][None], len(clearance), 0)
        sizes[..., 0] = (self.bore_outer - inner) / 2
        places[..., :2] = ((self.bore_outer + inner) / 2)[..., None] * _directions(BORE_SIDES, 0.5)
        return places, sizes


def build(part: str, teeth: int, clearance: float, friction: float) -> Scene:
    """Return the model of a task.

    Args:
        part: `gear` or `peg`.
        teeth: of the gear; 0 for a plain disc without a second gear.
        clearance: radial, in m, the lowest of the task: the boxes round the bore can only become smaller, so that their
            bounding volumes stay valid.
        friction: sliding friction between part and fixture.
    """
    import mujoco

    spec = mujoco.MjSpec.from_file(str(PANDA))
    for name in ("held", "fixture"):
        spec.find_default(name).geom.friction[0] = friction
    fixture = spec.worldbody.add_body(name="fixture", mocap=True, pos=NOMINAL_PLACE)
    held = spec.worldbody.add_body(name="part", pos=NOMINAL_PLACE + PARKED, explicitinertial=True)
    held.add_freejoint(name="part")
    held.add_site(name="part")
    builder = _Builder(spec, held, fixture, PIN_RADIUS + clearance)
    builder.plate()
    grasp_above = builder.gear(teeth) if part == "gear" else builder.peg()
    builder.grasp(grasp_above)
    model = spec.compile()
    names = [model.geom(i).name for i in range(model.ngeom)]
    bore = np.array([i for i, name in enumerate(names) if name.startswith("bore_")])
    touching = np.flatnonzero((model.geom_contype | model.geom_conaffinity) & 3)
    outer = ROOT_RADIUS if part == "gear" else HOLE_OUTER_RADIUS
    return Scene(model, grasp_above + GRASP_ABOVE_CENTRE, bore, outer, touching)


class _Builder:
    """Adds part and fixture to a model.

    Attributes:
        bore: radius of the bore at the lowest clearance, in m.
    """

    def __init__(self, spec: Any, held: Any, fixture: Any, bore: float) -> None:
        from mujoco import mjtGeom

        self.spec, self.held, self.fixture, self.bore = spec, held, fixture, bore
        self.box, self.cylinder = mjtGeom.mjGEOM_BOX, mjtGeom.mjGEOM_CYLINDER
        self.capsule, self.mesh = mjtGeom.mjGEOM_CAPSULE, mjtGeom.mjGEOM_MESH

    def add(self, body: Any, default: str, **attributes: Any) -> None:
        """Add a geom of the default class `default`."""
        body.add_geom(self.spec.find_default(default), **attributes)

    def plate(self) -> None:
        """Add the plate of the fixture."""
        half = PLATE_HEIGHT / 2
        size, place = [0.06, 0.05, half], [0.015, 0.0, half]
        self.add(self.fixture, "fixture", name="plate", type=self.box, size=size, pos=place, group=2, material="plate")

    def gear(self, teeth: int) -> float:
        """Add the held gear, the shaft and the second gear; return the height of the grasp above the gear's origin.

        Only the disc has walls round the bore: that of the hub, which is grasped, is wider.
        """
        self._inertia(self.held, 0.06, 0.004, [1.5e-5, 1.5e-5, 1.6e-5])
        self.fixture.add_site(name="seat", pos=[0.0, 0.0, PLATE_HEIGHT + GEAR_HALF])
        self._pin(self.fixture, "fixture", PLATE_HEIGHT, INSERTION, up=True, material="steel")
        self._bore(self.held, "held", 0.0, GEAR_HALF, ROOT_RADIUS)
        self._teeth(self.held, "held", teeth)
        self._shown(self.held, "wheel", _wheel(teeth, self.bore), GEAR_HALF, 0.0, "held")
        if teeth:
            self._second_gear(teeth)
        return GEAR_HALF + GRASP_HEIGHT / 2

    def _second_gear(self, teeth: int) -> None:
        """Add a gear that turns freely on a shaft of its own, beside the seat."""
        place = [2 * PITCH_RADIUS, 0.0, PLATE_HEIGHT + GEAR_HALF]
        shaft = {"size": [PIN_RADIUS, INSERTION / 2, 0.0], "pos": [place[0], 0.0, PLATE_HEIGHT + INSERTION / 2]}
        self.add(self.fixture, "show", type=self.cylinder, material="steel", **shaft)
        body = self.fixture.add_body(name="second_gear", pos=place, gravcomp=1.0, explicitinertial=True)
        self._inertia(body, 0.05, 0.0, [8e-6, 8e-6, 1.2e-5])
        body.add_joint(name="second_gear", armature=1e-5, damping=[2e-4, 0.0, 0.0], frictionloss=5e-4)
        self.add(body, "fixture", type=self.cylinder, size=[ROOT_RADIUS, GEAR_HALF, 0.0])
        self._teeth(body, "fixture", teeth)
        self._shown(body, "second_wheel", _wheel(teeth, PIN_RADIUS), GEAR_HALF, 0.0, "second")
        self.spec.add_exclude(bodyname1="fixture", bodyname2="second_gear")

    def peg(self) -> float:
        """Add the held peg and the hole; return the height of the grasp above the tip of the peg, its origin."""
        self._inertia(self.held, 0.05, 0.02, [8e-6, 8e-6, 4e-6])
        self.fixture.add_site(name="seat", pos=[0.0, 0.0, PLATE_HEIGHT])
        self._pin(self.held, "held", 0.0, PEG_LENGTH, up=False, material="steel")
        half = INSERTION / 2
        self._bore(self.fixture, "fixture", PLATE_HEIGHT + half, half, HOLE_OUTER_RADIUS)
        outline = np.stack((HOLE_OUTER_RADIUS * _directions(48), self.bore * _directions(48)))
        self._shown(self.fixture, "hole", outline, half, PLATE_HEIGHT + half, "second")
        return PEG_LENGTH + GRASP_HEIGHT / 2

    def grasp(self, above: float) -> None:
        """Add the box that the pads touch, `above` m above the part's origin."""
        size = [GRASP_HALF_WIDTH, GRASP_HALF_WIDTH, GRASP_HEIGHT / 2]
        self.add(self.held, "grasp", name="grasp", type=self.box, size=size, pos=[0.0, 0.0, above])
        self.add(self.held, "show", type=self.box, size=size, pos=[0.0, 0.0, above], material="held")

    def _inertia(self, body: Any, mass: float, height: float, diagonal: list[float]) -> None:
        body.mass, body.ipos, body.inertia = mass, [0.0, 0.0, height], diagonal

    def _pin(self, body: Any, default: str, foot: float, length: float, *, up: bool, material: str) -> None:
        """Add a cylinder of `length` m from the height `foot` on, with a chamfer at its upper or lower end."""
        rings = [(PIN_RADIUS, 0.0), (PIN_RADIUS - CHAMFER, CHAMFER)]
        corners = [np.column_stack((r * _directions(16), np.full(16, z))) for r, z in rings]
        self.spec.add_mesh(name="chamfer", uservert=np.concatenate(corners).ravel())
        straight = (length - CHAMFER) / 2
        middle = foot + straight if up else foot + CHAMFER + straight
        tip = [0.0, 0.0, foot + length - CHAMFER] if up else [0.0, 0.0, foot + CHAMFER]
        common: dict[str, Any] = {"group": 2, "material": material}
        cylinder = {"size": [PIN_RADIUS, straight, 0.0], "pos": [0.0, 0.0, middle]}
        self.add(body, default, name="pin", type=self.cylinder, **cylinder, **common)
        turn = [1.0, 0.0, 0.0, 0.0] if up else [0.0, 1.0, 0.0, 0.0]
        self.add(body, default, name="chamfer", type=self.mesh, meshname="chamfer", pos=tip, quat=turn, **common)

    def _bore(self, body: Any, default: str, height: float, half: float, outer: float) -> None:
        """Add the boxes round the bore; the middle of their height is `height` m above the body's origin."""
        size = [(outer - self.bore) / 2, outer * math.tan(math.pi / BORE_SIDES), half]
        middle = (outer + self.bore) / 2
        for k, (x, y) in enumerate(_directions(BORE_SIDES, 0.5)):
            place = [middle * x, middle * y, height]
            self.add(body, default, name=f"bore_{k}", type=self.box, size=size, pos=place, quat=_about_z(x, y))

    def _teeth(self, body: Any, default: str, teeth: int) -> None:
        """Add a vertical capsule on the pitch circle for each tooth: its round ends let two gears slide together."""
        radius = TOOTH_RADIUS * 20 / max(teeth, 1)
        for x, y in _directions(teeth):
            place = [PITCH_RADIUS * x, PITCH_RADIUS * y, 0.0]
            self.add(body, default, type=self.capsule, size=[radius, GEAR_HALF - radius, 0.0], pos=place)

    def _shown(self, body: Any, name: str, outline: np.ndarray, half: float, height: float, material: str) -> None:
        """Add a prism for show: outlines (2, K, 2), the outer and the inner one, and half of its height."""
        outer, inner = outline
        count = len(outer)
        corners = [np.column_stack((ring, np.full(count, z))) for ring in (outer, inner) for z in (-half, half)]
        faces = []
        # Rings: 0 outer below, 1 outer above, 2 inner below, 3 inner above; each pair bounds a face, seen from outside.
        for first, second in ((0, 1), (1, 3), (3, 2), (2, 0)):
            for k in range(count):
                following = (k + 1) % count
                square = (first * count + k, first * count + following, second * count + k, second * count + following)
                faces += [[square[corner] for corner in triangle] for triangle in TRIANGLES_OF_A_SIDE]
        self.spec.add_mesh(name=name, uservert=np.concatenate(corners).ravel(), userface=np.array(faces).ravel())
        self.add(body, "show", type=self.mesh, meshname=name, pos=[0.0, 0.0, height], material=material)


def _directions(count: int, offset: float = 0.0) -> np.ndarray:
    """Return unit vectors (count, 2) spread over the circle; the first is `offset` steps from the x axis."""
    angle = 2 * math.pi * (np.arange(count) + offset) / max(count, 1)
    return np.stack((np.cos(angle), np.sin(angle)), 1)


def _about_z(x: float, y: float) -> list[float]:
    """Return the quaternion of the rotation about z that turns the x axis to the direction (x, y)."""
    half = math.atan2(y, x) / 2
    return [math.cos(half), 0.0, 0.0, math.sin(half)]


def _wheel(teeth: int, bore: float) -> np.ndarray:
    """Return the outlines (2, K, 2) of a gear: its teeth and its bore; a disc for 0 teeth."""
    if not teeth:
        return np.stack((ROOT_RADIUS * _directions(48), bore * _directions(48)))
    radii = np.tile([ROOT_RADIUS, TIP_RADIUS, TIP_RADIUS, ROOT_RADIUS], teeth)
    angle = 2 * math.pi / teeth * (np.repeat(np.arange(teeth), 4) + np.tile([-0.26, -0.16, 0.16, 0.26], teeth))
    direction = np.stack((np.cos(angle), np.sin(angle)), 1)
    return np.stack((radii[:, None] * direction, bore * direction))
