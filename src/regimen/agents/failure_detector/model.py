"""The networks: a GRU that reads an episode step by step, and a baseline that reads one frame."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from regimen.system.errors import ConfigError, did_you_mean

HEADS = ("softmax", "multi_label")
BOUND = 10.0
"""Clip of the scaled inputs, in standard deviations: a falling robot must not saturate the network."""


@dataclass
class ModelCfg:
    """Size and output of the network.

    Attributes:
        layers: of the GRU.
        hidden: units of each.
        dropout: share of the units switched off in training, after each layer.
        head: `softmax`: exactly one of healthy and the joints; `multi_label`: each joint may fail by itself.
    """

    layers: int = 1
    hidden: int = 64
    dropout: float = 0.1
    head: str = "softmax"

    def problems(self) -> list[str]:
        """Return what is wrong with the figures, one line each."""
        sizes = {"model.layers": self.layers, "model.hidden": self.hidden}
        lines = [f"{name}={value}: expected 1 or more." for name, value in sizes.items() if value < 1]
        if not 0.0 <= self.dropout < 1.0:
            lines.append(f"model.dropout={self.dropout}: expected 0 or more, and less than 1.")
        if self.head not in HEADS:
            lines.append(f"model.head={self.head}: {did_you_mean(self.head, HEADS)}")
        return lines


class Scaler(nn.Module):
    """Subtracts the mean and divides by the standard deviation of the training data; saved with the network."""

    def __init__(self, size: int) -> None:
        """Args: size: width d of the input; it passes unchanged until `fit`."""
        super().__init__()
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Take mean and standard deviation (d,); a channel that does not vary keeps its scale."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the scaled inputs (…, d)."""
        return ((inputs - self.mean) / self.std).clamp(-BOUND, BOUND)


class DetectorNet(nn.Module):
    """Reads sequences (B, L, d), gives logits (B, L, O): O is 1 + J for softmax, J for multi_label.

    Attributes:
        state_shape: (layers, hidden) of the recurrent state; layers is 0 for a network without one.
    """

    state_shape: tuple[int, int]

    def __init__(self, size: int, classes: int, head: str) -> None:
        """Prepare scaler and head.

        Args:
            size: width d of the input.
            classes: 1 + J.
            head: see `ModelCfg`.
        """
        super().__init__()
        if head not in HEADS:
            raise ConfigError(f"agent.model.head={head}: {did_you_mean(head, HEADS)}")
        self.scaler, self.head_kind = Scaler(size), head
        self.outputs = classes if head == "softmax" else classes - 1

    def initial(self, batch: int) -> torch.Tensor:
        """Return the state at the begin of `batch` episodes, (layers, B, hidden)."""
        layers, hidden = self.state_shape
        return torch.zeros(layers, batch, hidden, device=self.scaler.mean.device)

    def forward(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (B, L, O) of `inputs` (B, L, d) and the state after them."""
        raise NotImplementedError

    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (N, O) of one observation (N, d) of each robot and the state after it."""
        logits, state = self(inputs[:, None], state)
        return logits[:, 0], state

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return (…, 1 + J) for logits (…, O). Of several labels, healthy has the probability that none is true."""
        if self.head_kind == "softmax":
            return logits.softmax(-1)
        failed = logits.sigmoid()
        return torch.cat(((1.0 - failed).prod(-1, keepdim=True), failed), dim=-1)


class GruNet(DetectorNet):
    """A gated recurrent unit (Cho et al. 2014) under a linear head."""

    def __init__(self, size: int, classes: int, cfg: ModelCfg) -> None:
        """Build the network; see `DetectorNet`."""
        super().__init__(size, classes, cfg.head)
        self.state_shape = (cfg.layers, cfg.hidden)
        between = cfg.dropout if cfg.layers > 1 else 0.0
        self.gru = nn.GRU(size, cfg.hidden, cfg.layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(cfg.dropout)
        self.head = nn.Linear(cfg.hidden, self.outputs)

    def forward(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `DetectorNet.forward`."""
        hidden, state = self.gru(self.scaler(inputs), state)
        return self.head(self.dropout(hidden)), state

    def step(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `DetectorNet.step`. Without dropout, cell by cell: half the time of a sequence of length 1."""
        hidden, states = self.scaler(inputs), []
        for layer, weights in enumerate(self.gru.all_weights):
            hidden = torch.gru_cell(hidden, state[layer], *weights)
            states.append(hidden)
        return self.head(hidden), torch.stack(states)


class FrameNet(DetectorNet):
    """A perceptron that reads one frame, without a recurrent state."""

    def __init__(self, size: int, classes: int, hidden: int, head: str = "softmax") -> None:
        """Build two hidden layers of `hidden` units; see `DetectorNet`."""
        super().__init__(size, classes, head)
        self.state_shape = (0, 0)
        widths = (size, hidden, hidden)
        layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ELU())]
        self.body = nn.Sequential(*layers, nn.Linear(hidden, self.outputs))

    def forward(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `DetectorNet.forward`."""
        return self.body(self.scaler(inputs)), state


def unroll(net: DetectorNet, inputs: torch.Tensor, chunk: int = 200) -> torch.Tensor:
    """Return logits (B, L, O) of whole episodes (B, L, d), without dropout and gradients."""
    net.eval()
    state, parts = net.initial(len(inputs)), []
    with torch.no_grad():
        for low in range(0, inputs.shape[1], chunk):
            logits, state = net(inputs[:, low : low + chunk], state)
            parts.append(logits)
    return torch.cat(parts, dim=1)
