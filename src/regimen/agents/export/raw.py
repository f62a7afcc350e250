"""The observation pipeline of a task in front of a network: readings of sensors in, history as a state.

The pipeline is that of `regimen.envs.observation_manager`: clip, scale, order of the terms, and history, whose first
value of an episode stands for all before it. Noise, bias and delay model the robot's own and are left out. The action
of the last step, which a policy may observe, is a part of the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.export.descriptions import LAST_ACTION
from regimen.envs.past_values import Part, PastValues

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from regimen.agents.export.descriptions import SensorDescription
    from regimen.envs.vec_env import IOSpec, Obs

STARTED = "started"
HISTORY = "history_"
RESERVED = ("actions", "targets")
"""Names of outputs, which no input may have."""


def history_of(io: IOSpec, path: str) -> int:
    """Return how many readings the term `group.term` has, the present one included."""
    group, _, name = path.partition(".")
    return int(io.meaning.get(group, {}).get(name, {}).get("history", 1))


class RawPolicy(nn.Module):
    """Readings (N, d) of each sensor and the state -> actions, targets and the next state of a `DeployedPolicy`.

    Attributes:
        state: part of the state -> its shape for one robot: that of the histories, then that of the network.
    """

    def __init__(
        self,
        deployed: nn.Module,
        io: IOSpec,
        groups: list[str],
        sensors: Mapping[str, SensorDescription],
        feedback: Collection[str],
        state: Mapping[str, list[int]],
    ) -> None:
        """Put the pipeline before `deployed`.

        Args:
            deployed: network of the observation groups and its own state.
            io: observations of the policy.
            groups: that it reads.
            sensors: readings of all terms.
            feedback: those of them that are the last action; the others are the inputs, in order.
            state: of `deployed`.
        """
        super().__init__()
        self.deployed, self.feedback = deployed, [name for name in sensors if name in feedback]
        self.sensors = [name for name in sensors if name not in feedback]
        longest = {name: max(history_of(io, path) for path in sensor.terms) for name, sensor in sensors.items()}
        self.past = {name: steps for name, steps in longest.items() if steps > 1}
        own = {LAST_ACTION: [io.num_actions]} if self.feedback else {}
        own |= {STARTED: [1]} if self.past else {}
        own |= {HISTORY + name: [steps - 1, sensors[name].size] for name, steps in self.past.items()}
        self.state, self.own_parts = own | dict(state), len(own)
        self.groups: list[list[tuple[str, int, float | None, float]]] = [
            [
                (name, history_of(io, f"{group}.{name}"), *_bounds(io, group, name))
                for name in io.observations[group]
            ]
            for group in groups
        ]  # fmt: skip

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return actions (N, A), targets (N, A), and the next state."""
        count = len(self.sensors)
        windows = {name: reading[:, None] for name, reading in zip(self.sensors, values[:count], strict=True)}
        before = dict(zip(self.state, values[count:], strict=True))
        windows |= {name: before[LAST_ACTION][:, None] for name in self.feedback}
        after = {}
        for name in self.past:
            earlier = torch.where(before[STARTED][:, :, None] > 0.5, before[HISTORY + name], windows[name])
            windows[name] = torch.cat((earlier, windows[name]), dim=1)
            after[HISTORY + name] = windows[name][:, 1:]
        observations = [self._group(terms, windows) for terms in self.groups]
        actions, targets, *others = self.deployed(*observations, *list(before.values())[self.own_parts :])
        if self.feedback:
            after[LAST_ACTION] = actions * 1.0  # an output of its own
        if self.past:
            after[STARTED] = torch.ones_like(before[STARTED])
        return actions, targets, *(after[name] for name in list(self.state)[: self.own_parts]), *others

    def _group(
        self, terms: list[tuple[str, int, float | None, float]], windows: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Return the observation (N, d) of a group from the last readings (N, n, d) of each sensor, oldest first."""
        parts = []
        for name, steps, clip, scale in terms:
            window = windows[name][:, -steps:]
            window = window if clip is None else window.clamp(-clip, clip)
            parts.append((window * scale).flatten(1))
        return torch.cat(parts, dim=1)


class Pipeline:
    """The same by the parts of the environment itself, for the check: readings in, observation groups out."""

    def __init__(self, io: IOSpec, groups: list[str], num_envs: int) -> None:
        """Begin episodes in N envs."""
        self._io, self._past = io, {}
        for group in groups:
            parts = []
            for name, size in io.observations[group].items():
                steps = history_of(io, f"{group}.{name}")
                parts.append(Part(size // steps, steps))
            self._past[group] = PastValues(parts, num_envs, torch.device("cpu"), torch.rand)

    def observe(self, readings: Mapping[str, torch.Tensor]) -> Obs:
        """Return group -> (N, d) of one step."""
        obs: Obs = {}
        for group, past in self._past.items():
            parts = []
            for name in self._io.observations[group]:
                clip, scale = _bounds(self._io, group, name)
                parts.append((readings[name] if clip is None else readings[name].clamp(-clip, clip)) * scale)
            obs[group] = past.read(torch.cat(parts, dim=1))
            past.step()
        return obs

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin new episodes in `env_ids` (n,)."""
        for past in self._past.values():
            past.reset(env_ids)


def _bounds(io: IOSpec, group: str, name: str) -> tuple[float | None, float]:
    """Return clip and scale of a term."""
    meaning = io.meaning.get(group, {}).get(name, {})
    clip, scale = meaning.get("clip"), meaning.get("scale", 1.0)
    return (None if clip is None else float(clip)), float(scale)
