"""RLPD from pixels: small convolutional encoders are trained with the critics, on randomly shifted pictures.

As in HIL-SERL and DrQ (Kostrikov et al. 2020, arXiv 2004.13649): actor and critics read the same features, which the
loss of the critics alone trains; the target networks have an encoder of their own that follows. In each update both
pictures of a transition are shifted at random, by at most `pixels.shift` pixels.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.camera_nets import CameraNet, convolutions, shifted
from regimen.agents.rlpd.learner import Learner
from regimen.agents.rlpd.networks import squashed_sample
from regimen.agents.training_session import require_finite
from regimen.data.transition_buffer import Minibatches
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from regimen.agents.rlpd.config import PixelsCfg, RlpdCfg
    from regimen.agents.rlpd.policy import MeanAction
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict

SHIFT_SEED = 30_000_000
"""Added to the seed of the run for the random shifts."""

TIMED_UPDATES = 20
"""Updates from which the time of the others is estimated, after as many that are not counted."""

FASTER = (
    "A frozen encoder, whose features are computed once for each step, is many times faster: stage=distill "
    "agent=image_encoder, then encoder=<its run> and agent.images=null (docs/image_encoder.md)."
)


class PixelEncoder(nn.Module):
    """Vectors (B, d) and pictures -> features (B, F) within ±1: of the vectors, then camera after camera.

    Attributes:
        width: F.
    """

    def __init__(self, cfg: PixelsCfg, images: Mapping[str, list[int]], vectors: int) -> None:
        """Build a network for each camera, and a layer for the vectors.

        Args:
            cfg: widths.
            images: camera -> [H, W, 3].
            vectors: d.
        """
        super().__init__()
        self.cameras = nn.ModuleDict(
            {
                name: CameraNet.on(convolutions(cfg.channels), cfg.channels[-1], size, cfg.features)
                for name, size in images.items()
            }
        )
        narrow = cfg.proprioception
        self.proprioception = nn.Sequential(nn.Linear(vectors, narrow), nn.LayerNorm(narrow), nn.Tanh())
        self.width = narrow + cfg.features * len(images)

    def forward(self, vectors: torch.Tensor, images: Obs) -> torch.Tensor:
        """Return features (B, F) of vectors (B, d) and images, camera -> (B, H, W, 3) with values from 0 to 255."""
        of_cameras = (net(images[name]) for name, net in self.cameras.items())
        return torch.cat((self.proprioception(vectors), *of_cameras), 1)


class PixelLearner(Learner):
    """Networks, optimisers and updates; actor and critics read the features of an encoder.

    Attributes:
        encoder: of observations.
        target_encoder: follows it, as the target critics follow the critics.
    """

    def __init__(
        self,
        cfg: RlpdCfg,
        vectors: int,
        images: Mapping[str, list[int]],
        num_actions: int,
        device: torch.device,
        seed: int,
    ) -> None:
        """Draw the weights.

        Args:
            cfg: hyperparameters.
            vectors: d of the observation groups of vectors.
            images: camera -> [H, W, 3].
            num_actions: A.
            device: of everything but the generator of the shifts.
            seed: of the shifts.
        """
        encoder = PixelEncoder(cfg.pixels, images, vectors)
        super().__init__(cfg, encoder.width, num_actions, device)
        # The pictures come with the channels last; convolutions in this order are faster.
        self.encoder: PixelEncoder = torch.nn.Module.to(encoder, device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self._optimisers["encoder"] = torch.optim.Adam(self.encoder.parameters(), lr=cfg.critic_lr, fused=True)
        self._shifts = torch.Generator().manual_seed(seed + SHIFT_SEED)

    @torch.no_grad()
    def features(self, vectors: torch.Tensor, images: Obs) -> torch.Tensor:
        """Return what the actor reads, (N, F), of vectors (N, d) and images (N, H, W, 3), which are not shifted."""
        features: torch.Tensor = self.encoder(vectors, {name: images[name].to(self.device) for name in images})
        return features

    def update(self, batches: int, draw: Callable[[int], Minibatches]) -> None:
        """Update encoder and critics `batches` times, and actor and temperature after every `cta_ratio` of these.

        The actor is given the features of the encoder before the update of the same minibatch, as in HIL-SERL, whose
        losses have one point in common.

        Args:
            batches: number of updates.
            draw: returns as many minibatches as it is asked for.
        """
        drawn = draw(batches)
        for k in range(batches):
            before, after = (self._shifted(images) for images in drawn.images(k))
            features = self.encoder(drawn.obs[k], before)
            with torch.no_grad():
                output = self._actor_pass.forward(self.actor.layers, self.encoder(drawn.next_obs[k], after))[0]
                action, log_prob = squashed_sample(output)
                following = self.target_encoder(drawn.next_obs[k], after)
            seen = features.detach()
            between = drawn.rows[k, :, drawn.width : -drawn.width]
            batch = Minibatches(torch.cat((seen, between, following), 1)[None], self.width, self.num_actions)
            self._update_critics(batch, 0, action, log_prob, features)
            self._optimisers["encoder"].step()
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.target_encoder.parameters()), list(self.encoder.parameters()), self.cfg.tau
                )
            self.updates += 1
            if self.updates % self.cfg.cta_ratio == 0:
                self._update_actor(seen)

    def _shifted(self, images: Obs) -> Obs:
        """Return images, camera -> (B, H, W, 3), on the device, each moved by an offset of its own."""
        most = self.cfg.pixels.shift
        if not most:
            return {name: pictures.to(self.device) for name, pictures in images.items()}
        moved = {}
        for name, pictures in images.items():
            down, right = torch.randint(-most, most + 1, (2, len(pictures)), generator=self._shifts)
            moved[name] = shifted(pictures, down, right, most).to(self.device)
        return moved

    def measured(self) -> dict[str, float]:
        """Return the scalars of the last update; see `Learner.measured`."""
        require_finite(dict(self.encoder.state_dict()), "encoder")
        return super().measured()

    def acting_weights(self) -> dict[str, torch.Tensor]:
        """Return what acts: actor and encoder, name -> weights."""
        return super().acting_weights() | {f"encoder/{n}": x for n, x in self.encoder.state_dict().items()}

    def state_dict(self) -> StateDict:
        """Return everything that the next update depends on, but the generator of torch."""
        encoders = {"encoder": self.encoder.state_dict(), "target_encoder": self.target_encoder.state_dict()}
        return {**super().state_dict(), **encoders, "shifts": self._shifts.get_state()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        super().load_state_dict(state)
        self.encoder.load_state_dict(state["encoder"])
        self.target_encoder.load_state_dict(state["target_encoder"])
        self._shifts.set_state(state["shifts"].cpu())

    def begin_from(self, encoder: StateDict, part: str = "") -> None:
        """Begin with the weights of another encoder.

        Args:
            encoder: name -> weights.
            part: beginning of the names that are taken; the others stay as they were drawn.

        Raises:
            CheckpointError: a layer is missing, or has another width.
        """
        own = {name: x for name, x in self.encoder.state_dict().items() if name.startswith(part)}
        for name, x in own.items():
            if name not in encoder or encoder[name].shape != x.shape:
                found = list(encoder[name].shape) if name in encoder else "missing"
                raise CheckpointError(
                    f"`{name}` of the encoder is {found}, expected {list(x.shape)}. Set agent.images, "
                    "agent.pixels.channels and agent.pixels.features as in its run."
                )
        for net in (self.encoder, self.target_encoder):
            net.load_state_dict(net.state_dict() | {name: encoder[name] for name in own})


class PixelAction(nn.Module):
    """Observations of each group, vectors (N, d) and images (N, H, W, 3) uint8 -> actions (N, A) within ±1."""

    def __init__(self, encoder: PixelEncoder, actor: MeanAction, groups: list[str], images: list[str]) -> None:
        """Put the encoder before the actor, and name the inputs."""
        super().__init__()
        self.encoder, self.actor, self._groups, self._images = encoder, actor, len(groups), list(images)

    def forward(self, *obs: torch.Tensor) -> torch.Tensor:
        """Return actions (N, A); the observations of all groups of vectors, then all images."""
        images = dict(zip(self._images, obs[self._groups :], strict=True))
        actions: torch.Tensor = self.actor(self.encoder(torch.cat(obs[: self._groups], -1), images))
        return actions


class TimeEstimate:
    """Prints once how long the training will take, measured from its first updates."""

    def __init__(self, device: torch.device) -> None:
        """Begin; nothing is printed on a GPU."""
        self._told, self._first = device.type != "cpu", -1
        self._from: tuple[int, int, float] | None = None

    def tell(self, updates: int, steps: int, total: int) -> None:
        """Take the updates and env steps so far, and the number of all env steps; called after updates."""
        if self._told:
            return
        self._first = updates if self._first < 0 else self._first
        if updates < self._first + TIMED_UPDATES:  # the first ones take longer
            return
        if self._from is None:
            self._from = updates, steps, time.perf_counter()
        begun, since, at = self._from
        if updates < begun + TIMED_UPDATES or steps == since:
            return
        self._told, spent = True, time.perf_counter() - at
        if steps >= total:
            return
        left = (total - steps) * spent / (steps - since)
        print(
            f"From pixels on a CPU this is slow: {spent / (updates - begun):.2f} s an update with its env steps, about "
            f"{left / 60:.0f} min for {total - steps} more env steps. {FASTER}",
            flush=True,
        )
