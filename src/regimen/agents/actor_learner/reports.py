"""Figures of an actor's episodes and steps, as the flat values of `Channel.stats`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from regimen.envs.vec_env import StepInfo

RETURN, LENGTH = "episode/return", "episode/length"
LOG, METRIC, AGENT = "log/", "metric/", "agent/"
WEIGHT, STEPS = "log_episodes", "metric_steps"
"""Episodes of the values `log/…`, and env steps of the values `metric/…`, which are means."""

STEPS_AT_ONCE = 50
"""Env steps whose metrics are averaged, where no episode ends before."""


class Receiver(Protocol):
    """The statistics of a training; `TrainingSession` is one."""

    def receive_episode(self, total_return: float, length: int) -> None:
        """Add an episode."""
        ...

    def receive_means(self, means: Mapping[str, float], weight: int) -> None:
        """Add means over `weight` episodes or steps to the scalars of their names."""
        ...


class Reports:
    """Collects what `TrainingSession.step` collects, in an actor."""

    def __init__(self, num_envs: int) -> None:
        """Begin episodes in N envs."""
        self._return, self._length = torch.zeros(num_envs), torch.zeros(num_envs, dtype=torch.long)
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._ready: list[dict[str, float]] = []

    def step(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo) -> None:
        """Record one env step: reward, terminated, truncated (N,) and the env's info."""
        self._return += reward.cpu()
        self._length += 1
        self._steps += 1
        for name, values in info["metrics"].items():
            self._sums[name] = self._sums.get(name, 0.0) + float(values.mean())
        done = (terminated | truncated).cpu().nonzero().squeeze(1).tolist()
        for i in done:
            self._ready.append({RETURN: float(self._return[i]), LENGTH: float(self._length[i])})
            self._return[i], self._length[i] = 0.0, 0
        if done and info["log"]:
            means = {LOG + name: float(value) for name, value in info["log"].items()}
            self._ready[-1] |= means | {WEIGHT: float(len(done))}
        if self._sums and (done or self._steps >= STEPS_AT_ONCE):
            means = {METRIC + name: total / self._steps for name, total in self._sums.items()}
            self._ready.append(means | {STEPS: float(self._steps)})
            self._sums, self._steps = {}, 0

    def take(self) -> list[dict[str, float]]:
        """Return what is ready to be sent, and begin again."""
        ready, self._ready = self._ready, []
        return ready


def receive(values: Mapping[str, float], receiver: Receiver) -> dict[str, float]:
    """Add a report to the statistics of a training; return the agent's own values, without their prefix."""
    if RETURN in values and LENGTH in values:
        receiver.receive_episode(values[RETURN], int(values[LENGTH]))
    for prefix, weight, named in ((LOG, WEIGHT, ""), (METRIC, STEPS, "Metrics/")):
        if weight in values:
            means = {named + n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
            receiver.receive_means(means, int(values[weight]))
    return {name.removeprefix(AGENT): value for name, value in values.items() if name.startswith(AGENT)}
