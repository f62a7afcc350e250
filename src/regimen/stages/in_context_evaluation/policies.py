"""Who plays in `stage=in_context`: the model, the same without rewards, other policies, one who knows, and chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.policy_file import load_policy
from regimen.stages.recording.actors import OptimalPolicy
from regimen.stages.recording.noise import RandomPolicy
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.stages.in_context_evaluation.config import InContextCfg


@dataclass(frozen=True)
class ComparedPolicy:
    """One row of the comparison.

    Attributes:
        name: key in result.json.
        label: what it is, for people.
        make: opens the policy when its turn has come.
    """

    name: str
    label: str
    make: Callable[[], Policy]


class RewardMaskedPolicy:
    """A policy that learns in context and is told a reward of 0 for whatever it does."""

    def __init__(self, policy: Any) -> None:
        """Keep the policy."""
        self.policy = policy

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Act as the policy does."""
        action, state = self.policy.act(obs, state)
        return action, state

    def observe(self, state: Any, reward: torch.Tensor) -> Any:
        """Tell it nothing of `reward` (N,)."""
        return self.policy.observe(state, torch.zeros_like(reward))

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Tell it of new episodes."""
        return self.policy.reset(state, env_ids)


def compared_policies(
    cfg: InContextCfg, env: VecEnv, seed: int, bundle: dict[str, Any], experts: Sequence[dict[str, Any]]
) -> list[ComparedPolicy]:
    """Return who plays, the model first.

    Args:
        cfg: the stage.
        env: where they play.
        seed: of what they draw.
        bundle: checkpoint of the model.
        experts: checkpoints to compare it with, each known by what it says of itself.

    Raises:
        ConfigError: the model does not learn in context.
    """
    _require_in_context(load_policy(bundle, env, seed), bundle)
    rows = [ComparedPolicy("model", "in context", _opener(cfg, env, seed, bundle, masked=cfg.mask_rewards))]
    if "masked" in cfg.baselines and not cfg.mask_rewards:
        rows.append(ComparedPolicy("masked", "the same, rewards masked", _opener(cfg, env, seed, bundle, masked=True)))
    for number, given in enumerate(experts, start=1):
        name, label = classify_checkpoint(given)
        known = {row.name for row in rows}
        name, label = (f"{name}_{number}", f"{label} ({number})") if name in known else (name, label)
        rows.append(ComparedPolicy(name, label, _opener(cfg, env, seed, given)))
    if "demonstrator" in cfg.baselines and hasattr(env, "optimal_action"):
        rows += (
            []
            if _has(rows, "demonstrator")
            else [ComparedPolicy("demonstrator", "demonstrator", lambda: OptimalPolicy(env))]
        )
    if "random" in cfg.baselines:
        rows.append(ComparedPolicy("random", "random", lambda: _chance(env, seed)))
    return rows


def _require_in_context(policy: Policy, bundle: dict[str, Any]) -> None:
    if not hasattr(policy, "observe"):
        agent = bundle["agent"]["_target_"].rpartition(".")[2]
        raise ConfigError(
            f"policy= is a {agent}, which is told no rewards and learns nothing in context: expected one of "
            "agent=vintix. To compare with it, type experts=[<run>]."
        )


def classify_checkpoint(bundle: dict[str, Any]) -> tuple[str, str]:
    """Return key and label of a policy to compare with, by what its checkpoint says of its training."""
    agent = bundle["agent"]
    if not {"model", "sampling"} <= agent.keys():
        return "demonstrator", "demonstrator"
    if agent["model"]["mask_rewards"]:
        return "reward_masked", "trained without rewards"
    modes = {task["mode"] for task in bundle["policy"]["tasks"].values()}
    if agent["sampling"]["last_frac"] < 1.0 or modes == {"expert"}:
        return "expert_distillation", "expert distillation"
    return "other", "another model"


def _has(rows: Sequence[ComparedPolicy], name: str) -> bool:
    return any(row.name == name for row in rows)


def _opener(
    cfg: InContextCfg, env: VecEnv, seed: int, bundle: dict[str, Any], masked: bool = False
) -> Callable[[], Policy]:
    def make() -> Policy:
        policy: Any = load_policy(bundle, env, seed)
        if not hasattr(policy, "observe"):
            return policy
        policy.use_cache, policy.use_fp16 = cfg.use_cache, cfg.use_fp16
        return RewardMaskedPolicy(policy) if masked else policy

    return make


def _chance(env: VecEnv, seed: int) -> Policy:
    """Return the policy of uniform actions, -1 to 1 in each direction or any of the discrete ones."""
    torch.manual_seed(seed)
    bound = torch.ones(env.io.num_actions, device=env.device)
    return RandomPolicy(torch.stack((-bound, bound)), bool(getattr(env, "discrete_actions", False)))
