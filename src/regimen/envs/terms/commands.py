"""Command terms: the goals of the robot, drawn per env and observed through `generated_commands`.

A command is a class: `value` (N, k) is observed, `reset(env_ids)` draws new values, `step()` advances by one control
step, `fix(values)` holds given values (evaluation), `metrics()` returns the tracking error and the like. A command
that is drawn again within episodes says where by `due()`, before `step()`, and is reset there after it. A command
whose value has a mirror image has `image()`. One that follows from the time says how in `COMPUTED`, for the description
of an exported policy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch

from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.envs.symmetry import Image
    from regimen.envs.term_env import TermEnv


def _require_shape(name: str, values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a copy of `values`, which must have the shape of `like`."""
    if values.shape != like.shape:
        raise ConfigError(f"{name}: a fixed command has {like.shape[1]} numbers, not {values.shape[-1]}.")
    return values.clone()


class UniformVelocityCommand:
    """Velocity of the base: forward, left (m/s) and turning left (rad/s).

    Attributes:
        value: (N, 3) forward and left in m/s, turning left in rad/s.
        moving: (N,) bool, false where the command is to stand still.
    """

    def __init__(
        self,
        env: TermEnv,
        lin_vel_x: tuple[float, float],
        lin_vel_y: tuple[float, float],
        ang_vel_z: tuple[float, float],
        resampling_time_s: tuple[float, float],
        rel_standing_envs: float = 0.0,
    ) -> None:
        """Prepare the draws.

        Args:
            env: the environment.
            lin_vel_x: range of the forward speed in m/s.
            lin_vel_y: range of the sideways speed in m/s.
            ang_vel_z: range of the turning rate in rad/s.
            resampling_time_s: range of the time until the next draw in s.
            rel_standing_envs: share of commands to stand still.
        """
        self.env, self.rel_standing_envs = env, rel_standing_envs
        ranges = torch.tensor([lin_vel_x, lin_vel_y, ang_vel_z], device=env.device)
        self._low, self._width = ranges[:, 0], ranges[:, 1] - ranges[:, 0]
        self._time_low, self._time_width = resampling_time_s[0], resampling_time_s[1] - resampling_time_s[0]
        self.value = torch.zeros(env.num_envs, 3, device=env.device)
        self.moving = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
        self.time_left = torch.zeros(env.num_envs, device=env.device)
        self.fixed: torch.Tensor | None = None

    @property
    def ranges(self) -> list[tuple[float, float]]:
        """Lowest and highest value that is drawn, of each of the three."""
        return list(zip(self._low.tolist(), (self._low + self._width).tolist(), strict=True))

    def reset(self, env_ids: torch.Tensor) -> None:
        """Draw new commands for `env_ids`."""
        if self.fixed is not None:
            self.value[env_ids] = self.fixed[env_ids]
        else:
            draws = self.env.rand(len(env_ids), 5)
            value = self._low + draws[:, :3] * self._width
            value *= (draws[:, 3:4] >= self.rel_standing_envs).float()
            self.value[env_ids] = value
            self.time_left[env_ids] = self._time_low + draws[:, 4] * self._time_width
        self.moving[env_ids] = torch.linalg.vector_norm(self.value[env_ids], dim=1) > 0.05

    def due(self) -> torch.Tensor | None:
        """Return where the time is over with the coming step, (N,) bool; None where the command is fixed."""
        return None if self.fixed is not None else self.time_left - self.env.step_dt <= 0.0

    def step(self) -> None:
        """Count down."""
        if self.fixed is None:
            self.time_left -= self.env.step_dt

    def fix(self, values: torch.Tensor) -> None:
        """Hold `values` (N, 3)."""
        self.fixed = _require_shape("UniformVelocityCommand", values, self.value)
        self.reset(torch.arange(self.env.num_envs, device=values.device))

    def image(self) -> Image:
        """Return the mirror image of `value`: sideways and turning change their signs."""
        return [0, 1, 2], [1.0, -1.0, -1.0]

    def metrics(self) -> dict[str, torch.Tensor]:
        """Return speeds and tracking errors, each (N,)."""
        state = self.env.state
        planar = self.value[:, :2] - state.yaw_lin_vel
        return {
            "forward_speed": state.yaw_lin_vel[:, 0].clone(),
            "turning_rate": state.world_yaw_rate.clone(),
            "lin_vel_error": torch.linalg.vector_norm(planar, dim=1),
            "ang_vel_error": (self.value[:, 2] - state.world_yaw_rate).abs(),
        }


class GaitClock:
    """A phase that sets when each foot swings; at rest, all feet in stance, while the velocity command is zero.

    Attributes:
        value: (N, 2) sine and cosine of the phase, zeros at rest.
        stance: (N, F) bool, which feet should be on the ground.
        swing_height: (N, F) in [0, 1], half sine through each foot's swing.
    """

    COMPUTED: ClassVar[str] = (
        "The phase, in [0, 1), starts anywhere and grows by frequency_hz * step_dt, modulo 1, at each control step, "
        "before the observation. The value is the sine and cosine of 2 pi * phase; both are 0 while the norm of the "
        "command that `velocity` names is 0.05 or less."
    )

    def __init__(
        self,
        env: TermEnv,
        frequency_hz: float,
        offsets: list[float],
        stance_ratio: float = 0.55,
        velocity: str = "base_velocity",
    ) -> None:
        """Prepare the clock.

        Args:
            env: the environment.
            frequency_hz: strides a second.
            offsets: phase of each foot as a share of the stride, in the order of the robot's feet.
            stance_ratio: share of the stride a foot is on the ground.
            velocity: the velocity command that starts and stops the clock.
        """
        self.env, self.velocity, self.stance_ratio = env, velocity, stance_ratio
        self._increment = frequency_hz * env.step_dt
        n, feet, device = env.num_envs, len(env.robot.feet), env.device
        if len(offsets) != feet:
            names = list(env.robot.feet)
            raise ConfigError(f"GaitClock: {len(offsets)} offsets for the {feet} feet {names}; give one each.")
        self._offsets = torch.tensor(offsets, device=device)
        self.phase = torch.zeros(n, device=device)
        self.value = torch.zeros(n, 2, device=device)
        self.stance = torch.ones(n, feet, dtype=torch.bool, device=device)
        self.swing_height = torch.zeros(n, feet, device=device)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Start `env_ids` at a random phase."""
        self.phase[env_ids] = self.env.rand(len(env_ids))
        self._update()

    def step(self) -> None:
        """Advance the phase by one control step; the value of a clock at rest stays zero."""
        self.phase = (self.phase + self._increment).remainder(1.0)
        self._update()

    def _update(self) -> None:
        moving = self.env.commands[self.velocity].moving
        angle = 2.0 * math.pi * self.phase
        self.value = torch.stack((torch.sin(angle), torch.cos(angle)), dim=1) * moving[:, None]
        foot = (self.phase[:, None] + self._offsets).remainder(1.0)
        self.stance = (foot < self.stance_ratio) | ~moving[:, None]
        swing = ((foot - self.stance_ratio) / (1.0 - self.stance_ratio)).clamp(0.0, 1.0)
        self.swing_height = torch.sin(math.pi * swing) * ~self.stance

    def image(self) -> Image | None:
        """Return the mirror image of `value`: the clock with swapped feet, if it equals this one at another phase.

        Mirrored twice it is at its own phase again, so the phase shift is zero or half a stride.
        """
        mirror = self.env.robot.mirror
        order = mirror and mirror.order(self.env.robot.feet)
        if not order:
            return None
        later = (self._offsets[order] - self._offsets).remainder(1.0)
        if not torch.allclose(later, later[0]):
            return None
        return [0, 1], [1.0, 1.0] if later[0] == 0 else [-1.0, -1.0]

    def metrics(self) -> dict[str, torch.Tensor]:
        """Return no metrics: the clock is not a goal."""
        return {}


DIRECTIONS = 96
SECTORS = 16
GOALS = ("train", "held_out", "all")


class HiddenDirection:
    """A direction in the plane of the world that only shows in rewards; each env keeps its own over episodes.

    There are 96 directions, evenly spaced; those in every fourth of 16 sectors are `held_out`, the others are `train`,
    the same for every seed. All of them are drawn equally often. A task does not observe `value`.

    Attributes:
        value: (N, 2) unit vector, world frame.
    """

    def __init__(self, env: TermEnv, goals: str = "all") -> None:
        """Prepare the draws.

        Args:
            env: the environment.
            goals: which directions are drawn: `train`, `held_out` or `all`.

        Raises:
            ConfigError: `goals` is none of these.
        """
        if goals not in GOALS:
            raise ConfigError(f"HiddenDirection: goals={goals}: {did_you_mean(goals, GOALS)}")
        self.env = env
        index = torch.arange(DIRECTIONS, device=env.device)
        held_out = index * SECTORS // DIRECTIONS % 4 == 0
        chosen = index[{"train": ~held_out, "held_out": held_out, "all": index >= 0}[goals]]
        self._angles = 2.0 * math.pi * (chosen + 0.5) / DIRECTIONS
        self.value = torch.zeros(env.num_envs, 2, device=env.device)
        self.fixed: torch.Tensor | None = None
        self._draw()

    def _draw(self) -> None:
        """Draw a direction for each env, without replacement as long as there are others."""
        count, env = len(self._angles), self.env
        order = [torch.argsort(env.rand(count)) for _ in range(-(-env.num_envs // count))]
        angle = self._angles[torch.cat(order)[: env.num_envs]]
        self.value = torch.stack((angle.cos(), angle.sin()), dim=1)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Draw new directions if the environment itself restarts with a seed; a new episode keeps its own."""
        if self.env.common_step_counter == 0 and self.fixed is None:
            self._draw()

    def step(self) -> None:
        """Do nothing: directions are constant."""

    def fix(self, values: torch.Tensor) -> None:
        """Hold `values` (N, 2), made unit vectors."""
        self.fixed = _require_shape("HiddenDirection", values, self.value)
        self.value = torch.nn.functional.normalize(self.fixed, dim=1)

    def metrics(self) -> dict[str, torch.Tensor]:
        """Return the speed along the direction, (N,) m/s."""
        return {"progress_speed": (self.env.state.world.root_lin_vel[:, :2] * self.value).sum(1)}


class UniformPlanarTarget:
    """A point in reach of an arm that moves in the horizontal plane.

    Attributes:
        position: (N, 3) m, world frame.
        value: (N, 2) m, its x and y.
    """

    def __init__(
        self, env: TermEnv, radius: tuple[float, float], angle: tuple[float, float], height: float = 0.0
    ) -> None:
        """Prepare the draws: distance from the base in m and direction in rad, each from a range."""
        self.env, self._radius, self._angle = env, radius, angle
        self.position = torch.zeros(env.num_envs, 3, device=env.device)
        self.position[:, 2] = height
        self.value = torch.zeros(env.num_envs, 2, device=env.device)
        self.fixed: torch.Tensor | None = None

    def reset(self, env_ids: torch.Tensor) -> None:
        """Draw new targets for `env_ids`."""
        draws = self.env.rand(len(env_ids), 2)
        radius = self._radius[0] + draws[:, 0] * (self._radius[1] - self._radius[0])
        angle = self._angle[0] + draws[:, 1] * (self._angle[1] - self._angle[0])
        target = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
        self.value[env_ids] = target if self.fixed is None else self.fixed[env_ids]
        self.position[:, :2] = self.value

    def step(self) -> None:
        """Do nothing: targets are constant in an episode."""

    def fix(self, values: torch.Tensor) -> None:
        """Hold `values` (N, 2)."""
        self.fixed = _require_shape("UniformPlanarTarget", values, self.value)
        self.reset(torch.arange(self.env.num_envs, device=values.device))

    def metrics(self) -> dict[str, torch.Tensor]:
        """Return the distance of the first tracked site from the target, (N,) m."""
        return {"distance": torch.linalg.vector_norm(self.env.state.site_pos[:, 0] - self.position, dim=1)}
