"""The in-context policy: the transformer acts in N environments and reads the reward of each action.

Its context is in ring buffers of keys and values, or of tokens. Nothing is moved when a ring is full: the newest entry
replaces the oldest, and ALiBi reads the absolute position of each slot. Keys of deeper layers depend on tokens that
were overwritten since, so from then on a ring of keys reaches a little further back than a recomputed window of tokens;
before that both agree.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import scaled_dot_product_attention

from regimen.agents.training_session import free_bytes
from regimen.agents.vintix import alibi_attention
from regimen.agents.vintix.config import sixteen_bits
from regimen.agents.vintix.loss import spread
from regimen.agents.vintix.model import Attention, VintixNet
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs

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


@dataclass(frozen=True)
class Scaling:
    """Scaling of the observations and rewards of a task.

    Attributes:
        mean: (D,) of the observations.
        std: (D,), nowhere 0.
        reward: factor.
    """

    mean: torch.Tensor
    std: torch.Tensor
    reward: float

    def to(self, device: torch.device) -> Scaling:
        """Return it on a device."""
        return Scaling(self.mean.to(device), self.std.to(device), self.reward)


@dataclass
class Memory:
    """State of the policy for N environments; changed in place.

    Attributes:
        net: the network, in the precision that it works with.
        context: the steps so far.
        generator: of actions that are drawn.
        begins: (N,) bool, where an episode begins.
        action: (N, A), the last one.
        reward: (N,) for it, scaled; None until `observe`.
    """

    net: VintixNet
    context: Context
    generator: torch.Generator
    begins: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor | None


class VintixPolicy:
    """A policy that learns in context: the end of an episode does not clear its context.

    Attributes:
        use_cache: whether keys and values are kept, instead of computed again from the window at each step.
        use_fp16: whether it computes with 16 bits, see `to_half_precision`. Both count when the context begins.
    """

    def __init__(self, net: VintixNet, group: str, scaling: Scaling) -> None:
        """Take a trained network, on the device of the environments.

        Args:
            net: from here on without dropout and gradients.
            group: name of its encoder and head.
            scaling: of the task.
        """
        self.use_cache, self.use_fp16 = True, False
        self.net, self.group = net.eval().requires_grad_(False), group
        self.device = net.norm.weight.device
        self._scaling, self._about = scaling.to(self.device), net.groups[group]
        self._seed = int(torch.randint(2**31, ()))

    def act(self, obs: Obs, state: Memory | None) -> tuple[torch.Tensor, Memory]:
        """See `Policy.act`; a state None is an empty context.

        Raises:
            ConfigError: `observe` was not called after the last action, or the memory does not suffice.
        """
        memory = state or self._empty(len(obs["policy"]))
        if memory.reward is None:
            raise ConfigError(
                "A policy that learns in context needs the reward of each action, which this stage does not pass on. "
                "Type stage=in_context, or stage=evaluate."
            )
        with torch.inference_mode():  # its tensors stay here, except for the copy below
            action = self._act(obs["policy"], memory)
        memory.action, memory.reward = action.clone(), None
        memory.begins.zero_()
        return memory.action.clone(), memory

    def observe(self, state: Memory, reward: torch.Tensor) -> Memory:
        """Take the reward (N,) of the action that `act` returned last."""
        state.reward = reward.float() * self._scaling.reward
        return state

    def reset(self, state: Memory, env_ids: torch.Tensor) -> Memory:
        """Mark that episodes of `env_ids` (n,) begin; the context stays."""
        state.begins[env_ids] = True
        return state

    def _act(self, observation: torch.Tensor, memory: Memory) -> torch.Tensor:
        net, group, reward = memory.net, self.group, memory.reward
        assert reward is not None, "`act` has checked it"
        scaled = (observation - self._scaling.mean) / self._scaling.std
        inputs = (part.to(net.norm.weight.dtype) for part in (scaled, memory.action, reward))
        out = net.heads[group](memory.context.step(net.encoders[group](*inputs, memory.begins))).float()
        if not self._about.discrete and not net.cfg.stochastic:
            return out
        if not self._about.discrete:
            mean, deviation = spread(out)
            return mean + deviation * torch.randn(mean.shape, generator=memory.generator, device=mean.device)
        drawn = torch.multinomial(out.softmax(-1), 1, generator=memory.generator).squeeze(1)
        return functional.one_hot(drawn, self._about.action).float()

    def _empty(self, envs: int) -> Memory:
        """Return an empty context of `envs` environments."""
        net = self._working_net()
        kind = KeyCache if self.use_cache else TokenWindow
        _require_memory(kind.bytes_of(net, envs), envs, self.device)
        generator = torch.Generator(self.device).manual_seed(self._seed)
        begins = torch.ones(envs, dtype=torch.bool, device=self.device)
        nothing = torch.zeros(envs, self._about.action + 1, device=self.device)
        return Memory(net, kind(net, envs), generator, begins, nothing[:, 1:], nothing[:, 0])

    def _working_net(self) -> VintixNet:
        """Return the network in the configured precision.

        Raises:
            ConfigError: 16 bits are configured where they are slower.
        """
        if not self.use_fp16:
            return self.net
        if problem := sixteen_bits(self.device.type):
            raise ConfigError(problem)
        return to_half_precision(self.net)


def _require_memory(needed: int, envs: int, device: torch.device) -> None:
    """Raise if the context does not fit into memory; a process killed for it would leave no message."""
    available = free_bytes(device)
    if needed > available:
        fit = max(1, int(envs * available / needed))
        raise ConfigError(
            f"The context of {envs} environments needs {needed / 2**30:.1f} GiB, {available / 2**30:.1f} GiB are free "
            f"on {device}. Take about {fit} environments (stage.envs={fit}, or env.num_envs={fit})."
        )


def to_half_precision(net: VintixNet) -> VintixNet:
    """Return a copy that computes with 16 bits, half on CUDA, bfloat16 on a CPU; it must not be trained or saved.

    A step of one environment does little but read weights and keys, so that half the bytes are half the time. On a CPU
    linear layers are turned into the layout that oneDNN's kernels read, by the calls with which torch's own compiler
    does it, since the public ones convert them at each step; LayerNorm and the sums of tokens use float32.
    """
    half = copy.deepcopy(net)
    if net.norm.weight.device.type == "cuda":
        return half.half()
    for block in half.layers:
        block.attention.qkv = _packed(block.attention.qkv)
        block.attention.out = _packed(block.attention.out)
        inner, _, outer = block.mlp
        block.mlp = nn.Sequential(_packed(inner, "gelu"), _packed(outer))
    return half


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
        output = torch.ops.mkldnn._linear_pointwise(given, self.weight, self.bias, self.then, [], "none")
        return cast(torch.Tensor, output)
