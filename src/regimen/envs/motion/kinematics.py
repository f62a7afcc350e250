"""Positions of bodies from joint angles, in torch: the same function for clips and robots, on every simulator.

MuJoCo's own body positions are those of the physics step before, and other simulators do not offer them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from regimen.envs.robots.model_check import compile_model
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.envs.robots.robot import Robot


@dataclass
class _Joint:
    column: int
    anchor: torch.Tensor | None  # (3,) m, None where it is the origin of the body


@dataclass
class _Link:
    parent: int  # index among the links, -1 for the base
    offset: torch.Tensor  # (3,) m
    turn: torch.Tensor | None  # (3, 3), None for the identity
    joints: list[_Joint]


class Kinematics:
    """Forward kinematics of some bodies of a robot with hinges, in the frame of its base.

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
        import mujoco

        model = compile_model(robot)
        names = [model.body(i).name for i in range(model.nbody)]
        self.bodies, base = list(bodies), names.index(robot.base_body)
        as_tensor = {"device": device, "dtype": dtype}
        links: dict[int, int] = {}  # body id -> index among the links
        self._links: list[_Link] = []
        columns: list[int] = []
        axes: list[list[float]] = []
        for body in self.bodies:
            if body not in names:
                raise ConfigError(f"The robot `{robot.name}` has no body `{body}`. {did_you_mean(body, names[1:])}")
            chain, ancestor = [], names.index(body)
            while ancestor not in (base, 0):
                chain.append(ancestor)
                ancestor = int(model.body_parentid[ancestor])
            for link in [i for i in reversed(chain) if i not in links]:
                joints = []
                for j in range(int(model.body_jntadr[link]), int(model.body_jntadr[link]) + int(model.body_jntnum[link])):
                    if model.jnt_type[j] != mujoco.mjtJoint.mjJNT_HINGE:
                        raise ConfigError(f"The joint {model.joint(j).name} of `{robot.name}` is no hinge.")
                    anchor = torch.tensor(model.jnt_pos[j], **as_tensor)
                    joints.append(_Joint(len(columns), anchor if anchor.any() else None))
                    columns.append(robot.joints.index(model.joint(j).name))
                    axes.append(model.jnt_axis[j].tolist())
                turn = torch.zeros(9, dtype=torch.float64)
                mujoco.mju_quat2Mat(turn.numpy(), model.body_quat[link])
                matrix = None if torch.equal(turn, torch.eye(3, dtype=torch.float64).ravel()) else turn.view(3, 3)
                offset = torch.tensor(model.body_pos[link], **as_tensor)
                parent = links.get(int(model.body_parentid[link]), -1)
                links[link] = len(self._links)
                self._links.append(_Link(parent, offset, None if matrix is None else matrix.to(**as_tensor), joints))
        self._targets = [links.get(names.index(body), -1) for body in self.bodies]
        self._columns = torch.tensor(columns, dtype=torch.long, device=device)
        axis = torch.tensor(axes, **as_tensor).view(-1, 3)
        x, y, z = axis.unbind(1)
        zero = torch.zeros_like(x)
        self._cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), 1).view(-1, 3, 3)
        self._square = self._cross @ self._cross

    def positions(self, joint_pos: torch.Tensor) -> torch.Tensor:
        """Return the origins of the bodies, (N, K, 3) m in the base frame, at joint angles (N, J) rad."""
        angle = joint_pos[:, self._columns, None, None]
        # Rodrigues' formula for all joints at once
        turns = angle.sin() * self._cross + (1.0 - angle.cos()) * self._square
        turns.diagonal(dim1=-2, dim2=-1).add_(1.0)
        count = len(joint_pos)
        origin = joint_pos.new_zeros(count, 3)
        at: list[torch.Tensor] = []
        frames: list[torch.Tensor | None] = []
        for link in self._links:
            frame, position = (frames[link.parent], at[link.parent]) if link.parent >= 0 else (None, origin)
            position = position + (link.offset if frame is None else frame @ link.offset)
            if link.turn is not None:
                frame = link.turn.expand(count, 3, 3) if frame is None else frame @ link.turn
            for joint in link.joints:
                turn = turns[:, joint.column]
                turned = turn if frame is None else frame @ turn
                if joint.anchor is not None:
                    before = joint.anchor if frame is None else frame @ joint.anchor
                    position = position + before - turned @ joint.anchor
                frame = turned
            at.append(position)
            frames.append(frame)
        return torch.stack([at[i] if i >= 0 else origin for i in self._targets], dim=1)
