"""A scripted expert of the assembly tasks, for all envs at once.

It holds the part above the pin or hole until axis, tilt and teeth are aligned, lowers it, and wiggles it where it is
stuck. It corrects the measured error of the part by a share in each step: the target of the controller integrates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.envs.assembly.config import STEP_M, STEP_RAD
from regimen.envs.assembly.reading import LOOKING_DOWN
from regimen.envs.assembly.scene import INSERTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from regimen.envs.assembly.reading import Reading
    from regimen.runs.checkpoint_header import StateDict

GAIN, TURNING_GAIN = 0.5, 0.4
"""Shares of the error that a step corrects."""

FAR_ABOVE, NEAR_ABOVE = 0.012, 0.004
"""Height in m above the entrance at which the part waits, far from the axis and near it."""

NEAR_AXIS, ON_AXIS, OFF_AXIS = 0.003, 0.0012, 0.004
"""Distances from the axis in m: lower to `NEAR_ABOVE`, begin to insert, rise again."""

ALIGNED_TILT, ALIGNED_PHASE = 0.03, 1.0
LOWERING = 0.004
"""In m a step, before the gain."""

MOST_CLIMB = 0.03
STANDSTILL, PATIENCE = 0.0004, 3
"""A part that sinks less than `STANDSTILL` m in more than `PATIENCE` steps is stuck."""

TEETH_ABOVE = 0.012
"""Height above the seat in m from which on the teeth no longer meet, so that the gear may be turned."""

CIRCLE, TWIST, CIRCLE_RAD, TWIST_RAD = 0.25, 0.8, 2.4, 1.3
"""Size of the wiggle in units of action, and its phase in each step."""

LIFT_EVERY = 12
"""Steps of a wiggle after which it is lifted once."""


class AssemblyExpert:
    """The protocol is `regimen.envs.vec_env.ScriptedExpert`; its actions (N, 7) are within ±1."""

    def __init__(
        self, read: Callable[[], Reading], num_envs: int, teeth: int, noise: float = 0.0, seed: int = 0
    ) -> None:
        """Begin in all envs.

        Args:
            read: returns the present state of the env.
            num_envs: N.
            teeth: of the gear; 0 without.
            noise: standard deviation of the noise on the actions, but for that of the gripper.
            seed: of the noise.
        """
        self._read, self._teeth, self._noise = read, teeth, noise
        self._generator = torch.Generator().manual_seed(seed)
        self._stuck, self._wiggles = np.zeros(num_envs, dtype=np.int64), np.zeros(num_envs, dtype=np.int64)
        self._height = np.full(num_envs, np.inf)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Start over in the envs `env_ids` (n,)."""
        ids = env_ids.numpy()
        self._stuck[ids], self._wiggles[ids], self._height[ids] = 0, 0, np.inf

    def act(self) -> torch.Tensor:
        """Return the actions (N, 7)."""
        reading, teeth = self._read(), self._teeth
        part, tilt, height = reading.part_position, reading.part_tilt, reading.part_position[:, 2]
        lateral, tilted = reading.lateral, np.hypot(tilt[:, 0], tilt[:, 1])
        aligned = (lateral < ON_AXIS) & (tilted < ALIGNED_TILT) & (np.abs(reading.part_phase) < ALIGNED_PHASE)
        lowering = aligned | (height < INSERTION - 0.001)
        self._count_standstill(lowering, height)
        above = INSERTION + np.where(lateral < NEAR_AXIS, NEAR_ABOVE, FAR_ABOVE) - height
        climb = np.where(lowering, -height - LOWERING, above.clip(-MOST_CLIMB, MOST_CLIMB))
        climb = np.where(~lowering & (lateral > OFF_AXIS) & (above > 0), np.maximum(climb, above), climb)
        turn = -reading.part_phase / teeth * (height > TEETH_ABOVE) if teeth else np.zeros_like(height)
        # A small rotation (wx, wy) in the world moves the part's axis by (wy, -wx).
        rotation = np.stack((tilt[:, 1], -tilt[:, 0], turn), 1)
        action = np.zeros((len(part), 7))
        action[:, :2], action[:, 2] = -GAIN / STEP_M * part[:, :2], GAIN / STEP_M * climb
        action[:, 3:6] = TURNING_GAIN / STEP_RAD * (rotation @ LOOKING_DOWN)
        self._wiggle(action)
        self._disturb(action)
        return torch.from_numpy(action.clip(-1.0, 1.0).astype(np.float32))

    def _count_standstill(self, lowering: np.ndarray, height: np.ndarray) -> None:
        still = np.abs(height - self._height) < STANDSTILL
        counted = np.where(still, self._stuck + 1, np.maximum(self._stuck - 1, 0))
        self._stuck = np.where(lowering, counted, self._stuck)
        self._height = height.copy()

    def _wiggle(self, action: np.ndarray) -> None:
        """Add a circle and a twist to the actions (N, 7) of the envs that are stuck."""
        stuck = self._stuck > PATIENCE
        self._wiggles += stuck
        step = self._wiggles
        action[:, 0] += stuck * CIRCLE * np.cos(CIRCLE_RAD * step)
        action[:, 1] += stuck * CIRCLE * np.sin(CIRCLE_RAD * step)
        action[:, 5] += stuck * TWIST * np.sin(TWIST_RAD * step)
        action[stuck & (step % LIFT_EVERY == 0), 2] = 1.0

    def _disturb(self, action: np.ndarray) -> None:
        """Add the noise; the hand is held closed, by -0.8 ± 0.2 with noise."""
        action[:, 6] = -1.0
        if self._noise:
            n = len(action)
            drawn = torch.randn(n, 6, generator=self._generator, dtype=torch.float64)
            action[:, :6] += self._noise * drawn.numpy()
            closing = torch.rand(n, generator=self._generator, dtype=torch.float64)
            action[:, 6] = -1.0 + 0.4 * closing.numpy()

    def state_dict(self) -> StateDict:
        """Return counters, the last heights and the generator."""
        arrays = {"stuck": self._stuck, "wiggles": self._wiggles, "height": self._height}
        own = {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}
        return own | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._stuck, self._wiggles = state["stuck"].numpy().copy(), state["wiggles"].numpy().copy()
        self._height = state["height"].numpy().copy()
        self._generator.set_state(state["generator"])
