"""Cut one cycle out of a clip, which can be repeated without end; how long a gait cycle lasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from regimen.envs.motion.clip import MotionClip
from regimen.system.errors import ConfigError

SHORTEST_S = 0.4
"""s, shortest cycle that is looked for."""

SHORTEST_PERIOD_S = 0.2
"""s, shortest gait cycle."""

VELOCITY_SHARE = 0.1
"""s, weight of a difference in rad/s against one in rad."""

TOLERANCE = 0.15
"""rad, rms difference of the joints at both ends beyond which a clip has no cycle."""


def cut_cycle(clip: MotionClip) -> MotionClip:
    """Return the part of a clip that ends most nearly as it begins; the difference is spread over its frames.

    Raises:
        ConfigError: no two moments of the clip are alike.
    """
    from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

    least = max(2, round(SHORTEST_S * clip.fps))
    if clip.frames <= least:
        raise ConfigError(
            f"The clip {clip.name} lasts {clip.duration:.2g} s, no cycle is so short; choose a longer one."
        )
    angle = np.sqrt(_distances(clip.joint_pos))
    cost = angle + VELOCITY_SHARE * np.sqrt(_distances(clip.joint_vel)) + np.abs(
        clip.root_pos[:, None, 2] - clip.root_pos[None, :, 2]
    )  # fmt: skip
    cost[np.tril_indices(clip.frames, least - 1)] = np.inf
    first, last = (int(i) for i in np.unravel_index(int(cost.argmin()), cost.shape))
    if angle[first, last] > TOLERANCE:
        raise ConfigError(
            f"The clip {clip.name} has no cycle: its most similar moments, frames {first} and {last}, differ by "
            f"{angle[first, last]:.2f} rad. Use it as it is."
        )
    part = clip.cut(first, last + 1)
    share = np.linspace(0.0, 1.0, part.frames)[:, None]
    root_pos, joint_pos = part.root_pos.copy(), part.joint_pos - share * (part.joint_pos[-1] - part.joint_pos[0])
    root_pos[:, 2] -= share[:, 0] * (root_pos[-1, 2] - root_pos[0, 2])
    turns = Rotation.from_quat(part.root_quat, scalar_first=True)
    wanted = Rotation.from_euler("z", part.cycle()[1]) * turns[0]
    rest = (wanted.inv() * turns[-1]).as_rotvec()
    turns *= Rotation.from_rotvec(-share * rest)
    line = (
        f"cut to one cycle of {part.duration:.3g} s, frames {first} to {last}; differences of up to "
        f"{np.abs(part.joint_pos[-1] - part.joint_pos[0]).max():.2f} rad were spread over it"
    )
    root_pos[:, :2] -= root_pos[0, :2]
    return replace(
        part,
        root_pos=root_pos,
        root_quat=turns.as_quat(scalar_first=True),
        joint_pos=joint_pos,
        cyclic=True,
        repairs=[*clip.repairs, line],
    )


def gait_period(clip: MotionClip) -> float:
    """Return the duration of one gait cycle in s: the shortest shift in time by which the joints repeat themselves.

    Of the mean squared difference of the joints over a shift, the first minimum that is nearly as low as the lowest
    (within a fifth of the span). A cyclic clip is one cycle. A clip that is too short for two of them has its own
    duration.
    """
    if clip.cyclic:
        return clip.duration
    shortest = max(2, round(SHORTEST_PERIOD_S * clip.fps))
    shifts = np.arange(1, clip.frames - max(2, clip.frames // 4))
    if len(shifts) <= shortest + 1:
        return clip.duration
    gaps = np.array([((clip.joint_pos[k:] - clip.joint_pos[:-k]) ** 2).mean() for k in shifts])
    lowest, span = gaps[shortest - 1 :].min(), np.ptp(gaps)
    minimum = (gaps[1:-1] <= gaps[:-2]) & (gaps[1:-1] <= gaps[2:])
    found = [k for k in shifts[1:-1][minimum] if k >= shortest and gaps[k - 1] <= lowest + 0.2 * span]
    return float(found[0]) / clip.fps if found else clip.duration


def _distances(rows: np.ndarray) -> np.ndarray:
    """Return the mean squared difference (F, F) of each two rows of (F, d)."""
    return ((rows[:, None] - rows[None]) ** 2).mean(axis=2)
