"""A small convolutional network for the pictures of one camera, and random shifts of pictures."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

POOLED = 4
"""Sides of the grid over which feature maps are averaged."""


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

    @classmethod
    def on(cls, maps: nn.Module, channels: int, picture: list[int], features: int) -> CameraNet:
        """Return a network for pictures of the size `picture`, [H, W, 3]; other arguments as of the class."""
        with torch.no_grad():
            height, width = maps(torch.zeros(1, 3, *picture[:2])).shape[2:]
        return cls(maps, channels, (height, width), features)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return features (B, F) of pictures (B, H, W, 3) with values from 0 to 255."""
        maps = self.maps(pictures.permute(0, 3, 1, 2).float() / 127.5 - 1.0)
        where = maps.flatten(2).softmax(-1) @ self.places
        strength = functional.adaptive_avg_pool2d(functional.relu(maps), POOLED)
        return self.out(torch.cat((where.flatten(1), strength.flatten(1)), 1))


def convolutions(channels: list[int]) -> nn.Module:
    """Return three convolutions of these widths: pictures (B, 3, H, W) -> (B, channels[2], H / 4, W / 4)."""
    first, second, third = channels
    return nn.Sequential(
        nn.Conv2d(3, first, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(second, third, 3, padding=1),
    )


def shifted(pictures: torch.Tensor, down: torch.Tensor, right: torch.Tensor, most: int) -> torch.Tensor:
    """Return pictures, each cut out of itself at an offset of its own; beyond the border its last pixels are repeated.

    Random shift of DrQ (Kostrikov et al. 2020, arXiv 2004.13649, section 3.1).

    Args:
        pictures: (B, H, W, C).
        down: (B,) rows from -most to most by which the window is moved.
        right: (B,) columns, likewise.
        most: largest absolute offset.

    Returns:
        (B, H, W, C) of the same type.
    """
    count, height, width, channels = pictures.shape
    sides = (pictures[:, :, side].unsqueeze(2).expand(-1, -1, most, -1) for side in (0, width - 1))
    left, beyond = sides
    padded = torch.cat((left, pictures, beyond), 2)
    # A row of a window is contiguous: windows of all begins are one overlapping view, and one gather cuts them out.
    stride = width + 2 * most
    begins = padded.as_strided((count * height * stride - width + 1, width * channels), (channels, 1))
    device = pictures.device
    rows = (torch.arange(height, device=device) + down[:, None]).clamp(0, height - 1)
    rows = rows + height * torch.arange(count, device=device)[:, None]
    at = (rows * stride + most + right[:, None]).flatten()
    return begins.index_select(0, at).view(count, height, width, channels)
