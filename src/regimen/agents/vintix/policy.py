"""The in-context policy: the transformer acts in N environments and reads the reward of each action."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from regimen.agents.training_session import free_bytes
from regimen.agents.vintix.config import sixteen_bits
from regimen.agents.vintix.kv_cache import Context, KeyCache, TokenWindow
from regimen.agents.vintix.loss import spread
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.vintix.model import VintixNet
    from regimen.envs.vec_env import Obs


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
