"""What a trained agent looks like to evaluate and collect: plain, recurrent and in-context policies alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn

    from regimen.agents.training_session import TrainingSession
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv


class Agent(Protocol):
    """What learns in an environment, for `stage=train`: its constructor takes (cfg, io, num_envs, device, seed).

    Attributes:
        total_steps: steps per env of the whole training.
    """

    total_steps: int

    def learn(self, env: VecEnv, session: TrainingSession, resume: dict[str, Any] | None) -> None:
        """Train to the end: `session.step` for every env step, `session.end_iteration` after every update.

        Args:
            env: N environments.
            session: steps them, logs, and saves checkpoints.
            resume: the `training` part of a checkpoint to go on from, None at the beginning.
        """
        ...

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Policy:
        """Return the policy of a checkpoint.

        Args:
            bundle: the checkpoint, as saved.
            io: what the policy reads and writes.
            device: torch device of the tensors that the policy takes and returns.
        """
        ...


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
