"""A wrapper that replaces the images of a task by features of a frozen encoder, computed once for each step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from regimen.config.targets import resolve
from regimen.envs.encoded_images.description import EncoderDescription
from regimen.envs.vec_env import EnvWrapper, task_below
from regimen.system.errors import CheckpointError, IOMismatchError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, StepInfo, VecEnv
    from regimen.runs.checkpoint_header import StateDict


class FrozenEncoder(Protocol):
    """Returns features of images; its weights do not change.

    Attributes:
        description: of what it reads and returns.
    """

    description: EncoderDescription

    def encode(self, images: Obs) -> torch.Tensor:
        """Return the features (N, F) within ±1 of images (N, H, W, C) uint8, one group after the other."""
        ...


class EncodedEnv(EnvWrapper):
    """A `VecEnv` with features in place of the images of another one, at the end of the group `policy`.

    Every agent that reads vectors learns from pictures this way, and what it keeps of a step are features alone. A
    term has the name of its image; its meaning holds the checksum of the encoder, so that a policy is refused with the
    features of another one.

    Attributes:
        env: the task itself, below all wrappers.
        encoder: of the images.
    """

    def __init__(self, env: VecEnv, encoder: FrozenEncoder, task: str | None) -> None:
        """Wrap `env`.

        Args:
            env: the environment with images.
            encoder: of these images.
            task: name of the task; None if unknown.

        Raises:
            IOMismatchError: the encoder was made for other images.
        """
        lines = encoder.description.misfits(env.io.images, task)
        if lines:
            raise IOMismatchError(
                "The encoder does not fit the images of this environment:\n  " + "\n  ".join(lines) + "\n"
                "Set env.images to those of the encoder, or train one on recordings of this task: stage=distill "
                "agent=image_encoder data=[…]."
            )
        self._inner, self.encoder = env, encoder
        self.env: Any = task_below(env)
        self.num_envs, self.device = env.num_envs, env.device
        self.step_dt, self.max_episode_length = env.step_dt, env.max_episode_length
        self.io = encoder.description.extend(env.io)
        self.symmetry = None  # the mirror image of features is not known

    @classmethod
    def wrap(cls, env: VecEnv, config: Config) -> EncodedEnv:
        """Wrap `env` with the encoder that `config.encoder` names.

        Raises:
            CheckpointError: the file is no encoder.
            IOMismatchError: the encoder was made for other images.
        """
        from regimen.runs import checkpoint

        bundle = checkpoint.load(Path(str(config.encoder)))
        try:
            EncoderDescription.of(bundle)  # type: ignore[arg-type]
        except CheckpointError as error:
            raise CheckpointError(f"encoder={config.encoder}: {error}") from None
        encoder: FrozenEncoder = resolve(bundle["agent"]["_target_"]).load_encoder(bundle, env.device)
        return cls(env, encoder, config.choices.get("task"))

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped environment."""
        if name == "_inner":  # while an object is copied
            raise AttributeError(name)
        return getattr(self._inner, name)

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs. See `VecEnv.reset`."""
        return self._encoded(self._inner.reset(seed))

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs. See `VecEnv.step`."""
        obs, reward, terminated, truncated, info = self._inner.step(action)
        done = terminated | truncated
        encoded = self._encoded(obs)
        final = encoded
        if done.any():
            final = {group: values.clone() for group, values in encoded.items()}
            for group, values in self._encoded({g: x[done] for g, x in info["final_obs"].items()}).items():
                final[group][done] = values
        return encoded, reward, terminated, truncated, {**info, "final_obs": final}

    @torch.no_grad()
    def _encoded(self, obs: Obs) -> Obs:
        features = self.encoder.encode({name: obs[name] for name in self.encoder.description.images})
        vectors = {group: obs[group] for group in self.io.observations}
        return {**vectors, "policy": torch.cat((obs["policy"], features), dim=1)}

    def restart(self, state: StateDict) -> Obs:
        """Begin new episodes with the generators of a state that cannot be restored; return the observations."""
        return self._encoded(self._inner.restart(state))  # type: ignore[attr-defined]

    def state_dict(self) -> StateDict:
        """Return the state of the environment; the encoder has none."""
        return self._inner.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._inner.load_state_dict(state)
