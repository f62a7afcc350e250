"""Networks of FastSAC: a squashed Gaussian actor, distributional or scalar critics, and running normalisers."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

LOG_2, HALF_LOG_2PI = math.log(2.0), 0.5 * math.log(2.0 * math.pi)
NORM_EPS = 1e-2
"""Added to the standard deviation, so that nearly constant values are not amplified."""


class RunningNorm(nn.Module):
    """Running mean and variance (Chan, Golub and LeVeque 1983), and normalisation by them.

    Attributes:
        mean, var: (d,) float32.
        count: () float64, number of rows.
    """

    mean: torch.Tensor
    var: torch.Tensor
    count: torch.Tensor

    def __init__(self, size: int, device: torch.device) -> None:
        """Start with mean 0 and variance 1, which the first rows replace."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, device=device))
        self.register_buffer("var", torch.ones(size, device=device))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64, device=device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (…, d) with about mean 0 and standard deviation 1."""
        return (x - self.mean) / (self.var.sqrt() + NORM_EPS)

    def sums(self, x: torch.Tensor) -> torch.Tensor:
        """Return rows, sums and sums of squares of x (B, d) around the present mean, (2 d + 1): these may be added."""
        gap = x - self.mean
        return torch.cat((gap.new_full((1,), len(x)), gap.sum(0), gap.square().sum(0)))

    def update(self, sums: torch.Tensor) -> None:
        """Update mean and variance by the `sums` of new rows."""
        rows, size = sums[0].double(), len(self.mean)
        shift = sums[1 : size + 1] / sums[0]
        within = (sums[size + 1 :] - sums[0] * shift.square()).clamp(min=0)  # rounding
        total = self.count + rows
        old, new = (self.count / total).float(), (rows / total).float()
        self.var.mul_(old).add_(within / total.float() + shift.square() * old * new)
        self.mean.add_(shift * new)
        self.count.copy_(total)


def pyramid(inputs: int, hidden: int, outputs: int, layer_norm: bool) -> nn.Sequential:
    """Return hidden layers of widths H, H/2 and H/4, each with layer norm and SiLU, and a linear output."""
    layers: list[nn.Module] = []
    for width in (hidden, hidden // 2, hidden // 4):
        layers += [nn.Linear(inputs, width), *([nn.LayerNorm(width)] if layer_norm else []), nn.SiLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class Actor(nn.Module):
    """A Gaussian squashed by tanh and scaled to each joint's bound (Haarnoja et al. 2018, appendix C).

    Attributes:
        scale: (A,) largest absolute action of each joint; saved with the weights, which depend on it.
    """

    scale: torch.Tensor

    def __init__(
        self, inputs: int, hidden: int, scale: torch.Tensor, log_std: tuple[float, float], layer_norm: bool = True
    ) -> None:
        """Build the network; it begins with mean 0 and the standard deviation in the middle of the range.

        Args:
            inputs: width of the observation.
            hidden: width of the first hidden layer.
            scale: (A,).
            log_std: range of the logarithm of the standard deviation, before squashing and scaling.
            layer_norm: whether hidden layers are normalised.
        """
        super().__init__()
        self.net = pyramid(inputs, hidden, 2 * len(scale), layer_norm)
        self.low, self.high = log_std
        self.register_buffer("scale", scale)
        head = self.net[-1]
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the action (B, A) at the mean of the Gaussian for a normalised observation (B, d)."""
        mean, _ = self.net(obs).chunk(2, dim=-1)
        return torch.tanh(mean) * self.scale

    def distribution(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log standard deviation (B, A) of the Gaussian before squashing."""
        mean, z = self.net(obs).float().chunk(2, dim=-1)
        return mean, self.low + 0.5 * (self.high - self.low) * (torch.tanh(z) + 1)

    def sample(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw actions (B, A) and return them with their log density (B,), that of the scaled action."""
        mean, log_std = self.distribution(obs)
        noise = torch.randn_like(mean)
        raw = torch.addcmul(mean, log_std.exp(), noise)
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), without the cancellation at large u.
        flatness = 2 * (raw + functional.softplus(-2 * raw))
        log_prob = (flatness - torch.addcmul(log_std, noise, noise, value=0.5)).sum(-1)
        constant = self.scale.log().sum() + len(self.scale) * (HALF_LOG_2PI + 2 * LOG_2)
        return torch.tanh(raw) * self.scale, log_prob - constant


class Critics(nn.Module):
    """E independent networks of the value of observation and action.

    They run one after another: on a CPU a batched product takes 1.1 to 1.3 times as long, forward and backward.

    Attributes:
        support: (Z,) atoms of a distributional critic; (1,) for a scalar one.
    """

    support: torch.Tensor

    def __init__(self, inputs: int, hidden: int, count: int, support: torch.Tensor, layer_norm: bool = True) -> None:
        """Build the networks.

        Args:
            inputs: width of observation and action together.
            hidden: width of the first hidden layer.
            count: E.
            support: (Z,) equally spaced.
            layer_norm: whether hidden layers are normalised.
        """
        super().__init__()
        self.register_buffer("support", support)
        self.nets = nn.ModuleList(pyramid(inputs, hidden, len(support), layer_norm) for _ in range(count))

    def forward(self, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return the outputs (E, B, Z) for obs (B, d) and action (B, A): logits, or one value each."""
        return torch.stack(self.each(obs, action))

    def each(self, obs: torch.Tensor, action: torch.Tensor) -> list[torch.Tensor]:
        """Return the outputs of `forward` as a list of E tensors (B, Z), whose gradients need no copy."""
        inputs = torch.cat((obs, action), dim=-1)
        return [net(inputs).float() for net in self.nets]

    def value(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return the expected values (…, B) of outputs (…, B, Z)."""
        return outputs.squeeze(-1) if len(self.support) == 1 else outputs.softmax(-1) @ self.support


def least(probs: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """Return for each row the distribution of the critic with the lowest mean.

    Clipped double Q learning (Fujimoto et al. 2018, equation 10) for distributions, as in FastTD3.

    Args:
        probs: (E, B, Z).
        support: (Z,).

    Returns:
        (E, B, Z), the same for all E.
    """
    lowest = (probs * support).sum(-1).argmin(0)  # a matrix product would be rounded to 16 bits under autocast
    return probs[lowest, torch.arange(len(lowest), device=probs.device)].expand_as(probs)


def project(probs: torch.Tensor, values: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """Move a distribution back onto its support (Bellemare et al. 2017, algorithm 1): mass is shared by neighbours.

    The lower neighbour is never the last atom, so that both neighbours differ.

    Args:
        probs: (E, B, Z).
        values: (B, Z), new position of each atom; positions outside the support are clamped to its ends.
        support: (Z,) equally spaced.

    Returns:
        (E, B, Z), of the same mass.
    """
    last = len(support) - 1
    position = ((values - support[0]) * (last / (support[-1] - support[0]))).clamp(0, last)
    # NaN stays in the shares, where it is reported; as an index it would crash the process.
    lower = position.floor().clamp(max=last - 1).nan_to_num(0.0)
    upper, index = probs * (position - lower), lower.long()
    onto = torch.zeros_like(probs).scatter_add_(-1, index.expand_as(probs), probs - upper)
    return onto.scatter_add_(-1, (index + 1).expand_as(probs), upper)
