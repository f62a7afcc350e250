"""Mass randomization: one factor of the robot's mass per env, constant over all episodes and not observed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regimen.config.task_schema import EventTermCfg
from regimen.envs.robots.robot import load

if TYPE_CHECKING:
    import torch

    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainSection
    from regimen.envs.robots.robot import Robot
    from regimen.envs.term_env import TermEnv

EVENT = "mass_scale"
"""Name of the event, and of its label."""

REPLACED = "randomize_rigid_body_mass"
LIGHTEST_BASE = 0.1
"""Smallest share of its nominal mass that the base may have; simulators enforce it."""


@dataclass
class MassRangeCfg:
    """The mass of each env's robot is its nominal mass times a factor, constant over all episodes.

    Attributes:
        enabled: whether masses are randomized; otherwise the task's events are unchanged.
        mass_range_min: lowest factor of the whole robot's mass.
        mass_range_max: highest factor.
    """

    enabled: bool = False
    mass_range_min: float = 0.8
    mass_range_max: float = 1.2

    def problems(self, env: PlainSection) -> list[str]:
        """Return one line for each problem of the range in the task `env`, plain data."""
        if not self.enabled:
            return []
        low, high = self.mass_range_min, self.mass_range_max
        if not 0 < low <= high:
            return [f"domain_randomization.mass_range_min={low:g}: expected above 0, at most mass_range_max={high:g}."]
        if not env.get("robot"):
            return ["domain_randomization.enabled=true: this task has no robot whose mass could differ. Take it away."]
        robot = load(env["robot"])
        if not robot.floating_base:
            line = f"domain_randomization.enabled=true: the base of {env['robot']} is fixed, so its mass has no effect."
            return [f"{line} Take it away, or add an event `randomize` with quantity: body_mass of the links."]
        lowest = _lightest(robot)
        if low < lowest:
            line = f"domain_randomization.mass_range_min={low:g}: the base of {env['robot']} takes the difference, and"
            return [f"{line} cannot be that light; expected {lowest:.3f} or more."]
        return []


def randomize_mass(config: Config, cfg: MassRangeCfg) -> None:
    """Add the mass event to the task of `config`, before it is opened; it replaces the task's own mass event.

    The masses are drawn once, at the first reset, by the env's generator: the same seed gives the same masses.
    `info["labels"]["mass_scale"]` holds the factors.
    """
    if not cfg.enabled:
        return
    events = config.env.events
    for name in [n for n, event in events.items() if event is not None and event.func == REPLACED]:
        events[name] = None
    limits = {"low": cfg.mass_range_min, "high": cfg.mass_range_max}
    events[EVENT] = EventTermCfg(func=f"{__name__}:MassScale", params=limits, mode="startup")


class MassScale:
    """Event that scales the mass of each robot; the difference is added to the base, like a load.

    Attributes:
        scale: (N,) factor of the whole robot's mass.
    """

    def __init__(self, env: TermEnv, low: float, high: float) -> None:
        """Prepare the draws between two factors."""
        self.env, self.low, self.high = env, low, high
        self.scale = env.default_joint_pos.new_ones(env.num_envs)

    def __call__(self, env_ids: torch.Tensor) -> None:
        """Draw the factors of `env_ids` (n,)."""
        self.scale[env_ids] = self.low + self.env.rand(len(env_ids)) * (self.high - self.low)
        self.env.world.add_base_mass(env_ids, (self.scale[env_ids] - 1.0) * self.env.robot.total_mass)

    def labels(self) -> dict[str, torch.Tensor]:
        """Return the factors."""
        return {EVENT: self.scale.clone()}


def _lightest(robot: Robot) -> float:
    """Return the lowest factor at which the base keeps `LIGHTEST_BASE` of its mass; 0 if the MJCF does not state it."""
    body = ElementTree.parse(robot.mjcf).find(f".//body[@name='{robot.base_body}']/inertial")
    if body is None:
        return 0.0
    return 1.0 - (1.0 - LIGHTEST_BASE) * float(body.attrib["mass"]) / robot.total_mass
