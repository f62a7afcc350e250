"""Positions of bodies from joint angles, in torch: the same function for clips and robots, on every simulator.

MuJoCo's own body positions are those of the physics step before, and other simulators do not offer them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.envs.robots.model_check import compile_model
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mujoco

    from regimen.envs.robots.robot import Robot

BASE = -1
"""Parent of the first hinges of a robot."""


@dataclass
class _Hinge:
    """One joint of the tree. Its frame is turned by its own angle, with the origin on its axis.

    Attributes:
        column: of the angle among the joints.
        parent: index among the hinges, or `BASE`.
        offset: (3,) m, origin in the frame of the parent.
        turn: (3, 3), orientation in the frame of the parent at angle 0.
        axis: (3,).
    """

    column: int
    parent: int
    offset: np.ndarray
    turn: np.ndarray
    axis: np.ndarray


class Kinematics:
    """Forward kinematics of some bodies of a robot with hinges, in the frame of its base.

    The tree is computed level by level, all limbs of a level in one product: for a humanoid's hands and feet seven
    products of matrices instead of nineteen.

    Attributes:
        bodies: names of the K bodies.
    """

    def __init__(
        self, robot: Robot, bodies: Sequence[str], device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        """Read lengths and axes from the robot's MJCF.

        Args:
            robot: names the MJCF and the base.
            bodies: whose origins are computed.
            device: of the result.
            dtype: of the result.

        Raises:
            ConfigError: the model has no such body, or a joint above it that is no hinge.
        """
        self.bodies, self._device, self._dtype = list(bodies), device, dtype
        hinges, points = _tree(robot, bodies)
        depth: list[int] = []
        for hinge in hinges:
            depth.append(1 if hinge.parent == BASE else depth[hinge.parent] + 1)
        used = {i for node, _ in points for i in _ancestors(hinges, node)}
        order = sorted(used, key=lambda i: depth[i])
        # Row 0 of frames and origins is the base; those of the hinges follow level by level.
        row = {BASE: 0} | {i: 1 + k for k, i in enumerate(order)}
        self._columns = torch.tensor([hinges[i].column for i in order], dtype=torch.long, device=device)
        turn = self._constant([hinges[i].turn for i in order]).view(-1, 3, 3)
        cross = self._constant([_cross(hinges[i].axis) for i in order]).view(-1, 3, 3)
        # Rodrigues' formula of all hinges: turn + sin(angle) turn K + (1 - cos(angle)) turn K²
        parts = (turn, turn @ cross, turn @ cross @ cross)
        self._turn, self._sin, self._cos = (part.permute(1, 2, 0).contiguous() for part in parts)
        levels = sorted({depth[i] for i in order})
        rows = [[i for i in order if depth[i] == level] for level in levels]
        self._levels = [
            (
                slice(row[level[0]] - 1, row[level[-1]]),
                torch.tensor([row[hinges[i].parent] for i in level], device=device),
                self._constant([hinges[i].offset for i in level]).view(-1, 3).t(),
            )
            for level in rows
        ]
        self._point_rows = torch.tensor([row[node] for node, _ in points], dtype=torch.long, device=device)
        self._points = self._constant([point for _, point in points]).view(-1, 3).t()

    def _constant(self, values: list[np.ndarray]) -> torch.Tensor:
        return torch.tensor(np.array(values), dtype=self._dtype, device=self._device)

    def positions(self, joint_pos: torch.Tensor) -> torch.Tensor:
        """Return the origins of the bodies, (N, K, 3) m in the base frame, at joint angles (N, J) rad."""
        angle = joint_pos.t()[
            self._columns
        ]  # (hinges, N); the batch is last, which is the fast order for small products
        sin, rest = angle.sin(), 1.0 - angle.cos()
        turns = self._turn[..., None] + sin * self._sin[..., None] + rest * self._cos[..., None]  # (3, 3, hinges, N)
        count = len(joint_pos)
        frames = torch.eye(3, dtype=self._dtype, device=self._device)[:, :, None, None].expand(3, 3, 1, count)
        origins = joint_pos.new_zeros(3, 1, count)
        for hinges, parents, offsets in self._levels:
            parent = frames[:, :, parents]
            origins = torch.cat((origins, origins[:, parents] + _applied(parent, offsets)), dim=1)
            frames = torch.cat((frames, _product(parent, turns[:, :, hinges])), dim=2)
        points = origins[:, self._point_rows] + _applied(frames[:, :, self._point_rows], self._points)
        return points.permute(2, 1, 0)


def _applied(frames: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Return points (3, L) turned by matrices (3, 3, L, N), as (3, L, N)."""
    return (frames * points[None, :, :, None]).sum(1)


def _product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the products of matrices (3, 3, L, N)."""
    return one[:, 0, None] * other[0] + one[:, 1, None] * other[1] + one[:, 2, None] * other[2]


def _tree(robot: Robot, bodies: Sequence[str]) -> tuple[list[_Hinge], list[tuple[int, np.ndarray]]]:
    """Return the hinges above some bodies, parents first, and for each body its hinge and its point (3,) there."""
    model = compile_model(robot)
    names = [model.body(i).name for i in range(model.nbody)]
    hinges: list[_Hinge] = []
    # Body id -> the last hinge above it, and orientation and origin of the body in the frame of that hinge.
    frames: dict[int, tuple[int, np.ndarray, np.ndarray]] = {
        names.index(robot.base_body): (BASE, np.eye(3), np.zeros(3))
    }
    points = []
    for body in bodies:
        if body not in names:
            raise ConfigError(f"The robot `{robot.name}` has no body `{body}`. {did_you_mean(body, names[1:])}")
        chain, ancestor = [], names.index(body)
        while ancestor not in frames:
            if ancestor == 0:
                raise ConfigError(f"The body `{body}` of the robot `{robot.name}` is not below `{robot.base_body}`.")
            chain.append(ancestor)
            ancestor = int(model.body_parentid[ancestor])
        for link in reversed(chain):
            frames[link] = _add_body(model, link, frames[int(model.body_parentid[link])], robot, hinges)
        node, _, point = frames[names.index(body)]
        while node != BASE and not point.any():  # an origin on its own axis does not move with that joint
            node, point = hinges[node].parent, hinges[node].offset
        points.append((node, point))
    return hinges, points


def _add_body(
    model: mujoco.MjModel,
    body: int,
    parent: tuple[int, np.ndarray, np.ndarray],
    robot: Robot,
    hinges: list[_Hinge],
) -> tuple[int, np.ndarray, np.ndarray]:
    """Append the hinges of a body; return its frame, as `_tree` keeps it, from that of its parent."""
    import mujoco

    node, turn, origin = parent
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, model.body_quat[body])
    origin, turn = origin + turn @ model.body_pos[body], turn @ matrix.reshape(3, 3)
    for j in range(int(model.body_jntadr[body]), int(model.body_jntadr[body]) + int(model.body_jntnum[body])):
        name, anchor = model.joint(j).name, model.jnt_pos[j]
        if model.jnt_type[j] != mujoco.mjtJoint.mjJNT_HINGE:
            raise ConfigError(f"The joint {name} of `{robot.name}` is no hinge; motion clips need hinges.")
        hinges.append(_Hinge(robot.joints.index(name), node, origin + turn @ anchor, turn, model.jnt_axis[j].copy()))
        node, turn, origin = len(hinges) - 1, np.eye(3), -anchor
    return node, turn, origin


def _ancestors(hinges: list[_Hinge], node: int) -> list[int]:
    return [] if node == BASE else [node, *_ancestors(hinges, hinges[node].parent)]


def _cross(axis: np.ndarray) -> np.ndarray:
    """Return the matrix (3, 3) of the cross product with `axis` (3,)."""
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
