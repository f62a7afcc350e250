"""The MJCF of an imported robot, in the form of the shipped ones, and its visual meshes as STL files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy
from regimen.envs.robots.importing.result import ImportedRobot
from regimen.envs.robots.importing.shapes import Shape, VisualMesh

SCENE = Path(__file__).parents[1] / "scene.xml"
FRICTION = ".8 .005 .0001"
HIDDEN_GROUP = "3"
"""Group of collision shapes in a body with meshes: videos show the meshes."""

CAMERA = np.array([1.75, -2.0, 0.25])
"""m from the centre of mass of a robot whose base is 1 m high."""


def write_model(robot: ImportedRobot, folder: Path) -> Path:
    """Write `<name>.xml`, `scene.xml` and `meshes/`; return the path of the model."""
    meshes = folder / "meshes"
    if robot.visuals:
        meshes.mkdir(exist_ok=True)
    for i, visual in enumerate(robot.visuals):
        (meshes / f"{mesh_name(visual, i)}.stl").write_bytes(stl(visual.points, visual.faces))
    (folder / "scene.xml").write_text(SCENE.read_text(encoding="utf-8"), encoding="utf-8")
    root = model_tree(robot)
    ElementTree.indent(root)
    path = folder / f"{robot.name}.xml"
    path.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")
    return path


def mesh_name(visual: VisualMesh, number: int) -> str:
    """Return a name for a mesh that is a file name and has no other mesh."""
    return "".join(c if c.isalnum() or c in "_-" else "_" for c in f"{number}_{visual.name}")


def stl(points: np.ndarray, faces: np.ndarray) -> bytes:
    """Return a binary STL of points (k, 3) m and faces (f, 3)."""
    corners = points[faces].astype("<f4")
    record = np.zeros(len(faces), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    record["normal"] = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    record["corners"] = corners
    return bytes(80) + np.uint32(len(faces)).tobytes() + record.tobytes()


def model_tree(robot: ImportedRobot) -> ElementTree.Element:
    """Return the MJCF."""
    root = ElementTree.Element("mujoco", model=robot.name)
    root.append(ElementTree.Comment(f" Imported from {robot.file_name}; import.md has the sources of the figures. "))
    _add(root, "compiler", angle="radian", autolimits="true", meshdir="meshes")
    option = _add(root, "option", timestep="0.005", integrator="implicitfast", cone="pyramidal", solver="Newton")
    _add(option, "flag", island="disable")
    _add(root, "size", memory="1M")
    _add(root, "include", file="scene.xml")
    if robot.visuals:
        assets = _add(root, "asset")
        for i, visual in enumerate(robot.visuals):
            name = mesh_name(visual, i)
            _add(assets, "mesh", name=name, file=f"{name}.stl", inertia="shell")
    defaults = _add(root, "default")
    _add(defaults, "geom", contype="0", conaffinity="1", condim="3", priority="1", friction=FRICTION, mass="0")
    _add(defaults, "site", size=".01", group="3")
    _add(_add(defaults, "default", **{"class": "visual"}), "geom", conaffinity="0", group="2")
    _add_bodies(robot, _add(root, "worldbody"))
    actuators = _add(root, "actuator")
    for figures in robot.figures:
        _add(
            actuators,
            "position",
            name=figures.name,
            joint=figures.name,
            kp=_text([figures.stiffness.value]),
            kv=_text([figures.damping.value]),
            forcerange=_text([-figures.effort.value, figures.effort.value]),
        )
    _add_sensors(robot, root)
    return root


def _add_bodies(robot: ImportedRobot, world: ElementTree.Element) -> None:
    anatomy, model = robot.anatomy, robot.anatomy.model
    elements: dict[int, ElementTree.Element] = {}
    inertias = _inertias(robot.anatomy)
    meshed = {visual.body for visual in robot.visuals}
    scale = max(robot.spawn_height, 0.35)
    for body in anatomy.bodies:
        root = body == anatomy.base
        pos, quat = model.body_pos[body], model.body_quat[body]
        if root:
            pos, quat = _place_of_base(robot)
        element = _add(
            world if root else elements[anatomy.parent(body)],
            "body",
            name=anatomy.body_name(body),
            pos=_text(pos),
            **({} if np.allclose(quat, [1, 0, 0, 0]) else {"quat": _text(quat)}),
            **({"gravcomp": _text([model.body_gravcomp[body]])} if model.body_gravcomp[body] else {}),
        )
        elements[body] = element
        if body in inertias:
            _add(element, "inertial", **inertias[body])
        if root and robot.floating:
            _add(element, "freejoint", **({} if "root" in anatomy.names else {"name": "root"}))
        if root:
            mode = "trackcom" if robot.floating else "fixed"
            _add(element, "camera", name="track", mode=mode, pos=_text(CAMERA * scale), xyaxes=".753 .658 0 -.06 .07 1")
        for i in anatomy.joints_of(body):
            _add_joint(robot, element, i)
        for shape in (s for s in robot.shapes if s.body == body):
            _add_shape(element, shape, hidden=body in meshed)
        for number, visual in enumerate(robot.visuals):
            if visual.body == body:
                colour = _text(visual.colour)
                name = mesh_name(visual, number)
                _add(element, "geom", **{"class": "visual"}, type="mesh", mesh=name, rgba=colour)
        for foot in (f for f in robot.feet if f.body == body):
            _add(element, "site", name=f"{foot.name}_site", pos=_text(foot.sole))
        if robot.tip is not None and robot.tip[0] == body:
            _add(element, "site", name="tip", pos=_text(robot.tip[1]))


def _inertias(anatomy: Anatomy) -> dict[int, dict[str, str]]:
    """Return body -> attributes of its <inertial>, for bodies with a mass.

    A base without mass has that of the bodies fixed to it, and they have none: tasks change the mass of the base.
    """
    model = anatomy.model
    found = {
        body: (model.body_mass[body], model.body_ipos[body], model.body_iquat[body], model.body_inertia[body])
        for body in anatomy.bodies
        if model.body_mass[body] > 0
    }
    group = [body for body in anatomy.rigid_group(anatomy.base) if body in found]
    if anatomy.base not in found and group:
        found = {body: inertia for body, inertia in found.items() if body not in group}
        found[anatomy.base] = _sum_of_inertias(anatomy, group)
    return {
        body: {
            "pos": _text(pos),
            "quat": _text(quat),
            "mass": repr(float(mass)),
            "diaginertia": " ".join(repr(float(x)) for x in moments),  # exact: A + B ≥ C is checked
        }
        for body, (mass, pos, quat, moments) in found.items()
    }


def _sum_of_inertias(anatomy: Anatomy, bodies: Sequence[int]) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return mass, centre (3,) m, quaternion (4,) and moments (3,) kg·m² of bodies fixed to the base, in its frame."""
    import mujoco

    model, data = anatomy.model, mujoco.MjData(anatomy.model)
    mujoco.mj_kinematics(model, data)
    turn = data.xmat[anatomy.base].reshape(3, 3).T
    mass = model.body_mass[bodies]
    centres = (data.xipos[bodies] - data.xpos[anatomy.base]) @ turn.T
    centre = mass @ centres / mass.sum()
    axes, away = turn @ data.ximat[bodies].reshape(-1, 3, 3), centres - centre
    own = (axes * model.body_inertia[bodies][:, None]) @ axes.swapaxes(1, 2)
    shifted = (away**2).sum(1)[:, None, None] * np.eye(3) - away[:, :, None] * away[:, None]
    moments, principal = np.linalg.eigh((own + mass[:, None, None] * shifted).sum(0))
    moments[2] = min(moments[2], moments[:2].sum())  # equal for a flat body, up to rounding
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, (principal * np.sign(np.linalg.det(principal))).ravel())
    return float(mass.sum()), centre, quat, moments


def _place_of_base(robot: ImportedRobot) -> tuple[np.ndarray, np.ndarray]:
    """Return position and quaternion of the base in the world."""
    import mujoco

    if robot.floating:
        return np.array([0.0, 0.0, robot.spawn_height]), np.array([1.0, 0.0, 0.0, 0.0])
    model, base = robot.anatomy.model, robot.anatomy.base
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return data.xpos[base].copy(), data.xquat[base].copy()


def _add_joint(robot: ImportedRobot, element: ElementTree.Element, i: int) -> None:
    model, j = robot.anatomy.model, robot.anatomy.joints[i]
    dof, kind = int(model.jnt_dofadr[j]), "slide" if int(model.jnt_type[j]) == 2 else "hinge"  # mjJNT_SLIDE
    optional = {
        "damping": float(np.ravel(model.dof_damping[dof])[0]),
        "frictionloss": float(model.dof_frictionloss[dof]),
        "stiffness": float(np.ravel(model.jnt_stiffness[j])[0]),
        "ref": float(model.qpos0[int(model.jnt_qposadr[j])]),
    }
    if optional["stiffness"]:
        optional["springref"] = float(model.qpos_spring[int(model.jnt_qposadr[j])])
    _add(
        element,
        "joint",
        name=robot.figures[i].name,
        type=kind,
        axis=_text(model.jnt_axis[j]),
        pos=_text(model.jnt_pos[j]),
        range=_text(robot.anatomy.ranges[i]),
        armature=_text([robot.figures[i].armature.value]),
        **{key: _text([value]) for key, value in optional.items() if value},
    )


def _add_shape(element: ElementTree.Element, shape: Shape, hidden: bool) -> None:
    import mujoco

    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(shape.primitive.axes).ravel())
    attributes = {"group": HIDDEN_GROUP} if hidden else {"rgba": ".45 .50 .55 1"}
    size, pos = _text(shape.primitive.size), _text(shape.primitive.centre)
    _add(element, "geom", type=shape.primitive.kind, size=size, pos=pos, quat=_text(quat), **attributes)


def _add_sensors(robot: ImportedRobot, root: ElementTree.Element) -> None:
    feet = [foot.name for foot in robot.feet]
    sites = {foot: f"{foot}_site" for foot in feet} | ({"tip": "tip"} if robot.tip is not None else {})
    if not sites and not robot.fall_bodies:
        return
    sensors = _add(root, "sensor")
    for body in dict.fromkeys((*feet, *robot.fall_bodies)):
        _add(sensors, "contact", name=f"contact_{body}", body2=body, data="found force", reduce="netforce")
    for kind, prefix in (("framepos", "pos"), ("framelinvel", "vel")):
        for name, site in sites.items():
            _add(sensors, kind, name=f"{prefix}_{name}", objtype="site", objname=site)


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _text(numbers: Iterable[float]) -> str:
    return " ".join(f"{float(x) + 0.0:.9g}" for x in numbers)
