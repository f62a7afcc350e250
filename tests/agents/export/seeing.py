"""A policy that reads an image beside a vector, for tests of the export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass
class SeeingCfg:
    _target_: str = "agents.export.seeing.Seeing"


class _Network(nn.Module):
    def __init__(self, width: int, num_actions: int) -> None:
        super().__init__()
        self.look, self.last = nn.Conv2d(3, 4, 3, stride=2), nn.LazyLinear(num_actions)

    def forward(self, vector: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        pixels = image.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        action: torch.Tensor = self.last(torch.cat([vector, self.look(pixels).relu().flatten(1)], dim=1))
        return action


class Seeing:
    """Random weights; it acts by the group `policy` and the image `wrist`."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @classmethod
    def load_policy(cls, bundle: Any, io: Any, device: torch.device) -> Seeing:
        torch.manual_seed(0)
        network = _Network(io.size("policy"), io.num_actions)
        network(torch.zeros(1, io.size("policy")), torch.zeros(1, *io.images["wrist"], dtype=torch.uint8))
        return cls(network)

    def act(self, obs: Any, state: None) -> tuple[torch.Tensor, None]:
        return self.network(obs["policy"], obs["wrist"]), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None: ...

    def feed_forward(self) -> tuple[nn.Module, list[str]]:
        return self.network, ["policy", "wrist"]
