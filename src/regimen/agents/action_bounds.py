"""Largest actions, for agents that squash what their network gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.vec_env import ActionSpec


def action_bounds(spec: ActionSpec, bound: float | None, remedy: str = "agent.action_bound=1.0") -> list[float]:
    """Return the largest absolute action of each joint: one that reaches its limit furthest from the default pose.

    Args:
        spec: scale, offset, clip and limits.
        bound: configured bound of all joints, or None.
        remedy: what to type where a joint has none.

    Raises:
        ConfigError: naming the joint without one.
    """
    clip = float("inf") if spec.clip is None else spec.clip
    bounds = [bound or clip] * len(spec.joints)
    if bound is None and spec.limits is not None:
        rows = zip(spec.limits, spec.offset, spec.scale, strict=True)
        bounds = [min(clip, max(abs(low - at), abs(high - at)) / scale) for (low, high), at, scale in rows]
    for joint, largest in zip(spec.joints, bounds, strict=True):
        if not 0 < largest < float("inf"):
            raise ConfigError(
                f"The action of joint {joint} has no bound: it needs limits or a clip. Type {remedy}, or another "
                "largest action."
            )
    return bounds
