"""Poses of a clip in the robot's MuJoCo model: all body positions, and the height of the soles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.robots.model_check import compile_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    import mujoco

    from regimen.envs.motion.clip import MotionClip
    from regimen.envs.robots.robot import Robot


class ModelPoses:
    """The model of a robot, set to the poses of clips.

    Attributes:
        robot: the robot.
        model: its compiled MJCF.
        bodies: names of the bodies below the base, base first.
        joint_range: (J, 2) rad.
    """

    def __init__(self, robot: Robot) -> None:
        """Compile the model of `robot`, which has a floating base.

        Raises:
            ConfigError: the model does not match the robot.
        """
        import mujoco

        self.robot, self.model = robot, compile_model(robot)
        self._data = mujoco.MjData(self.model)
        self._ids = list(range(int(self.model.body(robot.base_body).id), self.model.nbody))
        self.bodies = [self.model.body(i).name for i in self._ids]
        self.joint_range = self.model.jnt_range[-len(robot.joints) :].copy()

    def set_to(self, clip: MotionClip) -> Iterator[mujoco.MjData]:
        """Yield the simulation at each frame of a clip, kinematics up to date."""
        import mujoco

        for frame in range(clip.frames):
            self._data.qpos[:3] = clip.root_pos[frame]
            self._data.qpos[3:7] = clip.root_quat[frame]
            self._data.qpos[7:] = clip.joint_pos[frame]
            mujoco.mj_kinematics(self.model, self._data)
            yield self._data

    def body_positions(self, clip: MotionClip) -> np.ndarray:
        """Return the origins (F, B, 3) m of `bodies`, world frame."""
        return np.stack([data.xpos[self._ids].copy() for data in self.set_to(clip)])

    def sole_height(self, clip: MotionClip) -> np.ndarray:
        """Return the height (F,) m of the lowest point of all shapes that touch the floor: of a walker, a sole."""
        own = range(self.model.ngeom)
        shapes = [g for g in own if self.model.geom_bodyid[g] in self._ids and self.model.geom_conaffinity[g]]
        kinds, sizes = self.model.geom_type[shapes], self.model.geom_size[shapes]
        return np.array(
            [_lowest(kinds, sizes, data.geom_xpos[shapes], data.geom_xmat[shapes]).min() for data in self.set_to(clip)]
        )

    def sliding(self, clip: MotionClip) -> float:
        """Return the mean horizontal speed in m/s of the foot that is lowest in each frame; 0 without feet."""
        if not self.robot.feet:
            return 0.0
        sites = [self.model.site(f"{foot}_site").id for foot in self.robot.feet]
        feet = np.stack([data.site_xpos[sites].copy() for data in self.set_to(clip)])  # (F, feet, 3)
        lowest = feet[:-1, :, 2].argmin(axis=1)
        moved = np.linalg.norm(np.diff(feet[..., :2], axis=0), axis=2)[np.arange(clip.frames - 1), lowest]
        return float(moved.mean()) * clip.fps


def _lowest(kinds: np.ndarray, sizes: np.ndarray, positions: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the lowest height (G,) of shapes: kinds (G,), sizes (G, 3), positions (G, 3), rotations (G, 9)."""
    import mujoco

    down = np.abs(frames.reshape(-1, 3, 3)[:, 2])  # height of each axis of the shape
    reach = {
        mujoco.mjtGeom.mjGEOM_SPHERE: sizes[:, 0],
        mujoco.mjtGeom.mjGEOM_CAPSULE: sizes[:, 0] + down[:, 2] * sizes[:, 1],
        mujoco.mjtGeom.mjGEOM_CYLINDER: np.sqrt(np.maximum(1 - down[:, 2] ** 2, 0)) * sizes[:, 0]
        + down[:, 2] * sizes[:, 1],
        mujoco.mjtGeom.mjGEOM_ELLIPSOID: np.sqrt(((down * sizes) ** 2).sum(1)),
        mujoco.mjtGeom.mjGEOM_BOX: (down * sizes).sum(1),
    }  # fmt: skip
    extent = np.zeros(len(kinds))
    for kind, values in reach.items():
        extent = np.where(kinds == kind.value, values, extent)
    return positions[:, 2] - extent
