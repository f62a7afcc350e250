"""An actor's side of a training: it sends rows and figures every few steps, waits where it is too far ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from regimen.agents.actor_learner.channel import Channel, Rows, RowSender
from regimen.agents.actor_learner.reports import AGENT, Reports
from regimen.system import wire

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import StepInfo

PAUSE_S = 0.02
"""Time between two questions for the first weights, and two attempts to send to a full mailbox."""


class ActorSession:
    """What an agent calls while it acts for a learner elsewhere.

    Attributes:
        steps: env steps of each env of this actor so far.
    """

    def __init__(
        self, channel: Channel, num_envs: int, push_steps: int, kept: int, stopped: Callable[[], bool]
    ) -> None:
        """Ask the learner for the last row that it has of this actor.

        Args:
            channel: to the learner.
            num_envs: N.
            push_steps: env steps between two messages.
            kept: rows to keep for a learner that is restored from a checkpoint.
            stopped: whether the actor is to end.
        """
        self._channel, self._push_steps, self._stopped = channel, push_steps, stopped
        self._sender = RowSender(channel, max(kept, num_envs * push_steps), batch=num_envs * push_steps)
        self._reports = Reports(num_envs)
        self._agent_reports: list[dict[str, float]] = []
        self._version = -1
        self.steps = 0

    @property
    def running(self) -> bool:
        """Whether to act on."""
        return not self._stopped()

    def first_weights(self) -> wire.Message | None:
        """Wait for weights, and return them; None if the actor is to end before."""
        while self.running:
            weights = self.newer_weights()
            if weights is not None:
                return weights
            time.sleep(PAUSE_S)
        return None

    def newer_weights(self) -> wire.Message | None:
        """Return what the learner published last; None if that is known already.

        Raises:
            FinishedError: the training has finished.
            ServerError: the learner does not answer.
        """
        newer = self._channel.weights(self._version)
        if newer is None:
            return None
        self._version = newer[0]
        return wire.decode(newer[1])

    def step(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo) -> None:
        """Record one env step, as `TrainingSession.step`."""
        self._reports.step(reward, terminated, truncated, info)
        self.steps += 1

    def report(self, values: Mapping[str, float]) -> None:
        """Keep figures of the agent itself, which the learner's side of the agent receives."""
        self._agent_reports.append({AGENT + name: float(value) for name, value in values.items()})

    def send(self, rows: Rows) -> wire.Message | None:
        """Take the rows of one env step; every few steps send them, and return weights that are newer.

        It waits while the learner has as many rows as it may have in front of its updates.

        Args:
            rows: column -> (N, …).

        Raises:
            FinishedError: the training has finished.
            ServerError: the learner does not answer.
        """
        names, count = list(rows), len(next(iter(rows.values())))
        for i in range(count):
            self._sender.add({name: np.asarray(rows[name][i]) for name in names})
        if self.steps % self._push_steps:
            return None
        return self.push()

    def push(self) -> wire.Message | None:
        """Send rows and figures; return weights that are newer."""
        while not self._sender.flush() and self.running:
            time.sleep(PAUSE_S)
        for values in [*self._reports.take(), *self._agent_reports]:
            self._channel.stats(values)
        self._agent_reports = []
        return self.newer_weights()
