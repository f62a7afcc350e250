"""Write a robot's MJCF as the USD articulation that Isaac Lab's tasks expect.

Every body is a child of the root prim, because contact sensors and terms of Isaac Lab find bodies by the pattern
`Robot/<name>`. A body with several joints hangs on small links, `<joint>_link`, one for each joint but the last.
Masses, joints, limits, gains, armature and shapes are those of the compiled MJCF. Attributes are the standard ones of
UsdPhysics, with the armature under the names that Newton and PhysX read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from regimen.envs.isaaclab import solver_attributes

DEGREES = 180.0 / math.pi

LINK_SHARE = 0.02
"""Share of a body's mass that each link between its joints has: a hinge of USD needs a body on both sides."""

LINK_RADIUS = 0.05
"""Radius in m of the solid sphere whose inertia a link has."""


@dataclass(frozen=True)
class Inertial:
    """Mass in kg, centre (3,) in m, and inertia (3, 3) about that centre in kg m², in the frame of the body."""

    mass: float
    centre: np.ndarray
    inertia: np.ndarray

    def without(self, part: Inertial) -> Inertial:
        """Return the inertial of what remains when `part`, in the same frame, is taken away."""
        mass = self.mass - part.mass
        centre = (self.mass * self.centre - part.mass * part.centre) / mass
        inertia = self.inertia + _steiner(self.mass, self.centre - centre)
        inertia = inertia - part.inertia - _steiner(part.mass, part.centre - centre)
        return Inertial(mass, centre, inertia)


def _steiner(mass: float, offset: np.ndarray) -> np.ndarray:
    """Return the inertia (3, 3) of a point mass at `offset` (3,)."""
    return mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))


def write_usd(mjcf: Path, target: Path, parts: Mapping[str, float] | None = None, solver: bool = False) -> None:
    """Write `target`, a USD file, from the robot of an MJCF file.

    Args:
        mjcf: the model; its world's geoms, such as a floor, are left out.
        target: `.usd` or `.usda`; an existing file is replaced.
        parts: geom -> mass in kg: this geom becomes a body of its own with its name, fixed to the geom's body, whose
            mass, centre and inertia are reduced by those of a solid sphere, so that both together weigh what the body
            weighed.
        solver: write passive joint damping, friction, and the parameters of contacts and limits as well, which a task
            of Isaac Lab sets by itself.
    """
    _Writer(mujoco.MjModel.from_xml_path(str(mjcf)), dict(parts or {}), solver).write(target)


class _Writer:
    def __init__(self, model: mujoco.MjModel, parts: dict[str, float], solver: bool) -> None:
        self.model, self.data, self.solver = model, mujoco.MjData(model), solver
        mujoco.mj_kinematics(model, self.data)
        self.parts = {model.geom(name).id: mass for name, mass in parts.items()}
        self.root = model.body(1)
        self.actuators = {int(model.actuator_trnid[a, 0]): a for a in range(model.nu)}

    def write(self, target: Path) -> None:
        from pxr import Usd, UsdGeom, UsdPhysics

        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.stage = Usd.Stage.CreateNew(str(target))
        UsdGeom.SetStageUpAxis(self.stage, UsdGeom.Tokens.z)
        UsdGeom.SetStageMetersPerUnit(self.stage, 1.0)
        UsdPhysics.SetStageKilogramsPerUnit(self.stage, 1.0)
        name = self.model.names[: self.model.names.index(b"\0")].decode() or "robot"
        robot = UsdGeom.Xform.Define(self.stage, f"/{name}").GetPrim()
        self.path = robot.GetPath()
        self.stage.SetDefaultPrim(robot)
        UsdPhysics.ArticulationRootAPI.Apply(robot)
        if self.solver:
            solver_attributes.write_robot(robot)
        UsdGeom.Scope.Define(self.stage, self.path.AppendChild("joints"))
        for body in range(1, self.model.nbody):
            self._body(body)
            self._joint(body)
        self.stage.GetRootLayer().Save()

    def _body(self, body: int) -> None:
        """Write a body with its shapes, and those of its geoms that become bodies of their own."""
        model, inertial = self.model, self._inertial(body)
        first = int(model.body_geomadr[body])
        geoms = range(first, first + int(model.body_geomnum[body]))
        for geom in (g for g in geoms if g in self.parts):
            inertial = inertial.without(self._part(geom))
        for _ in self._links(body):
            inertial = inertial.without(self._link(body))
        name = model.body(body).name
        self._rigid(name, self.data.xpos[body], self.data.xquat[body], inertial)
        for geom in geoms:
            if geom not in self.parts:
                self._shape(name, geom, model.geom_pos[geom], model.geom_quat[geom])
                continue
            own = model.geom(geom).name
            self._rigid(
                own, self.data.geom_xpos[geom], self.data.xquat[body], replace(self._part(geom), centre=np.zeros(3))
            )
            self._shape(own, geom, np.zeros(3), model.geom_quat[geom])
            self._fixed(name, own, model.geom_pos[geom])

    def _inertial(self, body: int) -> Inertial:
        model, turn = self.model, np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.body_iquat[body])
        axes = turn.reshape(3, 3)
        inertia = axes @ np.diag(model.body_inertia[body]) @ axes.T
        return Inertial(float(model.body_mass[body]), model.body_ipos[body].copy(), inertia)

    def _part(self, geom: int) -> Inertial:
        """Return the inertial of a geom that becomes a body: a solid sphere at its place in its present body."""
        mass, radius = self.parts[geom], float(self.model.geom_rbound[geom])
        return Inertial(mass, self.model.geom_pos[geom].copy(), 0.4 * mass * radius**2 * np.eye(3))

    def _links(self, body: int) -> list[int]:
        """Return the joints of a body but the last; each moves a link of its own."""
        first = int(self.model.body_jntadr[body])
        return list(range(first, first + int(self.model.body_jntnum[body]) - 1))

    def _link(self, body: int) -> Inertial:
        """Return the inertial of a link between the joints of a body: a solid sphere at the body's origin."""
        mass = LINK_SHARE * float(self.model.body_mass[body])
        return Inertial(mass, np.zeros(3), 0.4 * mass * LINK_RADIUS**2 * np.eye(3))

    def _rigid(self, name: str, position: np.ndarray, quat: np.ndarray, inertial: Inertial) -> None:
        """Define a rigid body at a pose of the world, relative to the robot's first body."""
        from pxr import UsdGeom, UsdPhysics

        moments, axes = np.linalg.eigh(inertial.inertia)
        axes[:, 2] *= np.linalg.det(axes)
        principal = np.zeros(4)
        mujoco.mju_mat2Quat(principal, np.ascontiguousarray(axes).reshape(9))
        prim = UsdGeom.Xform.Define(self.stage, self.path.AppendChild(name)).GetPrim()
        _place(prim, position - self.data.xpos[self.root.id], quat)
        UsdPhysics.RigidBodyAPI.Apply(prim)
        mass = UsdPhysics.MassAPI.Apply(prim)
        mass.CreateMassAttr(inertial.mass)
        mass.CreateCenterOfMassAttr(_vector(inertial.centre))
        mass.CreateDiagonalInertiaAttr(_vector(moments))
        mass.CreatePrincipalAxesAttr(_quaternion(principal))

    def _shape(self, body: str, geom: int, position: np.ndarray, quat: np.ndarray) -> None:
        """Define the shape of a geom.

        Raises:
            ValueError: its type, such as a mesh, is none of the four that this writer has.
        """
        from pxr import UsdGeom, UsdPhysics

        model = self.model
        # A member of the enum: numpy's integers compare unequal to those of MuJoCo.
        kind, size = mujoco.mjtGeom(int(model.geom_type[geom])), model.geom_size[geom]
        solid = bool(model.geom_contype[geom] or model.geom_conaffinity[geom])
        path = self.path.AppendChild(body).AppendChild(f"{'collision' if solid else 'visual'}_{geom}")
        scale = np.ones(3)
        if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            shape = UsdGeom.Sphere.Define(self.stage, path)
            shape.CreateRadiusAttr(float(size[0]))
        elif kind in (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_CYLINDER):
            known = UsdGeom.Capsule if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else UsdGeom.Cylinder
            shape = known.Define(self.stage, path)
            shape.CreateRadiusAttr(float(size[0]))
            shape.CreateHeightAttr(2.0 * float(size[1]))
            shape.CreateAxisAttr(UsdGeom.Tokens.z)
        elif kind == mujoco.mjtGeom.mjGEOM_BOX:
            shape = UsdGeom.Cube.Define(self.stage, path)
            shape.CreateSizeAttr(2.0)
            scale = size
        else:
            raise ValueError(f"geom {geom} of {body} is a {kind.name}: expected a sphere, capsule, cylinder or box")
        _place(shape.GetPrim(), position, quat, scale)
        material = int(model.geom_matid[geom])
        color = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
        shape.CreateDisplayColorAttr([_vector(color[:3])])
        if solid:
            UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
            if self.solver:
                solver_attributes.write_shape(shape.GetPrim(), self.path, model, geom)

    def _joint(self, body: int) -> None:
        """Define the joints between a body and its parent; a body without one is fixed to it, a free one has none.

        Raises:
            ValueError: a ball joint.
        """
        model, count, joint = self.model, int(self.model.body_jntnum[body]), int(self.model.body_jntadr[body])
        name = model.body(body).name
        parent = int(model.body_parentid[body])
        above = model.body(parent).name if parent else None
        position, quat = model.body_pos[body], model.body_quat[body]
        if count == 0:
            self._fixed(above, name, position, quat)
            return
        if mujoco.mjtJoint(int(model.jnt_type[joint])) == mujoco.mjtJoint.mjJNT_FREE:
            return
        for link in self._links(body):
            below = f"{model.joint(link).name}_link"
            self._rigid(below, self.data.xpos[body], self.data.xquat[body], self._link(body))
            self._moved(link, above, below, position, quat)
            above, position, quat = below, np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        self._moved(joint + count - 1, above, name, position, quat)

    def _moved(self, joint: int, above: str | None, name: str, position: np.ndarray, quat: np.ndarray) -> None:
        """Define a hinge or slide of which `name` is the lower body, at a pose of the upper one."""
        from pxr import UsdPhysics

        model, kind = self.model, mujoco.mjtJoint(int(self.model.jnt_type[joint]))
        if kind == mujoco.mjtJoint.mjJNT_BALL:
            raise ValueError(f"{model.joint(joint).name} of {name} is a {kind.name}: expected a hinge or slide")
        hinge = kind == mujoco.mjtJoint.mjJNT_HINGE
        path = self.path.AppendChild("joints").AppendChild(model.joint(joint).name)
        made = (UsdPhysics.RevoluteJoint if hinge else UsdPhysics.PrismaticJoint).Define(self.stage, path)
        made.CreateAxisAttr("X")
        unit = DEGREES if hinge else 1.0
        if model.jnt_limited[joint]:
            made.CreateLowerLimitAttr(float(model.jnt_range[joint, 0]) * unit)
            made.CreateUpperLimitAttr(float(model.jnt_range[joint, 1]) * unit)
        self._drive(made.GetPrim(), joint, "angular" if hinge else "linear", unit)
        turn, anchor = _x_axis_to(model.jnt_axis[joint]), model.jnt_pos[joint]
        self._connect(made, above, name, position, quat, anchor, turn)

    def _drive(self, prim: Any, joint: int, kind: str, unit: float) -> None:
        """Add gains, force limit and armature; those of a hinge are per degree."""
        from pxr import Sdf, UsdPhysics

        drive = UsdPhysics.DriveAPI.Apply(prim, kind)
        drive.CreateTypeAttr("force")
        actuator = self.actuators.get(joint)
        if actuator is not None:
            drive.CreateMaxForceAttr(float(self.model.actuator_forcerange[actuator, 1]))
            drive.CreateStiffnessAttr(float(self.model.actuator_gainprm[actuator, 0]) / unit)
            drive.CreateDampingAttr(float(-self.model.actuator_biasprm[actuator, 2]) / unit)
        armature = float(self.model.dof_armature[self.model.jnt_dofadr[joint]])
        for name in ("newton:armature", "physxJoint:armature"):
            prim.CreateAttribute(name, Sdf.ValueTypeNames.Float).Set(armature)
        if self.solver:
            solver_attributes.write_joint(prim, self.model, joint)

    def _fixed(self, above: str | None, name: str, position: np.ndarray, quat: np.ndarray | None = None) -> None:
        from pxr import UsdPhysics

        path = self.path.AppendChild("joints").AppendChild(f"{name}_fixed")
        made, same = UsdPhysics.FixedJoint.Define(self.stage, path), np.array([1.0, 0.0, 0.0, 0.0])
        self._connect(made, above, name, position, same if quat is None else quat, np.zeros(3), same)

    def _connect(
        self,
        joint: Any,
        above: str | None,
        name: str,
        position: np.ndarray,
        quat: np.ndarray,
        anchor: np.ndarray,
        turn: np.ndarray,
    ) -> None:
        """Set the two bodies of a joint and its frame in each; `anchor` and `turn` are in that of the lower one."""
        if above is not None:
            joint.CreateBody0Rel().SetTargets([self.path.AppendChild(above)])
        joint.CreateBody1Rel().SetTargets([self.path.AppendChild(name)])
        frame, arm = np.zeros(4), np.zeros(3)
        mujoco.mju_mulQuat(frame, quat, turn)
        mujoco.mju_rotVecQuat(arm, np.asarray(anchor, dtype=np.float64), np.asarray(quat, dtype=np.float64))
        # Without an upper body the frame is that of the world, where the robot's first body stands at the origin.
        joint.CreateLocalPos0Attr(_vector(position + arm if above is not None else arm))
        joint.CreateLocalRot0Attr(_quaternion(frame))
        joint.CreateLocalPos1Attr(_vector(anchor))
        joint.CreateLocalRot1Attr(_quaternion(turn))


def write_ground(target: Path) -> None:
    """Write a ground plane as Isaac Lab's `GroundPlaneCfg` expects it: an infinite plane, and a square to be seen."""
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics

    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Usd.Stage.CreateNew(str(target))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    plane = UsdGeom.Plane.Define(stage, "/World/CollisionPlane")
    plane.CreateAxisAttr(UsdGeom.Tokens.z)
    plane.CreatePurposeAttr(UsdGeom.Tokens.guide)
    UsdPhysics.CollisionAPI.Apply(plane.GetPrim())
    UsdGeom.Xform.Define(stage, "/World/Environment").AddScaleOp().Set(Gf.Vec3f(1, 1, 1))
    square = UsdGeom.Mesh.Define(stage, "/World/Environment/Geometry")
    square.CreatePointsAttr([(x, y, 0.0) for x, y in ((-50, -50), (50, -50), (50, 50), (-50, 50))])
    square.CreateFaceVertexCountsAttr([4])
    square.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    coordinates = UsdGeom.PrimvarsAPI(square).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "faceVarying")
    coordinates.Set([Gf.Vec2f(0, 0)] * 4)
    stage.GetRootLayer().Save()


def _place(prim: Any, position: np.ndarray, quat: np.ndarray, scale: np.ndarray | None = None) -> None:
    from pxr import Gf, UsdGeom

    moved = UsdGeom.Xformable(prim)
    moved.AddTranslateOp().Set(Gf.Vec3d(*map(float, position)))
    moved.AddOrientOp().Set(_quaternion(quat))
    moved.AddScaleOp().Set(_vector(np.ones(3) if scale is None else scale))


def _vector(values: np.ndarray) -> Any:
    from pxr import Gf

    return Gf.Vec3f(*map(float, values))


def _quaternion(quat: np.ndarray) -> Any:
    """Return a quaternion of USD for one in MuJoCo's order w, x, y, z."""
    from pxr import Gf

    return Gf.Quatf(*map(float, quat))


def _x_axis_to(axis: np.ndarray) -> np.ndarray:
    """Return the quaternion (4,) of the shortest turn from the x axis to `axis` (3,)."""
    x, axis = np.array([1.0, 0.0, 0.0]), np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    if x @ axis < -1.0 + 1e-9:
        return np.array([0.0, 0.0, 0.0, 1.0])
    quat = np.concatenate([[1.0 + x @ axis], np.cross(x, axis)])
    return quat / np.linalg.norm(quat)
