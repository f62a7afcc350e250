"""Events of Regimen as terms of Isaac Lab's event manager, for tasks of Isaac Lab.

A configuration of Isaac Lab names them like its own:

    change_joint_torque = EventTermCfg(
        func=ChangeJointTorque,
        mode="interval",
        interval_range_s=(0.0, 0.0),  # every step: the event has its own times
        params={"asset_cfg": SceneEntityCfg("robot", joint_names=[".*_knee"]), "probability": 0.85,
                "onset_s": (1.0, 8.0), "mode": "absolute", "severity": (50.0, 95.0)},
    )
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from isaaclab.managers import ManagerTermBase, SceneEntityCfg

from regimen.envs.isaaclab.effort_limits import EffortLimits
from regimen.envs.terms.events import change_joint_torque


class ChangeJointTorque(ManagerTermBase):
    """`regimen.envs.terms.events.change_joint_torque`: the same faults, draws, modes and labels."""

    def __init__(self, cfg: Any, env: Any) -> None:
        """Prepare the draws.

        Raises:
            ConfigError: a parameter that does not fit; see `change_joint_torque`.
        """
        super().__init__(cfg, env)
        params = {name: value for name, value in cfg.params.items() if name != "asset_cfg"}
        robot = Robot(env, cfg.params["asset_cfg"].name)
        chosen = cfg.params["asset_cfg"].joint_ids
        joints = torch.arange(len(robot.joints), device=robot.device)[chosen]
        self.fault = change_joint_torque(robot, joints, **params)  # type: ignore[arg-type]

    def __call__(
        self,
        env: Any,
        env_ids: Any,
        asset_cfg: SceneEntityCfg,
        probability: float,
        onset_s: tuple[float, float],
        mode: str = "absolute",
        severity: Any = None,
    ) -> None:
        """Apply the faults that are due; the next physics step has them."""
        self.fault.step()

    def reset(self, env_ids: Sequence[int] | None = None) -> None:
        """Clear the faults of `env_ids` (n,), or of all, and draw the next ones."""
        every = torch.arange(self.num_envs, device=self.device)
        self.fault.reset(every if env_ids is None else every[env_ids])

    def stagger(self) -> None:
        """Drop the faults whose onset is before the new time of their env."""
        self.fault.stagger()

    def fix(self, joint: torch.Tensor, onset_s: torch.Tensor, severity: torch.Tensor) -> None:
        """Use the same fault (N,) in every later episode of an env, for evaluation."""
        self.fault.fix(joint, onset_s, severity)

    def labels(self) -> dict[str, torch.Tensor]:
        """Return the labels of the step whose physics follows, each (N,)."""
        return self.fault.labels()


class Robot:
    """What `change_joint_torque` reads and sets of a robot in a scene of Isaac Lab.

    Attributes:
        num_envs: N.
        device: of all tensors.
        step_dt: control step in s.
        joints: names, J.
        effort_limit: (J,) N·m, nominal.
        joint_range: (J, 2) rad, nominal.
        world: itself, for what is set.
        state: itself, for what is read.
    """

    def __init__(self, env: Any, name: str) -> None:
        """Store the nominal values.

        Args:
            env: of Isaac Lab, unwrapped.
            name: of the articulation in the scene.
        """
        self.env, self.asset = env, env.scene[name]
        self.num_envs, self.device, self.step_dt = env.num_envs, env.device, float(env.step_dt)
        self.joints = list(self.asset.joint_names)
        self.limits = EffortLimits(self.asset)
        self.effort_limit = self.limits.nominal
        self.joint_range = self.asset.data.joint_pos_limits.torch[0].clone()
        data = self.asset.data  # what the writer of ranges changes besides
        self._kept = [
            (value, value.clone()) for value in (data.default_joint_pos.torch, data.soft_joint_pos_limits.torch)
        ]
        self.world = self.state = self

    @property
    def episode_length(self) -> torch.Tensor:
        """Steps since the reset, (N,)."""
        length: torch.Tensor = self.env.episode_length_buf
        return length

    @property
    def joint_pos(self) -> torch.Tensor:
        """Angles (N, J) in rad."""
        angles: torch.Tensor = self.asset.data.joint_pos.torch
        return angles

    def rand(self, *shape: int) -> torch.Tensor:
        """Return uniform draws of the environment's generator."""
        return torch.rand(*shape, device=self.device)

    def effort_limits(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Return the nominal limits (n, J) in N·m, which a robot has before its fault."""
        return self.effort_limit.repeat(len(env_ids), 1)

    def set_effort_limits(self, env_ids: torch.Tensor, limits: torch.Tensor) -> None:
        """Set the largest absolute torque (n, J) in N·m, NaN: the nominal one."""
        self.limits.set(env_ids, torch.where(limits.isnan(), self.effort_limit, limits))

    def set_joint_ranges(self, env_ids: torch.Tensor, ranges: torch.Tensor) -> None:
        """Set the joint ranges (n, J, 2) in rad, NaN: the nominal one.

        Isaac Lab's writer moves the default pose and the soft limits into the new range; both stay as they were here,
        for a joint that is locked for an episode is the same joint in the next.
        """
        ranges = torch.where(ranges.isnan(), self.joint_range, ranges)
        self.asset.write_joint_position_limit_to_sim_index(
            limits=ranges.contiguous(), env_ids=env_ids.to(torch.int32), warn_limit_violation=False
        )
        for value, kept in self._kept:
            value[env_ids] = kept[env_ids]
