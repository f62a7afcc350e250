"""The transformer of Vintix (arXiv 2501.19400): one token a step, shared by all tasks; encoders and heads by group.

A token is the concatenation of an observation, the action before it and the reward for that action, so that a history
needs a third of the tokens of separate ones. A group of tasks has the same observations and actions.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import nn

from regimen.agents.vintix import alibi_attention
from regimen.agents.vintix.config import ModelCfg


@dataclass(frozen=True)
class Group:
    """Sizes of the observations and actions of a group of tasks.

    Attributes:
        observation: width D.
        action: width A.
        discrete: whether an action is one of A.
    """

    observation: int
    action: int
    discrete: bool = False

    def to_dict(self) -> dict[str, int]:
        """Return plain data for a checkpoint."""
        return asdict(self)


def outputs(group: Group, cfg: ModelCfg) -> int:
    """Return the width of a head: an action or logits; twice as wide for an action with a learned spread."""
    return group.action * (2 if cfg.stochastic and not group.discrete else 1)


class Encoder(nn.Sequential):
    """Two linear layers, each with LeakyReLU and LayerNorm."""

    def __init__(self, size: int, width: int) -> None:
        """Build (…, size) -> (…, width)."""
        layers = [nn.Linear(size, width), nn.LeakyReLU(), nn.LayerNorm(width)]
        super().__init__(*layers, nn.Linear(width, width), nn.LeakyReLU(), nn.LayerNorm(width))


class TokenEncoder(nn.Module):
    """Encodes tokens of one group; at the begin of an episode, learned vectors replace previous action and reward."""

    def __init__(self, group: Group, cfg: ModelCfg) -> None:
        """Build the encoders."""
        super().__init__()
        self.observation = Encoder(group.observation, cfg.embedding)
        self.action = Encoder(group.action, cfg.embedding)
        self.reward = nn.Sequential(nn.Linear(1, cfg.reward), nn.LeakyReLU())
        self.no_action = nn.Parameter(0.02 * torch.randn(cfg.embedding))
        self.no_reward = nn.Parameter(0.02 * torch.randn(cfg.reward))
        self.mask_rewards = cfg.mask_rewards

    def forward(
        self, observation: torch.Tensor, action: torch.Tensor, reward: torch.Tensor, begins: torch.Tensor
    ) -> torch.Tensor:
        """Return tokens (…, hidden).

        Args:
            observation: (…, D), normalised.
            action: (…, A) before it.
            reward: (…,) for that action, scaled.
            begins: (…,) bool, where an episode begins.
        """
        begins = begins[..., None]
        unknown = torch.ones_like(begins) if self.mask_rewards else begins
        observed, acted = self.observation(observation), self.action(action)
        rewarded = self.reward(reward[..., None])
        acted = torch.where(begins, self.no_action.to(acted.dtype), acted)
        rewarded = torch.where(unknown, self.no_reward.to(rewarded.dtype), rewarded)
        return torch.cat((observed, acted, rewarded), dim=-1)


class Head(nn.Sequential):
    """Three linear layers with LeakyReLU, and one that gives the action, or a logit for each discrete one."""

    def __init__(self, hidden: int, action: int) -> None:
        """Build (…, hidden) -> (…, action); `outputs` is the width."""
        layers = [module for _ in range(3) for module in (nn.Linear(hidden, hidden), nn.LeakyReLU())]
        super().__init__(*layers, nn.Linear(hidden, action))


class Attention(nn.Module):
    """Causal self-attention with normalised queries and keys, and ALiBi.

    Its inner width, heads * head_dim, need not be that of a token: 514 with 8 heads has 512 inside.
    """

    slope: torch.Tensor

    def __init__(self, cfg: ModelCfg) -> None:
        """Build the projections."""
        super().__init__()
        self.heads, self.width, self.dropout = cfg.heads, cfg.width, cfg.dropout
        self.qkv = nn.Linear(cfg.hidden, 3 * cfg.inner)
        self.out = nn.Linear(cfg.inner, cfg.hidden)
        self.q_norm, self.k_norm = nn.LayerNorm(cfg.width), nn.LayerNorm(cfg.width)
        self.register_buffer("slope", alibi_attention.slopes(cfg.heads), persistent=False)

    def project(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values (…, H, d) of tokens (…, hidden)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, self.width)).unbind(-3)
        return self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype), v

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, hidden) for tokens (B, T, hidden); each attends to itself and those before it."""
        q, k, v = (part.transpose(1, 2) for part in self.project(x))
        attended = alibi_attention.attention(q, k, v, self.slope, self.dropout if self.training else 0.0)
        return self.out(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron, each added to what it reads after a LayerNorm."""

    def __init__(self, cfg: ModelCfg) -> None:
        """Build the block."""
        super().__init__()
        inside = cfg.feedforward or 4 * cfg.hidden
        self.norm1, self.norm2 = nn.LayerNorm(cfg.hidden), nn.LayerNorm(cfg.hidden)
        self.attention = Attention(cfg)
        self.mlp = nn.Sequential(nn.Linear(cfg.hidden, inside), nn.GELU(), nn.Linear(inside, cfg.hidden))
        self.dropout = nn.Dropout(cfg.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, hidden) for tokens (B, T, hidden)."""
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class VintixNet(nn.Module):
    """Encoders and heads by group around one trunk.

    Attributes:
        groups: by name.
        cfg: its sizes.
    """

    def __init__(self, groups: dict[str, Group], cfg: ModelCfg) -> None:
        """Build it; the same torch seed gives the same weights whatever the order of the groups."""
        super().__init__()
        self.groups, self.cfg = {name: groups[name] for name in sorted(groups)}, cfg
        self.encoders = nn.ModuleDict({name: TokenEncoder(group, cfg) for name, group in self.groups.items()})
        self.heads = nn.ModuleDict({name: Head(cfg.hidden, outputs(group, cfg)) for name, group in self.groups.items()})
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.norm = nn.LayerNorm(cfg.hidden)
        self._start()

    def _start(self) -> None:
        """Draw the trunk's weights small, and smaller where they are added up over the layers, as GPT-2 does."""
        for name, weight in self.blocks.named_parameters():
            if weight.ndim == 2:
                added = name.endswith(("attention.out.weight", "mlp.2.weight"))
                nn.init.normal_(weight, std=0.02 / (math.sqrt(2 * self.cfg.layers) if added else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    @property
    def layers(self) -> list[Block]:
        """The blocks, first to last."""
        return [cast(Block, block) for block in self.blocks]

    @property
    def computes_with(self) -> torch.dtype:
        """The type of what attention reads and gives."""
        return self.layers[0].attention.qkv.weight.dtype

    def trunk(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the trunk's output (B, T, hidden) for tokens (B, T, hidden)."""
        for block in self.layers:
            tokens = block(tokens)
        return self.norm(tokens)

    def forward(
        self,
        group: str,
        observation: torch.Tensor,
        action: torch.Tensor,
        reward: torch.Tensor,
        begins: torch.Tensor,
    ) -> torch.Tensor:
        """Return actions or logits (B, T, A), or with spread (B, T, 2 A); arguments: `TokenEncoder.forward`."""
        tokens = self.encoders[group](observation, action, reward, begins)
        return self.heads[group](self.trunk(tokens))
