"""What a trained agent looks like to evaluate and collect: plain, recurrent and in-context policies alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

    from regimen.envs.vec_env import Obs


class Policy(Protocol):
    """Acts; the memory it needs between steps is handed to and fro."""

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the action (N, A) for the observations and the state after it; the first state is None."""
        ...

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Return `state` without what it remembers of the envs `env_ids` (n,), whose episodes begin anew."""
        ...


class FeedForwardPolicy(Policy, Protocol):
    """A policy that acts by the present observation alone, so that `regimen export` can hand it to a robot."""

    def feed_forward(self) -> tuple[nn.Module, list[str]]:
        """Return its network, and the observation groups that the network takes, one tensor (N, d) each, in order.

        The network gives the very action (N, A) of `act`: normaliser, squash and scale are in it.

        Raises:
            CheckpointError: this one has a memory.
        """
        ...


class InContextPolicy(Policy, Protocol):
    """A policy that learns while it acts: its `reset` only marks that an episode begins, what it remembers stays.

    Attributes:
        use_cache: whether what it reckoned at earlier steps is kept, instead of reckoned again at each step.
        use_fp16: whether it computes with 16 bits, where the device does. Both count from the next empty context on.
    """

    use_cache: bool
    use_fp16: bool

    def observe(self, state: Any, reward: torch.Tensor) -> Any:
        """Return `state` told of the reward (N,), unscaled, of the action that `act` returned last.

        It has to be called between `env.step` and `reset`, after every `act`.
        """
        ...


@dataclass(frozen=True)
class OpenedData:
    """Datasets opened by the classmethod `open_data(config, memory_gb)` of an agent that learns from data.

    Attributes:
        data: argument of the agent's `fit`.
        about: summary for result.json.
        problems: failed quality checks, one line each.
        purpose: ends the message `These data are not fit …`, such as `for training a detector`.
    """

    data: Any
    about: dict[str, Any]
    problems: list[str]
    purpose: str


@dataclass(frozen=True)
class FitResult:
    """Result of the `fit` of an agent that learns from data.

    Attributes:
        headline: name -> value, for lists of runs.
        result: content of result.json.
    """

    headline: dict[str, float]
    result: dict[str, Any]
