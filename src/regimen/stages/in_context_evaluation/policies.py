"""Policies compared by `stage=in_context`: the model, reward-masked, experts, optimal, random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.base import InContextPolicy
from regimen.agents.policy_file import load_policy
from regimen.envs.vec_env import is_solved
from regimen.stages.recording.history_policies import OptimalPolicy, RandomPolicy
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.stages.in_context_evaluation.config import InContextCfg


@dataclass(frozen=True)
class ComparedPolicy:
    """One row of the comparison.

    Attributes:
        name: key in result.json.
        label: in tables and figures.
        make: loads the policy.
    """

    name: str
    label: str
    make: Callable[[], Policy]


class RewardMaskedPolicy:
    """In-context policy whose observed rewards are all 0."""

    def __init__(self, policy: InContextPolicy) -> None:
        """Wrap `policy`."""
        self.policy = policy

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return action and state of the wrapped policy."""
        action, state = self.policy.act(obs, state)
        return action, state

    def observe(self, state: Any, reward: torch.Tensor) -> Any:
        """Pass zeros (N,) instead of `reward` (N,)."""
        return self.policy.observe(state, torch.zeros_like(reward))

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Reset the wrapped policy."""
        return self.policy.reset(state, env_ids)


def compared_policies(
    cfg: InContextCfg, env: VecEnv, seed: int, bundle: PolicyBundle, experts: Sequence[PolicyBundle]
) -> list[ComparedPolicy]:
    """Return the compared policies, the model first.

    Args:
        cfg: config of the stage.
        env: env of the rollouts.
        seed: of random policies.
        bundle: checkpoint of the model.
        experts: checkpoints of other policies, named by `classify_checkpoint`.

    Raises:
        ConfigError: the model does not learn in context.
    """
    _require_in_context(load_policy(bundle, env, seed), bundle)
    rows = [ComparedPolicy("model", "in context", _opener(cfg, env, seed, bundle, masked=cfg.mask_rewards))]
    if "masked" in cfg.baselines and not cfg.mask_rewards:
        rows.append(ComparedPolicy("masked", "the same, rewards masked", _opener(cfg, env, seed, bundle, masked=True)))
    for number, expert in enumerate(experts, start=1):
        name, label = classify_checkpoint(expert)
        names = {row.name for row in rows}
        name, label = (f"{name}_{number}", f"{label} ({number})") if name in names else (name, label)
        rows.append(ComparedPolicy(name, label, _opener(cfg, env, seed, expert)))
    missing = all(row.name != "demonstrator" for row in rows)
    if missing and "demonstrator" in cfg.baselines and is_solved(env):
        rows.append(ComparedPolicy("demonstrator", "demonstrator", lambda: OptimalPolicy(env)))
    if "random" in cfg.baselines:
        rows.append(ComparedPolicy("random", "random", lambda: _random_policy(env, seed)))
    return rows


def _require_in_context(policy: Policy, bundle: PolicyBundle) -> None:
    if not isinstance(policy, InContextPolicy):
        agent = bundle["agent"]["_target_"].rpartition(".")[2]
        raise ConfigError(
            f"policy= is a {agent}, which does not learn in context: expected a policy of agent=vintix. "
            "Type experts=[<run>] to compare it."
        )


def classify_checkpoint(bundle: PolicyBundle) -> tuple[str, str]:
    """Return key and label of a compared policy, from the training config in its checkpoint."""
    agent = bundle["agent"]
    if not {"model", "sampling"} <= agent.keys():
        return "demonstrator", "demonstrator"
    if agent["model"]["mask_rewards"]:
        return "reward_masked", "trained without rewards"
    modes = {task["mode"] for task in bundle["policy"]["tasks"].values()}
    if agent["sampling"]["last_frac"] < 1.0 or modes == {"expert"}:
        return "expert_distillation", "expert distillation"
    return "other", "another model"


def _opener(
    cfg: InContextCfg, env: VecEnv, seed: int, bundle: PolicyBundle, masked: bool = False
) -> Callable[[], Policy]:
    def make() -> Policy:
        policy = load_policy(bundle, env, seed)
        if not isinstance(policy, InContextPolicy):
            return policy
        learner: Any = policy
        learner.use_cache, learner.use_fp16 = cfg.use_cache, cfg.use_fp16
        return RewardMaskedPolicy(policy) if masked else policy

    return make


def _random_policy(env: VecEnv, seed: int) -> Policy:
    """Return the policy of uniform actions: -1 to 1 in each dimension, or any discrete action."""
    torch.manual_seed(seed)
    bound = torch.ones(env.io.num_actions, device=env.device)
    return RandomPolicy(torch.stack((-bound, bound)), bool(getattr(env, "discrete_actions", False)))
