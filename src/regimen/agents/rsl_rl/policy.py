"""The trained policy of rsl_rl, recurrent or not, and loading of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict


class RslRlPolicy:
    """The mean action of a trained policy."""

    def __init__(self, actor: Any, groups: list[str]) -> None:
        """Take the library's model and the observation groups it reads."""
        self.actor, self.groups = actor.eval(), groups

    @torch.no_grad()
    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the mean action (N, A) for the observations (N, d), and the state of a recurrent model after it."""
        self.actor.reset(hidden_state=state)
        action = self.actor({group: obs[group] for group in self.groups})
        return action, self.actor.get_hidden_state()

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Return `state` (layers, N, hidden), of an LSTM two of these, with zeros for `env_ids`."""
        if state is None:
            return None
        if isinstance(state, tuple):
            return tuple(self.reset(part, env_ids) for part in state)
        return state.index_fill(1, env_ids, 0.0)

    def feed_forward(self) -> tuple[torch.nn.Module, list[str]]:
        """Return the network, normaliser included, and the observation groups that it reads.

        Raises:
            CheckpointError: it is recurrent.
        """
        if self.actor.is_recurrent:
            raise CheckpointError(
                "This policy is recurrent: its action depends on earlier observations, which one call of a network "
                "does not have. Train a feed-forward one: agent.actor.class_name=MLPModel."
            )
        return _OfGroups(self.actor, self.groups), self.groups


class _OfGroups(torch.nn.Module):
    """The library's model, its groups as arguments."""

    def __init__(self, actor: Any, groups: list[str]) -> None:
        super().__init__()
        self.actor, self.groups = actor, groups

    def forward(self, *obs: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.actor(dict(zip(self.groups, obs, strict=True)))
        return action


def load_actor(actor: Any, state: StateDict) -> None:
    """Put the weights of a policy into a model.

    Args:
        actor: the library's model.
        state: the `policy` part of a checkpoint.

    Raises:
        CheckpointError: it is of another architecture or of another agent.
    """
    if "actor" not in state:
        raise CheckpointError("This policy was not trained by agent=rsl_rl_ppo: its weights belong to another library.")
    try:
        actor.load_state_dict(state["actor"])
    except RuntimeError as error:
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in state["actor"].items() if k.endswith("weight"))
        raise CheckpointError(
            f"The policy's network is not the one that agent.actor describes; it has {shapes}. Set agent.actor "
            f"(hidden_dims, obs_normalization, distribution_cfg.std_type, …) to what it was trained with. {error}"
        ) from error


def extended(
    state: dict[str, torch.Tensor], like: dict[str, torch.Tensor], columns: list[int]
) -> dict[str, torch.Tensor]:
    """Return a policy's tensors for an observation with more columns, which have no effect at first.

    Weights of new columns are 0, their mean is 0 and variance 1; the count of the normaliser stays.

    Args:
        state: name -> tensor of the policy.
        like: the same of a model that reads all columns.
        columns: for each of the policy's columns, its place among all.
    """
    wide = {}
    for name, value in state.items():
        wide[name] = value
        if value.shape != like[name].shape and value.shape[:-1] == like[name].shape[:-1]:
            filling = torch.ones_like if name.endswith(("_var", "_std")) else torch.zeros_like
            wide[name] = filling(like[name])
            wide[name][..., columns] = value
    return wide
