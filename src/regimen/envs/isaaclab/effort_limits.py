"""Torque limits of a robot of Isaac Lab, whatever its actuators: each kind holds them elsewhere."""

from __future__ import annotations

from typing import Any

import torch

from regimen.system.errors import ConfigError

CLAMPS = ("max_motor_effort", "max_effort")
"""Names of the torque limit of a group that Newton computes: of a DC motor, and of a plain one."""


class EffortLimits:
    """Torque limits of an articulation.

    The simulator clips the torque of implicit actuators by its own limit. Explicit ones compute their torque outside
    it and clip it themselves, by a limit of Newton's actuators or, with `sim.use_newton_actuators=False`, of their own.

    Attributes:
        nominal: (J,) N·m.
    """

    def __init__(self, asset: Any) -> None:
        """Store the nominal limits.

        Args:
            asset: an articulation of an open scene.
        """
        self.asset = asset
        self.nominal = asset.data.joint_effort_limits.torch[0].clone()
        self._explicit: dict[str, torch.Tensor] = {}
        every = torch.arange(len(self.nominal), device=self.nominal.device)
        for name, group in asset.actuators.items():
            cfg = getattr(group, "cfg", None) or asset.cfg.actuators[name]
            if "Implicit" in type(cfg).__name__:
                continue
            names = list(asset.find_joints(cfg.joint_names_expr)[1])
            ids = torch.tensor([asset.joint_names.index(joint) for joint in names], device=every.device)
            self._explicit[name] = ids
            self.nominal[ids] = self._read(name, group)
        own = [joint for ids in self._explicit.values() for joint in ids.tolist()]
        self._implicit = every[~torch.isin(every, torch.tensor(own, device=every.device, dtype=every.dtype))]

    def _read(self, name: str, group: Any) -> torch.Tensor:
        """Return the limits (k,) of a group of explicit actuators in N·m."""
        if hasattr(group, "actuator_effort_limit"):
            own: torch.Tensor = group.actuator_effort_limit[0].clone()
            return own
        from isaaclab.actuators.newton import read_group_parameter

        attribute = _attribute(group)
        limits: torch.Tensor = read_group_parameter(self.asset.actuators, name, "clamping", attribute)[0].clone()
        return limits

    def set(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Set the largest absolute torque.

        Args:
            env_ids: (n,).
            limits: (n, J) N·m.
        """
        for name, joints in self._explicit.items():
            group, values = self.asset.actuators[name], limits[:, joints]
            if hasattr(group, "actuator_effort_limit"):
                group.actuator_effort_limit[env_ids] = values
                continue
            from isaaclab.actuators.newton import write_group_parameter

            write_group_parameter(self.asset.actuators, name, "clamping", _attribute(group), values, env_ids=env_ids)
        if len(self._implicit):
            self.asset.write_joint_effort_limit_to_sim_index(
                limits=limits[:, self._implicit].contiguous(),
                joint_ids=self._implicit.to(torch.int32),
                env_ids=env_ids.to(torch.int32),
            )


def _attribute(group: Any) -> str:
    """Return the one of `CLAMPS` that a group has.

    Raises:
        ConfigError: none.
    """
    for name in CLAMPS:
        if any(hasattr(part, name) for part in group.clamping):
            return name
    raise ConfigError(
        f"change_joint_torque: actuators {type(group).__name__} have no torque limit that can be set, none of "
        f"{', '.join(CLAMPS)}. Leave their joints out of the event."
    )
