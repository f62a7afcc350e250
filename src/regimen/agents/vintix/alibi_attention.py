"""Attention with linear biases (ALiBi, Press et al., arXiv 2108.12409): the weight of a key decreases with its age.

The bias of head h for a key at j and a query at i is -m_h * (i - j). Softmax does not change when a row gets a
constant, so that of the bias only m_h * j is needed, which depends on the key alone. It enters the product of query and
key as further columns, ones on the side of the query: causal attention then needs no mask, and no (T, T) bias is ever
made.

On a CPU another effect dominates: a steep head gives old keys weights that are denormal numbers in float32, on
which processors are slow. There a mask leaves those keys out that weigh nothing, and queries go in blocks, each with
the keys up to its end. Measured at T = 2048 with 8 heads of 64, forward and backward of a layer in ms of one core: one
additive mask 512, columns 427, blocks 227.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch.nn.functional import pad, scaled_dot_product_attention

BLOCK = 256
"""Queries of a block."""


def attention_horizon(dtype: torch.dtype) -> float:
    """Return x: keys that together weigh less than e^-x of the newest are left out; `dtype` has no digit for them."""
    return -math.log(torch.finfo(dtype).eps / 2)


def slopes(heads: int) -> torch.Tensor:
    """Return the slope m of each head, (heads,): 2^(-8/n), 2^(-16/n) and so on.

    A number of heads that is no power of two uses those of the power below, and every other one of the power above, as
    the paper does.
    """
    below = 2 ** math.floor(math.log2(heads))
    first = _geometric(below)
    return torch.tensor(first + _geometric(2 * below)[::2][: heads - below])


def _geometric(count: int) -> list[float]:
    return [2.0 ** (-8.0 * (i + 1) / count) for i in range(count)]


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, slope: torch.Tensor, dropout: float = 0.0
) -> torch.Tensor:
    """Return causal attention with ALiBi, (B, H, T, d); products of query and key are divided by the root of d.

    Args:
        q: (B, H, T, d).
        k: (B, H, T, d).
        v: (B, H, T, d).
        slope: (H,) float32.
        dropout: share of the attention weights left out.
    """
    if q.device.type == "cpu" and q.dtype == torch.float32:
        return _in_blocks(q, k, v, slope, dropout)
    scale = q.shape[-1] ** -0.5
    columns = _columns(slope / scale, k.shape[2], k.dtype)
    extra = columns.shape[-1]
    k = torch.cat((k, columns.expand(len(k), -1, -1, -1)), dim=-1)
    q = torch.cat((q, q.new_ones(()).expand(*q.shape[:-1], extra)), dim=-1)
    out = scaled_dot_product_attention(q, k, pad(v, (0, extra)), dropout_p=dropout, is_causal=True, scale=scale)
    return out[..., :-extra]


def _in_blocks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, slope: torch.Tensor, dropout: float) -> torch.Tensor:
    length, parts = q.shape[2], []
    mask = _mask(tuple(slope.tolist()), math.ceil(length / BLOCK) * BLOCK, _least_bias(q, k, slope))
    for begin in range(0, length, BLOCK):
        end = min(begin + BLOCK, length)
        here = mask[:, :, begin - end :, -end:]  # it depends on the distance alone
        block = (q[:, :, begin:end], k[:, :, :end], v[:, :, :end])
        parts.append(scaled_dot_product_attention(*block, attn_mask=here, dropout_p=dropout))
    return torch.cat(parts, dim=2)


def _least_bias(q: torch.Tensor, k: torch.Tensor, slope: torch.Tensor) -> int:
    """Return a bias, 0 or less, below which keys have no weight; a multiple of 16, so that masks can be cached.

    A scaled product of query and key is at most |q| |k| / sqrt(d), b say, so that a key has at most e^(2b - m x) of the
    weight of the newest one; all older keys are a geometric series.
    """
    most = float(q.detach().norm(dim=-1).max() * k.detach().norm(dim=-1).max()) / math.sqrt(q.shape[-1])
    tail = -math.log1p(-math.exp(-float(slope.min())))
    return -16 * math.ceil((2 * most + attention_horizon(q.dtype) + tail) / 16) if math.isfinite(most) else -(2**20)


@lru_cache(maxsize=8)
def _mask(slope: tuple[float, ...], length: int, least: int) -> torch.Tensor:
    """Return the bias of `length` keys for the last `BLOCK` queries, (1, H, BLOCK, length); -inf excludes a key."""
    with torch.inference_mode(False):  # it is cached, and may be used in a training
        distance = torch.arange(length) - torch.arange(length - BLOCK, length)[:, None]
        bias = torch.tensor(slope)[:, None, None] * distance
        return bias.masked_fill((distance > 0) | (bias < least), float("-inf"))[None]


def _columns(slope: torch.Tensor, length: int, dtype: torch.dtype) -> torch.Tensor:
    """Return m_h * j as columns (H, T, c) that add up to it: one of float32, three of 16 bits, which round it less.

    Positions are counted from the middle, which halves what is rounded.
    """
    positions = torch.arange(length, device=slope.device, dtype=torch.float32) - length // 2
    rest = slope.float()[:, None] * positions
    parts = []
    for _ in range(1 if dtype == torch.float32 else 3):
        parts.append(rest.to(dtype))
        rest = rest - parts[-1].float()
    return torch.stack(parts, dim=-1)
