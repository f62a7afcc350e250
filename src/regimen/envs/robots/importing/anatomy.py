"""The compiled file as a tree: base, joints, kinematics in the frame in which the robot is spawned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.robots.importing.settings import ImportSettings
from regimen.envs.robots.importing.source import Source, body_name, joint_name
from regimen.system.errors import ConfigError, did_you_mean, raise_if_any

if TYPE_CHECKING:
    import mujoco

UNLIMITED = 2 * np.pi
"""Range given to a joint without one: ± this, in rad (or m)."""

LEAST_TURN = 0.01
"""rad; a frame that is turned by less counts as not turned."""


@dataclass
class Anatomy:
    """Bodies and joints of the robot in a compiled file.

    Attributes:
        model: the file as it is, compiled; its free joint, if any, is that of the base. A base that is fixed is moved
            to x = y = 0, around which tasks put their targets.
        data: scratch for its kinematics.
        base: id of the body that floats, or of the root of a fixed robot.
        floating: whether the base floats.
        bodies: ids of the base and all bodies below it, parents first.
        joints: ids of the joints that a motor moves, in the order of the model.
        names: of these joints.
        ranges: (J, 2) rad, of slides m.
        unlimited: names of joints to which the file gives no range.
        notes: one line for each thing that was left away.
        turned: how the base of a robot that floats is turned in the file, and what to change if forward and up are not
            its x and z; else empty.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    base: int
    floating: bool
    bodies: list[int]
    joints: list[int]
    names: list[str]
    ranges: np.ndarray
    unlimited: list[str]
    notes: list[str]
    turned: str = ""

    def body_name(self, body: int) -> str:
        """Return the name of a body, made from its number where the file has none."""
        return body_name(self.model, body)

    def is_slide(self, i: int) -> bool:
        """Return whether joint i of `joints` slides; its figures are in m and N instead of rad and N·m."""
        import mujoco

        return int(self.model.jnt_type[self.joints[i]]) == mujoco.mjtJoint.mjJNT_SLIDE

    def parent(self, body: int) -> int:
        """Return the body that carries `body`."""
        return int(self.model.body_parentid[body])

    def joints_of(self, body: int) -> list[int]:
        """Return the positions in `joints` of the joints between `body` and its parent."""
        return [i for i, j in enumerate(self.joints) if self.model.jnt_bodyid[j] == body]

    def path(self, body: int) -> list[int]:
        """Return the positions in `joints` of all joints between the base and `body`, from the base on."""
        found: list[int] = []
        while body not in (self.base, 0):
            found = [*self.joints_of(body), *found]
            body = self.parent(body)
        return found

    def below(self, body: int) -> list[int]:
        """Return `body` and all bodies below it."""
        found = {body}
        for other in self.bodies:
            if self.parent(other) in found:
                found.add(other)
        return sorted(found)

    def rigid_group(self, body: int) -> list[int]:
        """Return `body` and the bodies below it that are fixed to it."""
        found = {body}
        for other in self.bodies:
            if self.parent(other) in found and not self.joints_of(other):
                found.add(other)
        return sorted(found)


class Posture:
    """Kinematics of an `Anatomy` at given joint angles, in the frame of spawning.

    This frame is that of the base for a robot that floats, and the world for a fixed one.

    Attributes:
        positions: (bodies of the model, 3) m.
        rotations: (bodies of the model, 3, 3).
        anchors: (J, 3) m, of the joints.
        axes: (J, 3), of the joints.
        centres: (bodies of the model, 3) m, centres of mass.
    """

    def __init__(self, anatomy: Anatomy, angles: np.ndarray) -> None:
        """Compute the kinematics.

        Args:
            anatomy: of the robot.
            angles: (J,) rad.
        """
        import mujoco

        model, data = anatomy.model, anatomy.data
        data.qpos[:] = model.qpos0
        data.qpos[[int(model.jnt_qposadr[j]) for j in anatomy.joints]] = angles
        mujoco.mj_kinematics(model, data)
        turn, origin = np.eye(3), np.zeros(3)
        if anatomy.floating:
            turn, origin = data.xmat[anatomy.base].reshape(3, 3).T, data.xpos[anatomy.base].copy()
        self.positions = (data.xpos - origin) @ turn.T
        self.rotations = turn @ data.xmat.reshape(-1, 3, 3)
        self.anchors = (data.xanchor[anatomy.joints] - origin) @ turn.T
        self.axes = data.xaxis[anatomy.joints] @ turn.T
        self.centres = (data.xipos - origin) @ turn.T

    def place(self, body: int, points: np.ndarray) -> np.ndarray:
        """Return points (k, 3) of a body in the frame of spawning."""
        return points @ self.rotations[body].T + self.positions[body]


def read_anatomy(source: Source, model: mujoco.MjModel, settings: ImportSettings) -> Anatomy:
    """Return the tree of a file that `compile_simulated` returns.

    Raises:
        ConfigError: there is no body `--base`, joints are between it and the world, or a joint without a name cannot
            have that of its body.
    """
    import mujoco

    free = [int(model.jnt_bodyid[j]) for j in range(model.njnt) if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE]
    names = [model.body(i).name for i in range(model.nbody)]
    moved = [j for j in range(model.njnt) if model.jnt_type[j] != mujoco.mjtJoint.mjJNT_FREE]
    floating = bool(free) or (source.kind == "URDF" and not settings.fixed_base)
    if settings.base is not None and settings.base not in names[1:]:
        raise ConfigError(f"--base {settings.base}: no such body. {did_you_mean(settings.base, names[1:])}")
    if settings.base is not None:
        base = names.index(settings.base)
    else:
        base = free[0] if free else _default_base(model, int(model.body_rootid[model.jnt_bodyid[moved[0]]]))
    if free and settings.fixed_base:
        joint = next(model.joint(j).name for j in range(model.njnt) if j not in moved)
        raise ConfigError(
            f"--fixed-base: the body `{names[free[0]]}` has a free joint. Remove it by --drop {joint or 'joint[0]'}."
        )
    if free and base != free[0]:
        raise ConfigError(f"--base {names[base]}: the free joint is that of `{names[free[0]]}`. Leave --base away.")
    bodies, above = [base], []
    for body in range(base + 1, model.nbody):
        if int(model.body_parentid[body]) in bodies:
            bodies.append(body)
    outside = [model.joint(j).name for j in moved if int(model.jnt_bodyid[j]) not in bodies]
    if not free and any(model.jnt_bodyid[j] == base for j in moved) and floating:
        outside += [model.joint(j).name for j in moved if model.jnt_bodyid[j] == base]
    if outside:
        raise ConfigError(
            f"The joints {', '.join(outside)} are between the world and the base `{names[base]}`. Choose a --base "
            f"above them, or weld them by --drop {','.join(outside)}."
        )
    above = [n or f"body_{i}" for i, n in enumerate(names) if i and i not in bodies]
    notes = [f"bodies without joints, which are not below the base, left away: {', '.join(above)}"] if above else []
    limited = model.jnt_limited[moved].astype(bool) & (np.ptp(model.jnt_range[moved], axis=1) > 0)
    ranges = np.where(limited[:, None], model.jnt_range[moved], [-UNLIMITED, UNLIMITED])
    own = [joint_name(model, j) for j in moved]
    raise_if_any(_names_twice(model, moved, own))
    unlimited = [name for name, has in zip(own, limited, strict=True) if not has]
    planes = _planes(model)
    notes += [f"{len(planes)} planes or height fields left away: the ground is Regimen's"] if planes else []
    ignored = {"cameras": model.ncam, "lights": model.nlight, "skins": model.nskin, "textures": model.ntex}
    ignored |= {"sensors": model.nsensor, "contact exclusions": model.nexclude, "contact pairs": model.npair}
    ignored["shapes of the world"] = int((model.geom_bodyid == 0).sum()) - len(planes)
    if counts := [f"{number} {what}" for what, number in ignored.items() if number]:
        notes.append(f"left away: {', '.join(counts)}")
    anatomy = Anatomy(model, mujoco.MjData(model), base, floating, bodies, moved, own, ranges, unlimited, notes)
    _check_mass_of_base(anatomy)
    if not floating:
        anatomy.notes += _centre_base(anatomy)
    if floating:
        anatomy.turned = _turn_of_base(anatomy, free=bool(free))
        anatomy.notes += [anatomy.turned] if anatomy.turned else []
    return anatomy


def _check_mass_of_base(anatomy: Anatomy) -> None:
    """Note that a base without mass is written with that of the bodies fixed to it.

    Raises:
        ConfigError: the base floats, and these have no mass either.
    """
    mass, name = anatomy.model.body_mass, anatomy.body_name(anatomy.base)
    heavy = [anatomy.body_name(body) for body in anatomy.rigid_group(anatomy.base) if mass[body] > 0]
    if anatomy.floating and not heavy:
        raise ConfigError(
            f"The body `{name}` floats, and neither it nor a body that is fixed to it has a mass. Give one of them an "
            f"<inertial>, or name another base: --base <body>. An arm is imported with --fixed-base."
        )
    if heavy and mass[anatomy.base] <= 0:
        what = f"the inertia of what is fixed to it ({', '.join(heavy)})"
        anatomy.notes.append(f"`{name}` has no mass: written with {what}")


def _names_twice(model: mujoco.MjModel, joints: list[int], names: list[str]) -> list[str]:
    """Return a line for each joint without a name whose `names`, made from that of its body, another joint has."""
    lines = []
    for j, name in zip(joints, names, strict=True):
        if not model.joint(j).name and names.count(name) > 1:
            body = model.body(int(model.jnt_bodyid[j]))
            where = f"`{body.name}`" if body.name else f"a body without a name in `{model.body(body.parentid[0]).name}`"
            axis = " ".join(f"{x:.3g}" for x in model.jnt_axis[j])
            lines.append(
                f"joint[{j}] of {where}, with the axis {axis}, has no name, and another joint has the name `{name}`, "
                f'made from its body. Give it a name in the file: <joint name="…" axis="{axis}">'
            )
    return lines


def _centre_base(anatomy: Anatomy) -> list[str]:
    """Move a robot that is fixed to x = y = 0, and return a note if it was elsewhere."""
    import mujoco

    model, data = anatomy.model, anatomy.data
    mujoco.mj_kinematics(model, data)
    x, y = data.xpos[anatomy.base, :2]
    model.body_pos[model.body_rootid[anatomy.base], :2] -= (x, y)
    return [f"base: moved to x = y = 0 from x = {x:.3g} m, y = {y:.3g} m"] if np.hypot(x, y) > 1e-6 else []


def _turn_of_base(anatomy: Anatomy, free: bool) -> str:
    """Return `Anatomy.turned`: a robot is spawned with x of its base forward and z up.

    Args:
        anatomy: of a robot that floats.
        free: whether the file has a free joint.
    """
    import mujoco

    model, data, name = anatomy.model, anatomy.data, anatomy.body_name(anatomy.base)
    data.qpos[:] = model.qpos0
    mujoco.mj_kinematics(model, data)
    quat = data.xquat[anatomy.base]
    if (angle := _angle(quat)) < LEAST_TURN:
        return ""
    root = anatomy.body_name(int(model.body_rootid[anatomy.base]))
    if free:
        other, body = "the world", f'<body name="{name}" quat="{" ".join(f"{x:.4g}" for x in quat)}">'
        change = f'put it into a body of the file that is not turned: <body name="root"><freejoint/>{body} …'
    elif root == name:  # MuJoCo takes a link of this name for the world
        other, change = "the link `world`", "give that link another name in the file, such as base_link"
    else:
        other, change = f"`{root}`", f"--base {root}"
    turned = f"turned by {np.degrees(angle):.0f} degrees against {other} in the file"
    return f"base: `{name}` is {turned}; forward and up are x and z of `{name}`. For those of {other}: {change}"


def _angle(quat: np.ndarray) -> float:
    """Return the angle of a rotation in rad, 0 to π."""
    return float(2 * np.arctan2(np.linalg.norm(quat[1:]), abs(quat[0])))


def _planes(model: mujoco.MjModel) -> list[int]:
    import mujoco

    kinds = (int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD))
    return [g for g in range(model.ngeom) if int(model.geom_type[g]) in kinds]


def _default_base(model: mujoco.MjModel, root: int) -> int:
    """Return the root, or the body to which frames without mass, geometry and another body lead from there.

    A body that is turned against its frame is none of these: forward and up are x and z of the root.
    """
    body = root
    while not (model.body_mass[body] > 0 or model.body_geomnum[body] or model.body_jntnum[body]):
        below = np.flatnonzero(model.body_parentid == body)
        if len(below) != 1 or model.body_jntnum[below[0]] or _angle(model.body_quat[below[0]]) >= LEAST_TURN:
            break
        body = int(below[0])
    return body
