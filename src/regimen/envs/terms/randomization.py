"""Events that differ between robots: physical quantities that are drawn, and forces that act for a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast

import torch

from regimen.envs.sims.quantities import DISTRIBUTIONS, OF_JOINT_ERRORS, OPERATIONS, QUANTITIES, WRENCH
from regimen.envs.term_binding import match_ids
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.envs.sims.world import HasQuantities, RandomizedWorld
    from regimen.envs.term_env import TermEnv

WRENCH_STEP = 2.0**-20
"""Parts of a wrench are multiples of it, in N or N·m, so that sums of wrenches in float64 are exact."""


def with_ranges(
    ranges: torch.Tensor, given: Mapping[str, Sequence[float]], axes: Sequence[str], where: str
) -> torch.Tensor:
    """Return limits with others in the place of some.

    Args:
        ranges: (k, 2).
        given: axis -> lower and upper limit.
        axes: names of the k rows.
        where: subject of the message.

    Raises:
        ConfigError: an axis is none of `axes`.
    """
    changed = ranges.clone()
    for axis, limits in given.items():
        if axis not in axes:
            raise ConfigError(f"{where}: no axis `{axis}`. {did_you_mean(axis, axes)}")
        changed[axes.index(axis)] = changed.new_tensor(list(limits))
    return changed


def _randomized(env: TermEnv, what: str) -> RandomizedWorld:
    """Return the simulator of a task.

    Raises:
        ConfigError: it cannot change `what`.
    """
    if not hasattr(env.world, "set_quantity"):
        raise ConfigError(f"This simulator cannot change {what} of single robots. Type sim=mujoco.")
    return cast("RandomizedWorld", env.world)


class randomize:  # noqa: N801 - as the other events
    """Draw a physical quantity of each robot, one of `regimen.envs.sims.quantities.QUANTITIES`.

    The value is computed from that of the robot's model, so that repeated draws do not add up. Two events that draw the
    same quantity of the same body, joint or shape replace each other's values.

    Labels, with `labelled`: `<quantity>_<name>` (N,) for each name, the present value.

    Attributes:
        ranges: (1, 2) float64 limits of the draws.
        values: (N, K) float64 present values.
    """

    def __init__(
        self,
        env: TermEnv,
        quantity: str,
        between: tuple[float, float],
        of: str | list[str] = ".*",
        operation: str = "scale",
        distribution: str = "uniform",
        shared: bool = False,
        labelled: bool = False,
    ) -> None:
        """Find what has the quantity.

        Args:
            env: the task, in a simulator with `RANDOMIZES`; errors of joints are drawn in every simulator.
            quantity: its name.
            between: range of the draws.
            of: regular expressions of bodies, joints or shapes, whichever have the quantity.
            operation: `scale` multiplies the nominal value, `add` adds to it, `absolute` replaces it.
            distribution: `uniform`, `log_uniform`, or `gaussian` with its middle and 95 % of it in the range, cut off
                outside.
            shared: whether all names of a robot have the same draw.
            labelled: whether the values are labels of recorded data.

        Raises:
            ConfigError: a name or word is unknown, or the simulator cannot change the quantity.
        """
        for word, words in ((quantity, QUANTITIES), (operation, OPERATIONS), (distribution, DISTRIBUTIONS)):
            if word not in words:
                raise ConfigError(f"randomize: `{word}`. {did_you_mean(word, words)}")
        self._owner: HasQuantities = env.joint_errors if quantity in OF_JOINT_ERRORS else _randomized(env, quantity)
        self.env = env
        names = self._owner.names_of(quantity)
        self._columns = match_ids(of, names, f"events: randomize {quantity}, of")
        self._names = [names[i] for i in self._columns.tolist()]
        self._columns = self._columns.to(env.device)
        self._nominal = self._owner.nominal(quantity)[self._columns]
        self._quantity, self._shared, self._labelled = quantity, shared, labelled
        self._operation, self._distribution = operation, distribution
        self.ranges = self.ranges_of(between=between)
        self.values = self._nominal.repeat(env.num_envs, 1)

    def __call__(self, env_ids: torch.Tensor) -> None:
        """Draw for `env_ids` (n,)."""
        draws = self.env.rand(len(env_ids), 1 if self._shared else len(self._names))
        low, high = self.ranges[0].unbind()
        if self._distribution == "log_uniform":
            drawn = low * (high / low) ** draws
        elif self._distribution == "gaussian":
            normal = torch.erfinv((2.0 * draws - 1.0).clamp(-0.999999, 0.999999)) * 2.0**0.5
            drawn = ((low + high) / 2 + (high - low) / 4 * normal).clamp(low, high)
        else:
            drawn = low + draws * (high - low)
        values = drawn.double()
        if self._operation == "scale":
            values = self._nominal * values
        elif self._operation == "add":
            values = self._nominal + values
        elif self._shared:
            values = values.expand(-1, len(self._names))
        self.values[env_ids] = values
        self._owner.set_quantity(self._quantity, env_ids, self._columns, values)

    def restart(self) -> None:
        """Set the nominal values where any was drawn."""
        if not torch.equal(self.values, self._nominal.expand_as(self.values)):
            self.values = self._nominal.repeat(self.env.num_envs, 1)
            every = torch.arange(self.env.num_envs, device=self.env.device)
            self._owner.set_quantity(self._quantity, every, self._columns, self.values)

    def ranges_of(self, between: tuple[float, float]) -> torch.Tensor:
        """Return the limits (1, 2)."""
        return torch.tensor([list(between)], dtype=torch.float64, device=self.env.device)

    def labels(self) -> dict[str, torch.Tensor]:
        """Return the present values by name."""
        if not self._labelled:
            return {}
        return {f"{self._quantity}_{name}": self.values[:, i].float() for i, name in enumerate(self._names)}


class apply_wrench:  # noqa: N801 - as the other events
    """Let an external force and torque act on bodies for a time: a push, a blow against a leg, wind.

    The force acts at the centre of mass of a body; its direction is fixed in the world. Force, torque and duration are
    drawn for each robot, force and torque for each of its bodies. A wrench begins with the next physics step and ends
    after whole control steps, at the latest at the reset; a new one takes the place of that of the same event. Wrenches
    of several events on one body add up.

    Labels, with `labelled`: `<part>_<body>` (N,) in N or N·m for each part that has a range, what acts in the step.

    Attributes:
        ranges: (6, 2) limits of the parts `regimen.envs.sims.quantities.WRENCH`, in N and N·m.
        wrench: (N, K, 6) float64, what acts.
        steps_left: (N,) int64, control steps until it ends.
    """

    MODES: ClassVar[tuple[str, ...]] = ("interval",)

    def __init__(
        self,
        env: TermEnv,
        of: str | list[str],
        duration_s: tuple[float, float],
        force: dict[str, tuple[float, float]] | None = None,
        torque: dict[str, tuple[float, float]] | None = None,
        labelled: bool = False,
    ) -> None:
        """Find the bodies.

        Args:
            env: the task, in a simulator with `RANDOMIZES`.
            of: regular expressions of bodies.
            duration_s: shortest and longest time in s, rounded up to control steps.
            force: ranges of x, y and z in N, world frame; an axis without one has no force.
            torque: ranges of x, y and z in N·m, likewise.
            labelled: whether the wrenches are labels of recorded data.

        Raises:
            ConfigError: a name is unknown, or the simulator has no external wrenches.
        """
        self.env, self._world = env, _randomized(env, "external wrenches")
        names = self._world.names_of("body_mass")
        ids = match_ids(of, names, "events: apply_wrench, of")
        self._names = [names[i] for i in ids.tolist()]
        self._columns = ids.to(env.device)
        low, high = duration_s
        if not 0.0 < low <= high:
            raise ConfigError(f"apply_wrench: duration_s={list(duration_s)}; expected [shortest, longest] above 0 s.")
        self._shortest, self._longest = (max(1, math.ceil(t / env.step_dt - 1e-9)) for t in (low, high))
        named = {f"force_{axis}" for axis in force or {}} | {f"torque_{axis}" for axis in torque or {}}
        self._labelled = [k for k, part in enumerate(WRENCH) if labelled and part in named]
        self.ranges = torch.zeros(len(WRENCH), 2, dtype=torch.float64, device=env.device)
        self.ranges = self.ranges_of(force, torque)
        self.wrench = torch.zeros(env.num_envs, len(ids), len(WRENCH), dtype=torch.float64, device=env.device)
        self.steps_left = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)

    def ranges_of(
        self,
        force: dict[str, tuple[float, float]] | None = None,
        torque: dict[str, tuple[float, float]] | None = None,
    ) -> torch.Tensor:
        """Return `ranges` with those of `force` and `torque` in their place.

        Raises:
            ConfigError: an axis is none of x, y, z.
        """
        given = {f"force_{axis}": limits for axis, limits in (force or {}).items()}
        given |= {f"torque_{axis}": limits for axis, limits in (torque or {}).items()}
        return with_ranges(self.ranges, given, WRENCH, "apply_wrench")

    def __call__(self, env_ids: torch.Tensor) -> None:
        """Begin a wrench in `env_ids` (n,)."""
        env, (low, high) = self.env, self.ranges.unbind(1)
        draws = env.rand(len(env_ids), len(self._names) * len(WRENCH) + 1).double()
        drawn = low + draws[:, 1:].view(len(env_ids), len(self._names), len(WRENCH)) * (high - low)
        steps = self._shortest + (draws[:, 0] * (self._longest - self._shortest + 1)).long()
        self._replace(env_ids, (drawn / WRENCH_STEP).round() * WRENCH_STEP)
        self.steps_left[env_ids] = steps.clamp_max(self._longest)

    def _replace(self, env_ids: torch.Tensor, wrench: torch.Tensor) -> None:
        """Let other wrenches (n, K, 6) act in `env_ids` (n,)."""
        self._world.add_wrench(env_ids, self._columns, wrench - self.wrench[env_ids])
        self.wrench[env_ids] = wrench

    def step(self) -> None:
        """End the wrenches whose time is over."""
        over = (self.steps_left == 0) & self.wrench.flatten(1).any(1)
        if self.env.reads.immediate:
            ids = over.nonzero().squeeze(1)
            if len(ids):
                self._replace(ids, torch.zeros_like(self.wrench[ids]))
        else:  # which ones are over is read from no device: to the others a wrench of 0 is added
            every = torch.arange(len(over), device=over.device)
            self._replace(every, self.wrench.masked_fill(over[:, None, None], 0.0))
        self.steps_left = (self.steps_left - 1).clamp_min(0)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Leave `env_ids` (n,), whose wrenches end with the episode, without one."""
        self.wrench[env_ids] = 0.0
        self.steps_left[env_ids] = 0

    def labels(self) -> dict[str, torch.Tensor]:
        """Return the parts that act, by name."""
        return {
            f"{WRENCH[k]}_{body}": self.wrench[:, i, k].float()
            for i, body in enumerate(self._names)
            for k in self._labelled
        }
