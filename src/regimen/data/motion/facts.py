"""Facts of a motion clip, as lines of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from regimen.data.motion.repair import SOLE_PERCENTILE, beyond_limits

if TYPE_CHECKING:
    from regimen.data.motion.model_poses import ModelPoses
    from regimen.data.motion.repair import ImportedClip


def describe(imported: ImportedClip, poses: ModelPoses) -> list[tuple[str, str]]:
    """Return name and text of the facts that decide whether a clip is of use.

    Args:
        imported: the clip.
        poses: of its robot.
    """
    clip = imported.clip
    soles, speeds = poses.sole_height(clip), np.abs(clip.joint_vel)
    fastest = int(speeds.max(axis=0).argmax())
    rated = poses.robot.velocity_limit[fastest]
    turn = np.degrees(clip.cycle()[1])
    beyond = beyond_limits(clip, poses.joint_range)
    outside = [f"{name} by {value:.3f} rad" for name, value in zip(clip.joints, beyond, strict=True) if value > 1e-3]
    rows = [
        ("robot", f"{poses.robot.name}, {len(clip.joints)} joints"),
        ("format", imported.format),
        ("frames", f"{clip.frames} at {clip.fps:g} Hz"),
        ("duration", f"{clip.duration:.2f} s{', cyclic' if clip.cyclic else ''}"),
        ("speed", f"{clip.speed:.2f} m/s, turned by {turn:.0f}°"),
        ("base", f"{clip.root_pos[:, 2].min():.3f} to {clip.root_pos[:, 2].max():.3f} m high"),
        ("soles", f"{soles.min() * 100:.1f} to {soles.max() * 100:.1f} cm high, "
                  f"{SOLE_PERCENTILE}th percentile {np.percentile(soles, SOLE_PERCENTILE) * 100:.1f} cm"),
        ("fastest joint", f"{clip.joints[fastest]}, {speeds[:, fastest].max():.1f} rad/s (rated {rated:g})"),
        ("beyond limits", ", ".join(outside) or "none"),
    ]  # fmt: skip
    if imported.fk_error is not None:
        rows.append(("bodies", f"{imported.fk_error * 1e3:.2g} mm from those in the file"))
    if clip.source:
        rows.append(("source", clip.source))
    if clip.license:
        rows.append(("license", clip.license))
    return rows + [("repaired", line) for line in clip.repairs]
