"""16-bit inference of the transformer: half on CUDA, bfloat16 on CPUs that support it.

A step of one environment does little but read weights and keys, so that half the bytes are half the time. On a CPU
linear layers are turned into the layout that oneDNN's kernels read, by the calls with which torch's own compiler does
it, since the public ones convert them at each step; LayerNorm and the sums of tokens use float32.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn

from regimen.agents.vintix.model import VintixNet


def to_half_precision(net: VintixNet) -> VintixNet:
    """Return a copy that computes with 16 bits; it must not be trained or saved."""
    found = copy.deepcopy(net)
    if net.norm.weight.device.type == "cuda":
        return found.half()
    for block in found.layers:
        block.attention.qkv = _packed(block.attention.qkv)
        block.attention.out = _packed(block.attention.out)
        inner, _, outer = block.mlp
        block.mlp = nn.Sequential(_packed(inner, "gelu"), _packed(outer))
    return found


def _packed(linear: nn.Module, then: str = "none") -> nn.Linear:
    return cast(nn.Linear, _Packed(cast(nn.Linear, linear), then))


class _Packed(nn.Module):
    """A linear layer in bfloat16, (…, in) of any type to (…, out) in bfloat16."""

    def __init__(self, linear: nn.Linear, then: str) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().bfloat16())
        self.bias, self.then = linear.bias.detach().bfloat16(), then

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = x.bfloat16()
        found = torch.ops.mkldnn._linear_pointwise(given, self.weight, self.bias, self.then, [], "none")
        return cast(torch.Tensor, found)
