"""Tasks of Isaac Lab that Regimen registers: `env.id=regimen.envs.isaaclab.tasks:Regimen-Velocity-Flat-H1-Failure`."""

from __future__ import annotations

from typing import Any

import gymnasium
import isaaclab_tasks  # noqa: F401  registers the tasks of which these are made
from isaaclab.managers import EventTermCfg, SceneEntityCfg
from isaaclab.utils import configclass
from isaaclab_tasks.core.velocity.config.h1.flat_env_cfg import H1FlatEnvCfg

from regimen.envs.isaaclab.events import ChangeJointTorque

LEGS = [".*_hip_yaw", ".*_hip_roll", ".*_hip_pitch", ".*_knee"]

SEVERITY = {
    ".*_hip_yaw": (0.3, 3.0),
    ".*_hip_roll": (5.0, 15.0),
    ".*_hip_pitch": (15.0, 45.0),
    ".*_knee": (50.0, 95.0),
}
"""Torque in N·m that a joint keeps, as in `task=h1_failure`."""


@configclass
class H1FailureEnvCfg(H1FlatEnvCfg):
    """H1 on flat ground, in whose episodes one leg joint loses its strength."""

    def __post_init__(self) -> None:
        """Add the event; null switches it off."""
        super().__post_init__()
        self.events.change_joint_torque = EventTermCfg(
            func=ChangeJointTorque,
            mode="interval",
            interval_range_s=(0.0, 0.0),
            params={
                "asset_cfg": SceneEntityCfg("robot", joint_names=LEGS),
                "probability": 0.85,
                "onset_s": (1.0, 8.0),
                "mode": "absolute",
                "severity": dict(SEVERITY),
            },
        )


def _register(name: str, like: str, cfg: type[Any]) -> None:
    """Register a task with the agents' settings of another one."""
    kwargs = {**gymnasium.registry[like].kwargs, "env_cfg_entry_point": f"{__name__}:{cfg.__name__}"}
    gymnasium.register(name, gymnasium.registry[like].entry_point, disable_env_checker=True, kwargs=kwargs)


_register("Regimen-Velocity-Flat-H1-Failure", "Isaac-Velocity-Flat-H1", H1FailureEnvCfg)
