"""The context of a transformer between two steps: ring buffers of keys and values, or of tokens.

Nothing is moved when a ring is full: the newest entry replaces the oldest, and ALiBi reads the absolute
position of each slot. Keys of deeper layers depend on tokens that were overwritten since, so from then on a ring of
keys reaches a little further back than a recomputed window of tokens; before that both agree.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention

from regimen.agents.vintix import alibi_attention
from regimen.agents.vintix.model import Attention, VintixNet

SPARE = 400
"""Superfluous keys that are read instead of calling attention once more: both need some 20 us."""

CHUNK = 256
"""Slots by which the part of a ring grows that is read, until it is full."""

NEVER = -6e4
"""Bias of a slot that does not count; no infinity, which is no number where a block of keys has nothing else."""


class Context(Protocol):
    """The last `context` steps of N environments, as a transformer needs them."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append the newest tokens (N, hidden) to the context; return the output for them, (N, hidden)."""
        ...


def layer_contexts(net: VintixNet) -> list[int]:
    """Return for each head the number of newest keys whose weight is above rounding, at most the context.

    A query and a key are layer-normalised, so that their product is bounded by the norms' weights, by b say; a key that
    is x steps old has at most e^(2b - m x) of the weight of the newest one. Leaving older keys out is exact, as their
    weight is below the precision of the type. Steep heads need a few hundred keys, whatever the context.
    """
    bound = max(_largest_product(block.attention) for block in net.layers)
    context = net.cfg.context
    steps = []
    for slope in alibi_attention.slopes(net.cfg.heads).tolist():
        tail = -math.log1p(-math.exp(-slope))  # all older keys are a geometric series
        steps.append(
            min(context, math.ceil((2 * bound + alibi_attention.attention_horizon(net.computes_with) + tail) / slope))
        )
    return steps


def _largest_product(attention: Attention) -> float:
    """Return a bound of the scaled product of any query and key."""
    norms = []
    for norm in (attention.q_norm, attention.k_norm):
        weight, offset = norm.weight.detach().float(), norm.bias.detach().float()
        norms.append(float(weight.abs().max()) * math.sqrt(attention.width) + float(offset.norm()))
    return norms[0] * norms[1] / math.sqrt(attention.width)


class Ring(NamedTuple):
    """Heads whose keys are in rings of one size; those that reach less far leave out what is older.

    Attributes:
        heads: which.
        size: slots of each.
    """

    heads: list[int]
    size: int


def rings(reach: list[int], envs: int) -> list[Ring]:
    """Share heads out over rings, shortest first: few calls for few environments, few bytes for many."""
    shared: list[Ring] = []
    for head in sorted(range(len(reach)), key=reach.__getitem__):
        last = shared[-1] if shared else Ring([], 0)
        if last.heads and len(last.heads) * (reach[head] - last.size) * envs <= SPARE:
            shared[-1] = Ring([*last.heads, head], reach[head])
        else:
            shared.append(Ring([head], reach[head]))
    return shared


class KeyCache:
    """Keys and values of the last `context` steps in all layers: a step costs no more than one token.

    The rings of all heads are the rows of one tensor for each layer, so that one call writes a step's keys.

    Attributes:
        rings: in the order of rows; a ring's heads follow one another.
        keys: (layers, N, rows, d).
        values: the same.
        positions: (rows,) absolute position of what is in each.
    """

    def __init__(self, net: VintixNet, envs: int) -> None:
        """Allocate all memory; see `bytes_of`."""
        self.net, self._steps = net, 0
        reach, device = layer_contexts(net), net.norm.weight.device
        self.rings = rings(reach, envs)
        heads = [head for ring in self.rings for head in ring.heads]
        sizes = torch.tensor([ring.size for ring in self.rings for _ in ring.heads], device=device)
        self._sizes, self._begins = sizes, sizes.cumsum(0) - sizes
        self._order = None if heads == sorted(heads) else torch.tensor(heads, device=device)
        self._slope = alibi_attention.slopes(len(heads)).to(device)[heads].repeat_interleave(sizes)
        self._reach = torch.tensor(reach, device=device)[heads].repeat_interleave(sizes)
        shape = (net.cfg.layers, envs, int(sizes.sum()), net.cfg.width)
        self.keys = torch.zeros(shape, dtype=net.computes_with, device=device)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.full((shape[2],), float("-inf"), device=device)
        # A float32 mask with 16-bit keys, which only CPUs accept, does not round the bias of old keys.
        self._bias = torch.zeros(shape[2], dtype=None if device.type == "cpu" else net.computes_with, device=device)
        self._read(0)

    @staticmethod
    def bytes_of(net: VintixNet, envs: int) -> int:
        """Return the bytes that `envs` environments need."""
        rows = sum(len(ring.heads) * ring.size for ring in rings(layer_contexts(net), envs))
        return 2 * net.cfg.layers * envs * rows * net.cfg.width * net.computes_with.itemsize

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Context.step`."""
        rows = self._advance()
        for layer, block in enumerate(self.net.layers):
            q, k, v = block.attention.project(block.norm1(tokens))
            if self._order is not None:
                q, k, v = (part[:, self._order] for part in (q, k, v))
            self.keys[layer].index_copy_(1, rows, k)
            self.values[layer].index_copy_(1, rows, v)
            attended = self._attend(layer, q)
            if self._order is not None:
                attended = torch.empty_like(attended).index_copy_(1, self._order, attended)
            tokens = tokens + block.attention.out(attended.flatten(1))
            tokens = tokens + block.mlp(block.norm2(tokens))
        return self.net.norm(tokens)

    def _advance(self) -> torch.Tensor:
        """Select the slot of the next step, and compute the bias of all rows; return the row of each head, (H,)."""
        now = self._steps
        if now % CHUNK == 0:
            self._read(now)
        rows = self._begins + now % self._sizes
        self.positions.index_fill_(0, rows, now)
        age = now - self.positions
        self._bias.copy_((-self._slope * age).masked_fill_(age >= self._reach, NEVER))
        self._steps += 1
        return rows

    def _read(self, now: int) -> None:
        """Choose what is read from step `now` on, by layer and ring: keys and values (N, h, slots, d), and the bias."""
        self._parts: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in self.keys]
        ends = [0, *torch.cumsum(torch.tensor([len(r.heads) * r.size for r in self.rings]), 0).tolist()]
        for ring, (begin, end) in zip(self.rings, pairwise(ends), strict=True):
            slots = min(ring.size, (now // CHUNK + 1) * CHUNK)
            bias = self._bias[begin:end].view(1, len(ring.heads), 1, ring.size)[..., :slots]
            for parts, *held in zip(self._parts, self.keys, self.values, strict=True):
                shape = (len(held[0]), len(ring.heads), ring.size, -1)
                parts.append((*(each[:, begin:end].view(shape)[:, :, :slots] for each in held), bias))

    def _attend(self, layer: int, q: torch.Tensor) -> torch.Tensor:
        """Return what queries (N, H, d), in the order of rows, find: (N, H, d)."""
        queries = q.unsqueeze(2).split([len(ring.heads) for ring in self.rings], dim=1)
        outputs = [
            scaled_dot_product_attention(query, keys, values, attn_mask=bias)
            for query, (keys, values, bias) in zip(queries, self._parts[layer], strict=True)
        ]
        return torch.cat(outputs, dim=1).squeeze(2)


class TokenWindow:
    """The last `context` tokens; the trunk is computed again at each step."""

    def __init__(self, net: VintixNet, envs: int) -> None:
        """Allocate all memory; see `bytes_of`."""
        self.net, self._steps = net, 0
        self._tokens = net.norm.weight.new_zeros((envs, net.cfg.context, net.cfg.hidden))

    @staticmethod
    def bytes_of(net: VintixNet, envs: int) -> int:
        """Return the bytes that `envs` environments need: the tokens, and the activations of a block."""
        inside = max(net.cfg.feedforward or 4 * net.cfg.hidden, 3 * net.cfg.inner)
        return envs * net.cfg.context * (4 * net.cfg.hidden + 2 * inside) * net.norm.weight.element_size()

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Context.step`."""
        size = self._tokens.shape[1]
        self._tokens[:, self._steps % size] = tokens
        self._steps += 1
        if self._steps <= size:
            window = self._tokens[:, : self._steps]
        else:
            oldest = self._steps % size
            window = torch.cat((self._tokens[:, oldest:], self._tokens[:, :oldest]), dim=1)
        return self.net.trunk(window)[:, -1]
