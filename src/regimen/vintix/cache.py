"""What a transformer remembers between two steps: rings of keys and values, or of the tokens themselves.

Nothing is moved when a ring is full: the newest entry takes the oldest one's slot, and ALiBi reads the absolute
position of each slot. Keys of deeper layers have seen tokens that are gone since, so that from then on a ring of keys
sees a little further back than a window of tokens that is computed anew: until then both agree.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention

from regimen.vintix import alibi
from regimen.vintix.model import Attention, VintixNet


class Context(Protocol):
    """The last `context` steps of N environments, as a transformer needs them."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the newest tokens (N, hidden) have become, (N, hidden), and remember them."""
        ...


def reaches(net: VintixNet) -> list[int]:
    """Return for each head how many of the newest keys it can tell from none, at most the context.

    A query and a key are layer-normalised, so that their product is bounded by the norms' weights, by b say; a key that
    is x steps old has at most e^(2b - m x) of the weight of the newest one. What is left out is no approximation in
    float32: steep heads need a few hundred keys, whatever the context.
    """
    bound = max(_largest_product(block.attention) for block in net.layers)
    context = net.cfg.context
    steps = []
    for slope in alibi.slopes(net.cfg.heads).tolist():
        tail = -math.log1p(-math.exp(-slope))  # all keys beyond are a geometric series
        steps.append(min(context, math.ceil((2 * bound + alibi.FORGOTTEN + tail) / slope)))
    return steps


def _largest_product(attention: Attention) -> float:
    """Return a bound of the scaled product of any query and key."""
    norms = []
    for norm in (attention.q_norm, attention.k_norm):
        weight, offset = norm.weight.detach().float(), norm.bias.detach().float()
        norms.append(float(weight.abs().max()) * math.sqrt(attention.width) + float(offset.norm()))
    return norms[0] * norms[1] / math.sqrt(attention.width)


class _Ring:
    """Keys and values of those heads that reach equally far back, of all layers.

    Attributes:
        heads: which, (h,).
        size: slots.
        positions: (size,) absolute position of what is in each slot.
    """

    def __init__(self, heads: list[int], size: int, layers: int, envs: int, net: VintixNet) -> None:
        like = net.norm.weight
        together = heads == list(range(heads[0], heads[-1] + 1))  # then a view, else a copy
        self.size = size
        self.heads = slice(heads[0], heads[-1] + 1) if together else torch.tensor(heads, device=like.device)
        shape = (layers, envs, len(heads), size, net.cfg.width)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.positions = torch.zeros(size, device=like.device)
        self.slope = alibi.slopes(net.cfg.heads).to(like.device)[self.heads]
        self.slot = self.filled = 0
        self.bias = like.new_zeros(0)

    def advance(self, now: int) -> None:
        """Make room for position `now`, and reckon the bias of all slots, which the layers share."""
        self.slot, self.filled = now % self.size, min(now + 1, self.size)
        self.positions[self.slot] = now
        bias = alibi.bias(self.slope, self.positions[: self.filled], now)
        self.bias = bias[None, :, None].to(self.keys.dtype)

    def attend(self, layer: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
        """Keep the newest key and value; write what the newest query finds; all (N, H, d), of all heads."""
        keys, values = self.keys[layer], self.values[layer]
        keys[:, :, self.slot] = k[:, self.heads]
        values[:, :, self.slot] = v[:, self.heads]
        query = q[:, self.heads].unsqueeze(2)
        seen, held = keys[:, :, : self.filled], values[:, :, : self.filled]
        found = scaled_dot_product_attention(query, seen, held, attn_mask=self.bias, scale=1.0)
        out[:, self.heads] = found.squeeze(2)


class KeyCache:
    """Keys and values of the last `context` steps in all layers: a step costs no more than one token."""

    def __init__(self, net: VintixNet, envs: int) -> None:
        """Take all the memory it will need; see `bytes_of`."""
        self.net, self._steps = net, 0
        heads: dict[int, list[int]] = {}
        for head, size in enumerate(reaches(net)):
            heads.setdefault(size, []).append(head)
        self.rings = [_Ring(these, size, net.cfg.layers, envs, net) for size, these in heads.items()]

    @staticmethod
    def bytes_of(net: VintixNet, envs: int) -> int:
        """Return the bytes that `envs` environments take."""
        item = net.norm.weight.element_size()
        return 2 * net.cfg.layers * envs * sum(reaches(net)) * net.cfg.width * item

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `Context.step`."""
        for ring in self.rings:
            ring.advance(self._steps)
        self._steps += 1
        for layer, block in enumerate(self.net.layers):
            q, k, v = block.attention.project(block.norm1(tokens))
            out = torch.empty_like(q)
            for ring in self.rings:
                ring.attend(layer, q, k, v, out)
            tokens = tokens + block.attention.out(out.flatten(1))
            tokens = tokens + block.mlp(block.norm2(tokens))
        return self.net.norm(tokens)


class TokenWindow:
    """The last `context` tokens; all that follows from them is computed anew at each step."""

    def __init__(self, net: VintixNet, envs: int) -> None:
        """Take all the memory it will need; see `bytes_of`."""
        self.net, self._steps = net, 0
        self._tokens = net.norm.weight.new_zeros((envs, net.cfg.context, net.cfg.hidden))

    @staticmethod
    def bytes_of(net: VintixNet, envs: int) -> int:
        """Return the bytes that `envs` environments take: the tokens, and what a block makes of them."""
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
