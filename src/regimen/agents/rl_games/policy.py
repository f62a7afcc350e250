"""The trained policy of an rl_games model: its own mean, or its most probable choice.

`mus` of `continuous_a2c_tanh` is the mean before the tanh that the library applies to each sample in a training. The
deterministic players of rl_games 1.6.5 return it without; the policy here is the mode of what was trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from regimen.agents.base import RecurrentNetwork
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs


class MeanAction(nn.Module):
    """Observation (N, d) -> action (N, A) of a model without recurrent layers."""

    bounds: torch.Tensor | None

    def __init__(self, model: nn.Module, clip: bool, bounds: torch.Tensor | None) -> None:
        """Take a model of rl_games.

        Args:
            model: the model, normalisers included.
            clip: whether actions are clipped to ±1.
            bounds: largest action of each joint (A,) of a model that gives ±1, or None.
        """
        from rl_games.algos_torch.models import ModelA2CContinuousTanh

        super().__init__()
        self._is_squashed = isinstance(model, ModelA2CContinuousTanh.Network)
        for name, part in list(model.named_children()):
            if isinstance(part, torch.jit.ScriptModule):
                setattr(model, name, _eager(part))
        self.model, self.clip = model.eval().requires_grad_(False), clip
        self.register_buffer("bounds", bounds, persistent=False)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the action (N, A)."""
        return self.action(obs, None)[0]

    def action(self, obs: torch.Tensor, states: Any) -> tuple[torch.Tensor, Any]:
        """Return the action (N, A), and the next recurrent states, None of a model without."""
        if hasattr(self.model, "sac_network"):
            squashed = self.model.actor(self.model.norm_obs(obs)).mean  # type: ignore[operator]
            return squashed * self.bounds, None
        result = self.model({"is_train": False, "prev_actions": None, "obs": obs, "rnn_states": states})
        if "mus" in result:
            mean: torch.Tensor = result["mus"].tanh() if self._is_squashed else result["mus"]
            return (mean.clamp(-1.0, 1.0) if self.clip else mean), result["rnn_states"]
        if not isinstance(result.get("logits"), torch.Tensor):
            raise CheckpointError(f"The model gives {', '.join(result)}: expected `mus`, or `logits` of one choice.")
        logits = result["logits"]
        return nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float(), result["rnn_states"]


def _eager(scripted: torch.jit.ScriptModule) -> nn.Module:
    """Return a scripted normaliser of the library as a plain module, which can be exported."""
    from rl_games.algos_torch.running_mean_std import RunningMeanStd

    plain: nn.Module = RunningMeanStd(tuple(scripted.running_mean.shape))
    plain.load_state_dict(scripted.state_dict())
    return plain


class RlGamesPolicy:
    """The mean action of a trained model; the state of a recurrent one is a list of (layers, N, hidden)."""

    def __init__(self, network: MeanAction) -> None:
        """Take model and action."""
        self.network = network
        self._is_recurrent = bool(network.model.is_rnn())  # type: ignore[operator]

    @torch.no_grad()
    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the action (N, A) for the observations `obs["policy"]` (N, d), and the next state."""
        rows = obs["policy"]
        if not self._is_recurrent:
            return self.network(rows), None
        if state is None:
            parts = self.network.model.get_default_rnn_state()  # type: ignore[operator]
            state = [part.new_zeros((part.shape[0], len(rows), part.shape[2]), device=rows.device) for part in parts]
        action, following = self.network.action(rows, state)
        return action, list(following)

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Return `state` with zeros for `env_ids`."""
        return None if state is None else [part.index_fill(1, env_ids, 0.0) for part in state]

    def feed_forward(self) -> tuple[nn.Module, list[str]]:
        """Return the network, normaliser included, and the observation group that it reads.

        Raises:
            CheckpointError: it is recurrent.
        """
        if self._is_recurrent:
            raise CheckpointError("This policy has a state (agent.params.network.rnn): see `recurrent`.")
        return self.network, ["policy"]

    def recurrent(self) -> RecurrentNetwork | None:
        """Return the network of one step with the actor's state, each part (N, layers, h); None of a feed-forward one.

        An LSTM has the parts `hidden` and `cell`, others `hidden`. A critic of its own is left out.

        Raises:
            CheckpointError: the network is none of the library's own.
        """
        if not self._is_recurrent:
            return None
        from rl_games.algos_torch.network_builder import A2CBuilder

        network = self.network.model.a2c_network
        if not isinstance(network, A2CBuilder.Network):
            raise CheckpointError(
                f"{type(network).__name__} is a recurrent network of your own, whose state is not described. Only the "
                "library's are exported: agent.params.network.name=actor_critic."
            )
        shapes = [[part.shape[0], part.shape[2]] for part in self.network.model.get_default_rnn_state()]  # type: ignore[operator]
        if network.is_separate_critic():
            shapes = shapes[: len(shapes) // 2]
        state = dict(zip(("hidden", "cell"), shapes, strict=False))
        return RecurrentNetwork(_Step(self.network, bool(network.is_separate_critic())), ["policy"], state)


class _Step(nn.Module):
    """One step of a recurrent model: observation and states (N, layers, h) -> action and next states."""

    def __init__(self, network: MeanAction, separate: bool) -> None:
        super().__init__()
        self.network, self.separate = network, separate

    def forward(self, obs: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        before = [part.transpose(0, 1).contiguous() for part in states]
        critic = [torch.zeros_like(part) for part in before] if self.separate else []
        action, after = self.network.action(obs, (*before, *critic))
        return action, *(part.transpose(0, 1) for part in after[: len(states)])
