"""An exported policy, ONNX or TorchScript, as a policy; it cannot be trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from regimen.agents.export.descriptions import LAST_ACTION
from regimen.agents.export.formats import open_network

if TYPE_CHECKING:
    from regimen.envs.vec_env import IOSpec, Obs
    from regimen.runs.checkpoint_header import PolicyBundle

State = dict[str, torch.Tensor] | None
"""Part of the state -> (N, …); None before the first step, and of a network without state."""


@dataclass
class ExportedCfg:
    """No settings: the file has the description."""

    POLICY_FORMAT: ClassVar[str] = "exported"
    _target_: str = "regimen.agents.exported.Exported"


class Exported:
    """A policy that returns the action of an exported network.

    Attributes:
        network: inputs and state -> actions, targets and next state.
        groups: observation groups that are read.
    """

    def __init__(self, path: Path, inputs: list[str], state: dict[str, list[int]], readings: list[Reading]) -> None:
        """Load the network of a file.

        Args:
            path: of the file.
            inputs: observation groups that it reads; of a file with the observation pipeline not used.
            state: part of its state -> shape for one robot.
            readings: of a file with the observation pipeline: where its inputs are in the observation groups.
        """
        self.network = open_network(path)
        self._readings, self._shapes = readings, state
        self.groups = list(dict.fromkeys(reading.group for reading in readings)) or inputs

    def act(self, obs: Obs, state: State) -> tuple[torch.Tensor, State]:
        """Return the action (N, A) for the observations (N, d) of its groups, and the next state, part by part."""
        inputs = [obs[group] for group in self.groups]
        before = dict(state or self._zeros(inputs[0]))
        if self._readings:
            values = {reading.name: reading.of(obs) for reading in self._readings}
            before |= {name: values.pop(name) for name in (LAST_ACTION,) if name in before}
            inputs = list(values.values())
        action, _, *after = self.network([*inputs, *before.values()])
        return action, dict(zip(self._shapes, after, strict=True)) or None

    def _zeros(self, like: torch.Tensor) -> dict[str, torch.Tensor]:
        zeros = torch.zeros
        return {name: zeros(len(like), *shape, device=like.device) for name, shape in self._shapes.items()}

    def reset(self, state: State, env_ids: torch.Tensor) -> State:
        """Return the state with zeros in the rows `env_ids` (n,), the start of an episode."""
        return state and {name: part.index_fill(0, env_ids, 0.0) for name, part in state.items()}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> Exported:
        """Return the policy of a bundle made by `export.header`; it uses the device of the observations."""
        told = bundle["policy"]
        readings = [Reading.find(name, path, io) for name, path in told["readings"].items()]
        return cls(Path(told["path"]), told["inputs"], told["state"], readings)


@dataclass(frozen=True)
class Reading:
    """Where the newest reading of an input is in the observations of the environment, which are scaled already.

    Attributes:
        name: of the input.
        group: of the observations.
        columns: of the group.
        scale: that the environment has multiplied it by.
    """

    name: str
    group: str
    columns: slice
    scale: float

    @classmethod
    def find(cls, name: str, path: str, io: IOSpec) -> Reading:
        """Return where the term `group.term` is read; a history has its newest value last."""
        group, _, term = path.partition(".")
        sizes, meaning = io.observations[group], io.meaning.get(group, {}).get(term, {})
        names = list(sizes)
        end = sum(sizes[earlier] for earlier in names[: names.index(term) + 1])
        width = sizes[term] // int(meaning.get("history", 1))
        return cls(name, group, slice(end - width, end), float(meaning.get("scale", 1.0)))

    def of(self, obs: Obs) -> torch.Tensor:
        """Return the reading (N, d) in the unit of the sensor."""
        scaled = obs[self.group][:, self.columns]
        return scaled if self.scale in (0.0, 1.0) else scaled / self.scale
