"""Seeded rollouts, recorded and compared, for the rules of the conformance checker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from regimen.config.determinism import CLASSES
from regimen.envs.vec_env import IOSpec, Obs, VecEnv
from regimen.system.errors import EnvContractError

MakeEnv = Callable[[int], VecEnv]
"""Number of environments -> a new environment of that size."""


@dataclass
class Step:
    """Return value of one `env.step`, unchanged."""

    obs: Obs
    reward: torch.Tensor
    terminated: torch.Tensor
    truncated: torch.Tensor
    info: Mapping[str, Any] = field(default_factory=dict)  # unchecked: keys may be missing

    @property
    def done(self) -> torch.Tensor:
        """(N,) bool: the episodes that ended in this step."""
        return self.terminated | self.truncated

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return everything an agent reads, by name."""
        named = {"reward": self.reward, "terminated": self.terminated, "truncated": self.truncated}
        named |= {f"obs[{k!r}]": v for k, v in self.obs.items()}
        named |= {f"info['final_obs'][{k!r}]": v for k, v in self.info.get("final_obs", {}).items()}
        for group in ("labels", "metrics"):
            named |= {f"info[{group!r}][{k!r}]": v for k, v in self.info.get(group, {}).items()}
        return named


@dataclass
class Probe:
    """Input of a rule: how to open the environment, N, the seed, and a command that can be held fixed.

    Attributes:
        make_env: opens the environment.
        num_envs: how many to step together.
        seed: of environments and actions.
        command: name of the command that `stage=evaluate` holds, or None for a task without one.
        grid: two or more values of it.
        declared: determinism class, of `regimen.config.determinism.CLASSES`, that the simulator declares.
        repeated: class -> whether what it demands was equal bit for bit; filled by the rules that compare it.
    """

    make_env: MakeEnv
    num_envs: int
    seed: int
    command: str | None = None
    grid: list[list[float]] = field(default_factory=list)
    declared: str = "bit"
    repeated: dict[str, bool] = field(default_factory=dict)

    def compare(self, needed: str, what: str, found: str | None) -> str | None:
        """Record whether two futures are equal.

        Args:
            needed: determinism class that demands it.
            what: is compared.
            found: first difference, None if there is none.

        Returns:
            The difference as text, None if there is none.

        Raises:
            EnvContractError: there is one, and the simulator declares the class or a stronger one.
        """
        self.repeated[needed] = self.repeated.get(needed, True) and found is None
        demanded = CLASSES.index(self.declared) >= CLASSES.index(needed)
        expect(found is None or not demanded, f"{what}: {found}")
        return None if found is None else f"{what}: {found}, as the declared class `{self.declared}` allows"

    @contextmanager
    def open(self, num_envs: int | None = None) -> Iterator[VecEnv]:
        """Open an environment of `num_envs` (or the probe's size) and close it at the end."""
        env = self.make_env(num_envs or self.num_envs)
        try:
            yield env
        finally:
            env.close()

    def actions(self, env: VecEnv, count: int, size: float = 1.0) -> torch.Tensor:
        """Return `count` uniform actions within ±size, (count, N, A), the same at every call."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        draw = torch.rand(count, env.num_envs, env.io.num_actions, generator=generator)
        return ((draw * 2 - 1) * size).to(env.device)


def step(env: VecEnv, action: torch.Tensor) -> Step:
    """Step `env` once."""
    return Step(*env.step(action))


def rollout(env: VecEnv, actions: torch.Tensor) -> list[Step]:
    """Step `env` through `actions` (T, N, A) and keep a copy of all that was returned."""
    return [copy_step(step(env, action)) for action in actions]


def copy_step(got: Step) -> Step:
    """Return `got` with tensors of its own, without the log."""
    info = {k: {n: v.clone() for n, v in got.info.get(k, {}).items()} for k in ("final_obs", "labels", "metrics")}
    obs = {k: v.clone() for k, v in got.obs.items()}
    return Step(obs, got.reward.clone(), got.terminated.clone(), got.truncated.clone(), info)


def expect(condition: bool | torch.Tensor, message: str) -> None:
    """Raise `EnvContractError(message)` unless `condition` holds."""
    if not bool(condition):
        raise EnvContractError(message)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Return whether two tensors are equal bit for bit, NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))


def first_difference(a: list[Step], b: list[Step], rows: slice = slice(None)) -> str | None:
    """Return the first tensor and step where two rollouts differ in `rows`, or None.

    Rows of the final observation count only where an episode ended.
    """
    for t, (x, y) in enumerate(zip(a, b, strict=True)):
        others = y.tensors()
        for name, value in x.tensors().items():
            if "final_obs" in name and same(x.done, y.done):
                value, other = value[rows][x.done[rows]], others[name][rows][x.done[rows]]
            else:
                value, other = value[rows], others[name][rows]
            if not same(value, other):
                return f"{name} differs at step {t + 1}"
    return None


class Sized(Protocol):
    """The part of an environment that decides the shapes."""

    num_envs: int
    device: torch.device
    io: IOSpec


def expect_tensor(name: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype, env: Sized) -> None:
    """Raise unless `value` is a finite tensor of this shape and dtype on the device of `env`."""
    expect(isinstance(value, torch.Tensor), f"{name} is a {type(value).__name__}, expected a torch tensor")
    expect(tuple(value.shape) == shape, f"{name} has shape {tuple(value.shape)}, expected {shape}")
    expect(value.dtype == dtype, f"{name} is {value.dtype}, expected {dtype}")
    device = torch.device(env.device)
    expect(value.device.type == device.type, f"{name} is on {value.device}, env.device says {device}")
    expect(torch.isfinite(value).all(), f"{name} has values that are not finite")


def expect_obs(name: str, obs: Obs, env: Sized) -> None:
    """Raise unless `obs` has the groups, widths and image sizes that `env.io` names."""
    expect("policy" in obs, f"{name} has groups {sorted(obs)}, expected `policy` among them")
    named: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        group: ((env.num_envs, env.io.size(group)), torch.float32) for group in env.io.observations
    }
    named |= {group: ((env.num_envs, *size), torch.uint8) for group, size in env.io.images.items()}
    for group, value in obs.items():
        expect(group in named, f"{name} has group `{group}`, env.io does not name it")
        expect_tensor(f"{name}[{group!r}]", value, *named[group], env)
    missing = sorted(set(named) - set(obs))
    expect(not missing, f"env.io names groups {missing}, {name} lacks them")


def expect_step(got: Step, env: VecEnv) -> None:
    """Raise unless all that `env.step` returned has its shape, dtype and device."""
    n = (env.num_envs,)
    expect_obs("obs", got.obs, env)
    expect_tensor("reward", got.reward, n, torch.float32, env)
    expect_tensor("terminated", got.terminated, n, torch.bool, env)
    expect_tensor("truncated", got.truncated, n, torch.bool, env)
    for key in ("final_obs", "log", "labels", "metrics"):
        expect(key in got.info, f"info has {sorted(got.info)}, expected `{key}` among them")
