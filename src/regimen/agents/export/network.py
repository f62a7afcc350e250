"""The exported network: normaliser, policy and squashing, and the joint targets of its actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.base import FeedForwardPolicy
from regimen.config.targets import resolve
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from regimen.agents.base import Policy
    from regimen.envs.vec_env import ActionSpec, IOSpec
    from regimen.runs.checkpoint_header import PolicyBundle

    Acting = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]

CHECKED = 1000
TOLERANCE = 1e-5


class DeployedPolicy(nn.Module):
    """Observations of each group, (N, d) or images (N, H, W, C) uint8 -> actions (N, A) and targets (N, A)."""

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, network: nn.Module, action: ActionSpec) -> None:
        """Put scale, offset and clip of the action after `network`."""
        super().__init__()
        self.network, self.clip = network, action.clip
        self.register_buffer("scale", torch.tensor(action.scale))
        self.register_buffer("offset", torch.tensor(action.offset))

    def forward(self, *observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return actions (N, A) and joint targets (N, A)."""
        actions = self.network(*observations)
        return actions, self.offset + self.scale * clipped(actions, self.clip)


def clipped(actions: torch.Tensor, bound: float | None) -> torch.Tensor:
    """Return actions (N, A) within the bound on their absolute value, if there is one."""
    return actions if bound is None else actions.clamp(-bound, bound)


def load(bundle: PolicyBundle, io: IOSpec) -> tuple[Policy, nn.Module, list[str]]:
    """Return the policy of a checkpoint, its network, and the observation groups that it reads.

    Raises:
        CheckpointError: the policy is no `FeedForwardPolicy`, or reads images.
    """
    target = bundle["agent"]["_target_"]
    policy = resolve(target).load_policy(bundle, io, torch.device("cpu"))
    if images := getattr(policy, "images", None):
        raise CheckpointError(
            f"This policy reads the images {', '.join(images)}, and only policies of vectors can be exported. Act with "
            "it through regimen.load_policy, or train one without agent.images."
        )
    if not isinstance(policy, FeedForwardPolicy):
        raise CheckpointError(
            f"A policy of {target.rpartition('.')[2]} cannot be exported: it needs more than the present "
            "observation. Feed-forward ones can: those of skrl_ppo, rsl_rl_ppo, fast_sac, rl_games, amp, rlpd and bc."
        )
    network, groups = policy.feed_forward()
    return policy, DeployedPolicy(network, io.action).eval().requires_grad_(False), groups


def random_observations(io: IOSpec, groups: list[str], rows: int = CHECKED) -> dict[str, torch.Tensor]:
    """Return group -> random observations.

    Those of vectors are normal, (rows, d), from nearly 0 to far larger than those of a robot; images are uniform,
    (rows, H, W, C) uint8.
    """
    generator = torch.Generator().manual_seed(0)
    width = torch.linspace(0.05, 5.0, rows)[:, None]

    def drawn(group: str) -> torch.Tensor:
        if group in io.images:
            return torch.randint(0, 256, (rows, *io.images[group]), generator=generator, dtype=torch.uint8)
        return width * torch.randn(rows, io.size(group), generator=generator)

    return {group: drawn(group) for group in groups}


def largest_difference(acting: Acting, policy: Policy, io: IOSpec, groups: list[str]) -> float:
    """Return the largest difference between an exported network and its policy on random observations.

    The first observation is evaluated alone, as on a robot. Differences of values above 1 are relative.

    Args:
        acting: one tensor, (N, d) or (N, H, W, C), for each group -> actions and targets.
        policy: the policy.
        io: its observations and actions.
        groups: observation groups that it reads.
    """
    obs = random_observations(io, groups)
    with torch.inference_mode():
        wanted, _ = policy.act(obs, None)
        scale, offset = torch.tensor(io.action.scale), torch.tensor(io.action.offset)
        targets = offset + scale * clipped(wanted, io.action.clip)
        parts = [acting([value[rows] for value in obs.values()]) for rows in (slice(0, 1), slice(1, None))]
    gaps = [_gap(torch.cat([p[i] for p in parts]), value) for i, value in enumerate((wanted, targets))]
    return max(gaps)


def _gap(outputs: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference of (N, A), in units of the largest value of its column, or of 1 if that is less.

    The sums behind a small value have the rounding of the large ones that it is made of.
    """
    gap = (outputs - wanted).abs() / wanted.abs().amax(0).clamp(min=1.0)
    return float(gap.nan_to_num(float("inf")).max())
