"""The network that is exported: normaliser, policy and squash as they act, and the targets its actions stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from regimen.agents.base import FeedForwardPolicy
from regimen.config.targets import resolve
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from regimen.agents.base import Policy
    from regimen.envs.vec_env import ActionSpec, IOSpec

    Acting = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]

CHECKED = 1000
TOLERANCE = 1e-5


class DeployedPolicy(nn.Module):
    """Observations of each group (N, d) -> actions (N, A) and targets (N, A)."""

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, network: nn.Module, action: ActionSpec) -> None:
        """Put scale, offset and clip of the action after `network`."""
        super().__init__()
        self.network, self.clip = network, action.clip
        self.register_buffer("scale", torch.tensor(action.scale))
        self.register_buffer("offset", torch.tensor(action.offset))

    def forward(self, *observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the environment takes, and what the joints are to do."""
        actions = self.network(*observations)
        return actions, self.offset + self.scale * clipped(actions, self.clip)


def clipped(actions: torch.Tensor, bound: float | None) -> torch.Tensor:
    """Return actions (N, A) within the bound on their absolute value, if there is one."""
    return actions if bound is None else actions.clamp(-bound, bound)


def load(bundle: dict[str, Any], io: IOSpec) -> tuple[Policy, nn.Module, list[str]]:
    """Return the policy of a checkpoint, its network, and the observation groups that it reads.

    Raises:
        CheckpointError: it is no network of the present observation alone.
    """
    target = bundle["agent"]["_target_"]
    policy = resolve(target).load_policy(bundle, io, torch.device("cpu"))
    if not isinstance(policy, FeedForwardPolicy):
        raise CheckpointError(
            f"A policy of {target.rpartition('.')[2]} cannot be exported: it acts by more than the present "
            "observation. Feed-forward ones can: those of skrl_ppo, rsl_rl_ppo and fast_sac."
        )
    network, groups = policy.feed_forward()
    return policy, DeployedPolicy(network, io.action).eval().requires_grad_(False), groups


def random_observations(io: IOSpec, groups: list[str], rows: int = CHECKED) -> dict[str, torch.Tensor]:
    """Return group -> observations (rows, d), normal ones, from nearly 0 to far beyond what a robot meets."""
    generator = torch.Generator().manual_seed(0)
    width = torch.linspace(0.05, 5.0, rows)[:, None]
    return {group: width * torch.randn(rows, io.size(group), generator=generator) for group in groups}


def largest_difference(acting: Acting, policy: Policy, io: IOSpec, groups: list[str]) -> float:
    """Return by how much an exported network differs from its policy on random observations, actions and targets.

    The first observation goes alone, as on a robot, the others together. A value above 1 counts by its share.

    Args:
        acting: one tensor (N, d) for each group -> actions and targets.
        policy: as it acts here.
        io: what it reads and writes.
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


def _gap(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference of (N, A), in units of the largest value of its column, or of 1 if that is less.

    The sums behind a small value have the rounding of the large ones that it is made of.
    """
    gap = (found - wanted).abs() / wanted.abs().amax(0).clamp(min=1.0)
    return float(gap.nan_to_num(float("inf")).max())
