"""The trained policy of rsl_rl, recurrent or not, and loading of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.base import RecurrentNetwork
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
            raise CheckpointError("This policy has a state (agent.actor.class_name): see `recurrent`.")
        return _OfGroups(self.actor, self.groups), self.groups

    def recurrent(self) -> RecurrentNetwork | None:
        """Return the network of one step with its state, `hidden` (N, layers, h) and `cell` of an LSTM.

        Raises:
            CheckpointError: the model is recurrent, and none of the library's own.
        """
        from rsl_rl.models import RNNModel

        if not self.actor.is_recurrent:
            return None
        if not isinstance(self.actor, RNNModel) or type(self.actor).forward is not RNNModel.forward:
            raise CheckpointError(
                f"{type(self.actor).__name__} is a recurrent model of your own, whose state is not described. Only a "
                "feed-forward one and the library's are exported: agent.actor.class_name=RNNModel or MLPModel."
            )
        cells = self.actor.rnn.rnn
        parts = ("hidden", "cell") if isinstance(cells, torch.nn.LSTM) else ("hidden",)
        shape = [cells.num_layers, cells.hidden_size]
        return RecurrentNetwork(_StepOfGroups(self.actor, self.groups), self.groups, dict.fromkeys(parts, shape))


class _OfGroups(torch.nn.Module):
    """The library's model, its groups as arguments."""

    def __init__(self, actor: Any, groups: list[str]) -> None:
        super().__init__()
        self.actor, self.groups = actor, groups

    def forward(self, *obs: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.actor(dict(zip(self.groups, obs, strict=True)))
        return action


class _StepOfGroups(torch.nn.Module):
    """One step of the library's `RNNModel`: groups and states (N, layers, h) -> action and next states."""

    def __init__(self, actor: Any, groups: list[str]) -> None:
        super().__init__()
        self.normalizer, self.cells, self.mlp = actor.obs_normalizer, actor.rnn.rnn, actor.mlp
        distribution = actor.distribution
        self.output = torch.nn.Identity() if distribution is None else distribution.as_deterministic_output_module()
        self.count = len(groups)

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.normalizer(torch.cat(values[: self.count], dim=1))
        before = tuple(part.transpose(0, 1).contiguous() for part in values[self.count :])
        latent, after = self.cells(features[None], before if len(before) > 1 else before[0])
        parts = after if isinstance(after, tuple) else (after,)
        return self.output(self.mlp(latent[0])), *(part.transpose(0, 1) for part in parts)


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
