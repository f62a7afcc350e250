"""A combined policy: a healthy policy, replaced after a verdict by the expert of the faulty joint.

The original's design: one policy for each joint that can fail, or for each leg, chosen by the classifier. An expert is
a policy that was trained with faults of certain joints only; they are named in its checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from regimen.config.targets import resolve
from regimen.envs.fault_estimate.columns import PROBABILITY, SINCE
from regimen.envs.vec_env import IOSpec
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict


@dataclass
class SwitchedExpertsCfg:
    """A combined policy; it has no settings."""

    POLICY_FORMAT: ClassVar[str] = "switched_experts"
    _target_: str = "regimen.agents.switched_experts.SwitchedExperts"


class SwitchedExperts:
    """Assembles and loads the policy."""

    @staticmethod
    def assemble(healthy: PolicyBundle, experts: Sequence[PolicyBundle], io: IOSpec) -> StateDict:
        """Return the `policy` part of a checkpoint.

        Args:
            healthy: checkpoint of the policy that acts without a verdict.
            experts: checkpoints whose `faults` name the joints that failed in their training.
            io: of the task, an estimate among its terms.

        Raises:
            ConfigError: no estimate, or a joint that has no expert or several.
            IOMismatchError: a policy reads terms that the task lacks.
        """
        classes = _classes(io)
        for bundle in (healthy, *experts):
            IOSpec.from_dict(bundle["io"]).require_fits(io, "part of the policy", allow_extra_terms=True)
        expert_of = []
        for joint in classes[1:]:
            able = [k for k, bundle in enumerate(experts, start=1) if joint in bundle.get("faults", [])]
            if len(able) != 1:
                trained_for = "; ".join(", ".join(bundle.get("faults", [])) or "nothing" for bundle in experts)
                raise ConfigError(
                    f"{len(able) or 'No'} expert{'s' if len(able) > 1 else ''} for {joint}: expected one. They were "
                    f"trained for: {trained_for}. Train one with env.events.change_joint_torque.params.joints={joint}."
                )
            expert_of.append(able[0])
        bundles = (healthy, *experts)
        parts = [{"agent": part["agent"], "io": part["io"], "policy": part["policy"]} for part in bundles]
        return {"parts": parts, "expert_of_class": [0, *expert_of]}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> SwitchingPolicy:
        """Return the policy of a checkpoint."""
        parts = []
        for part in bundle["policy"]["parts"]:
            own = IOSpec.from_dict(part["io"])
            policy = resolve(part["agent"]["_target_"]).load_policy(part, own, device)
            parts.append((policy, torch.tensor(own.columns_in(io), device=device)))
        return SwitchingPolicy(parts, torch.tensor(bundle["policy"]["expert_of_class"], device=device), io)


SwitchingState = tuple[torch.Tensor, torch.Tensor, list[Any]]
"""Part in use (N,) int64, age of the verdict (N,) s, and the state of each part, None of one without."""


class SwitchingPolicy:
    """Acts with one of several policies, env by env.

    A part with a state, such as a recurrent network, reads every step of an episode, so that its state is that of the
    whole episode when it takes over; a part without one runs where it acts.
    """

    def __init__(self, parts: list[tuple[Policy, torch.Tensor]], expert_of_class: torch.Tensor, io: IOSpec) -> None:
        """Take the policies, each with the columns it reads, and the number of the one for each class."""
        self.parts, self.expert_of_class = parts, expert_of_class
        terms = {name: IOSpec({"policy": {name: size}}, io.action, io.step_dt) for name, size in _sizes(io).items()}
        self._probability, self._since = (terms[name].columns_in(io) for name in (PROBABILITY, SINCE))

    def act(self, obs: Obs, state: SwitchingState | None) -> tuple[torch.Tensor, SwitchingState]:
        """Return the actions (N, A); an expert is chosen when a verdict begins and acts until another does."""
        inputs = obs["policy"]
        since = inputs[:, self._since[0]]
        healthy = torch.zeros(len(inputs), dtype=torch.long, device=inputs.device)
        actor, before, states = state or (healthy, torch.zeros_like(since), None)
        named = self.expert_of_class[1 + inputs[:, self._probability[1:]].argmax(1)]
        begins = (since > 0) & ((before == 0) | (since < before))
        actor = torch.where(since > 0, torch.where(begins, named, actor), healthy)
        acting = set(actor.unique().tolist())
        (policy, columns), *experts = self.parts
        action, after = policy.act({"policy": inputs[:, columns]}, states[0] if states else None)
        following = [after]
        for number, (policy, columns) in enumerate(experts, start=1):
            after = None
            if states is None or states[number] is not None:  # at the first step it shows which parts have a state
                own, after = policy.act({"policy": inputs[:, columns]}, states[number] if states else None)
                action = torch.where((actor == number)[:, None], own, action)
            elif number in acting:
                rows = (actor == number).nonzero().squeeze(1)
                action[rows] = policy.act({"policy": inputs[rows][:, columns]}, None)[0]
            following.append(after)
        return action, (actor, since.clone(), following)

    def reset(self, state: SwitchingState, env_ids: torch.Tensor) -> SwitchingState:
        """Let the healthy policy act in the envs `env_ids`, and begin an episode in the states of the parts."""
        actor, since, states = state
        parts = zip(self.parts, states, strict=True)
        fresh = [None if own is None else policy.reset(own, env_ids) for (policy, _), own in parts]
        return actor.index_fill(0, env_ids, 0), since.index_fill(0, env_ids, 0.0), fresh


def _sizes(io: IOSpec) -> dict[str, int]:
    return {name: size for name, size in io.observations["policy"].items() if name in (PROBABILITY, SINCE)}


def _classes(io: IOSpec) -> list[str]:
    """Return the classes of the task's estimate: healthy and joints."""
    if PROBABILITY not in io.observations["policy"]:
        raise ConfigError(
            "Experts are switched by an estimate of faults, and this task has none: env.estimate.mode=oracle, or "
            "estimator=<run reference>."
        )
    classes: list[str] = io.meaning["policy"][PROBABILITY]["classes"]
    return classes
