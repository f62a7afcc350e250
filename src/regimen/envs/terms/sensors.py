"""Observation terms that are sensors: distances along rays, accelerations, contacts of the feet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from regimen.envs.robot_state import GRAVITY
from regimen.envs.rotations import inverse, rotate, to_matrix
from regimen.envs.symmetry import mirrors
from regimen.envs.terms.rewards import CONTACT_N
from regimen.envs.terrain.ray_caster import RayCaster
from regimen.envs.terrain.ray_pattern import (
    FIELD_OF_VIEW,
    HEIGHT,
    MAX_DISTANCE,
    WIDTH,
    PinholePattern,
    RayList,
    RayPattern,
)
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv


class _Rays:
    """Rays of a sensor that is fixed to the base of each robot."""

    def __init__(self, env: TermEnv, name: str, pattern: RayPattern, offset: Sequence[float], far: float) -> None:
        """Prepare the rays.

        Args:
            env: the task.
            name: of the term, for the message.
            pattern: directions.
            offset: place in the frame of the base in m.
            far: largest distance in m.

        Raises:
            ConfigError: the values describe no sensor.
        """
        if problems := pattern.problems():
            raise ConfigError(f"{name}: {'; '.join(problems)}.")
        self._env, self._caster = env, RayCaster(None if env.terrain is None else env.terrain.ground, far)
        self._directions = torch.tensor(pattern.directions(), device=env.device)
        self._offset = torch.tensor([float(v) for v in offset], device=env.device)

    def distances(self) -> torch.Tensor:
        """Return the distances (N, R) m to the ground."""
        state = self._env.state
        turn = to_matrix(state.root_quat).permute(2, 1, 0)  # (N, 3, 3), transposed
        return self._caster.cast(state.root_pos + self._offset @ turn, self._directions @ turn)


@mirrors("ray_distances")
class ray_distances:  # noqa: N801 - as the other terms
    """Distances to the ground along rays from a sensor that is fixed to the base, (N, R) m.

    Rays meet the ground of the task alone, not the robot. Where they do not meet it, they read as `max_distance`.
    """

    def __init__(
        self,
        env: TermEnv,
        rays: list[list[float]],
        offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
        max_distance: float = MAX_DISTANCE,
    ) -> None:
        """Prepare the rays.

        Args:
            env: the task.
            rays: direction [x, y, z] of each ray in the frame of the base, of any length.
            offset: place of the sensor in the frame of the base in m.
            max_distance: largest reading in m.

        Raises:
            ConfigError: the values describe no sensor.
        """
        self._rays = _Rays(env, "ray_distances", RayList(rays, offset, max_distance), offset, max_distance)

    def __call__(self) -> torch.Tensor:
        """Return (N, R)."""
        return self._rays.distances()


@mirrors("depth_image")
class depth_image:  # noqa: N801 - as the other terms
    """Depth of the ground in each pixel of a camera that is fixed to the base, (N, height x width) m, row by row.

    Depth is measured along the optical axis, as depth cameras do. Rays meet the ground of the task alone, not the
    robot. Where there is none before `max_distance`, a pixel reads as `max_distance`.
    """

    def __init__(
        self,
        env: TermEnv,
        width: int = WIDTH,
        height: int = HEIGHT,
        fov: float = FIELD_OF_VIEW,
        pitch: float = 0.0,
        offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
        max_distance: float = MAX_DISTANCE,
    ) -> None:
        """Prepare the rays.

        Args:
            env: the task.
            width: pixels in a row; the first is the leftmost.
            height: rows; the first is the highest.
            fov: horizontal field of view in degrees; pixels are square.
            pitch: angle by which the camera looks below the x axis of the base in degrees.
            offset: place of the camera in the frame of the base in m.
            max_distance: largest depth in m.

        Raises:
            ConfigError: the values describe no camera.
        """
        pattern = PinholePattern(width, height, fov, pitch, offset, max_distance)
        if problems := pattern.problems():
            raise ConfigError(f"depth_image: {'; '.join(problems)}.")
        self.max_distance = max_distance
        axis = torch.tensor(pattern.axis, device=env.device)
        cosine = torch.tensor(pattern.directions(), device=env.device) @ axis
        self._cosine = cosine
        self._rays = _Rays(env, "depth_image", pattern, offset, max_distance / float(cosine.min()))

    def __call__(self) -> torch.Tensor:
        """Return (N, height x width)."""
        return (self._rays.distances() * self._cosine).clamp_max_(self.max_distance)


@mirrors("mounted_vector")
class imu_acceleration:  # noqa: N801 - as the other terms
    """Reading of an accelerometer that is fixed to the base: acceleration minus gravity in its frame, (N, 3) m/s².

    The acceleration is the change of the velocity of its place over the last control step, divided by the step time, so
    that it is the same on every simulator: a mean over the step, as of a sensor with a low-pass filter. At the first
    step of an episode it is 0, and the reading that of a robot at rest, 9.81 m/s² upwards.
    """

    def __init__(self, env: TermEnv, offset: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        """Begin at rest.

        Args:
            env: the task.
            offset: place of the sensor in the frame of the base in m.
        """
        self._env, self._offset = env, torch.tensor([float(v) for v in offset], device=env.device)
        self._down = torch.tensor(GRAVITY, device=env.device)
        self.velocity = torch.zeros(env.num_envs, 3, device=env.device)
        self.acceleration = torch.zeros_like(self.velocity)

    def _velocity(self, linear: torch.Tensor, angular: torch.Tensor, quat: torch.Tensor) -> torch.Tensor:
        """Return the velocity (n, 3) of the place of the sensor, world frame, from that of the base."""
        return linear + rotate(quat, torch.linalg.cross(angular, self._offset.expand_as(angular)))

    def step(self) -> None:
        """Compare the velocity with that of the step before."""
        state = self._env.state
        now = self._velocity(state.world.root_lin_vel, state.ang_vel, state.root_quat)
        self.acceleration = (now - self.velocity) / self._env.step_dt
        self.velocity = now

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin at rest relative to the velocity with which `env_ids` (n,) start."""
        env = self._env
        start = env.reset_root_vel[env_ids]
        self.velocity[env_ids] = self._velocity(start[:, :3], start[:, 3:], env.reset_root_pose[env_ids, 3:])
        self.acceleration[env_ids] = 0.0

    def __call__(self) -> torch.Tensor:
        """Return (N, 3)."""
        state = self._env.state
        gravity = self._down if state.world.gravity is None else state.world.gravity
        return rotate(inverse(state.root_quat), self.acceleration - gravity)


@mirrors("feet")
def foot_contact(env: TermEnv, threshold: float = CONTACT_N) -> torch.Tensor:
    """Whether each foot is on the ground, (N, feet), 1 or 0: whether its contact force is above `threshold` in N."""
    return (env.foot_force > threshold).float()


@mirrors("feet")
def foot_contact_force(env: TermEnv) -> torch.Tensor:
    """Magnitude of the contact force on each foot, (N, feet) N."""
    return env.foot_force


@mirrors("feet")
class foot_air_time:  # noqa: N801 - as the other terms
    """Time for which each foot has been in the air, (N, feet) s; 0 while it is on the ground."""

    def __init__(self, env: TermEnv) -> None:
        """Begin on the ground."""
        self._env = env
        self.air_time = torch.zeros_like(env.foot_force)

    def step(self) -> None:
        """Add the last control step."""
        in_air = self._env.foot_force <= CONTACT_N
        self.air_time = (self.air_time + self._env.step_dt) * in_air

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin on the ground in `env_ids` (n,)."""
        self.air_time[env_ids] = 0.0

    def __call__(self) -> torch.Tensor:
        """Return (N, feet)."""
        return self.air_time.clone()
