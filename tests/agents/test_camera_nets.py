"""Random shifts: windows of a picture whose border is repeated, each at its own offset."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from regimen.agents.camera_nets import shifted


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_shifted_picture_is_a_window_of_the_padded_one(dtype):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (50, 5, 9, 3), generator=generator).to(dtype)
    down, right = torch.randint(-2, 3, (2, 50), generator=generator)
    assert len({*zip(down.tolist(), right.tolist(), strict=True)}) > 15
    padded = functional.pad(pictures.permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate")
    windows = [padded[i, :, 2 + y : 7 + y, 2 + x : 11 + x] for i, (y, x) in enumerate(zip(down, right, strict=True))]
    moved = shifted(pictures, down, right, 2)
    assert moved.dtype == dtype
    assert torch.equal(moved.float(), torch.stack(windows).permute(0, 2, 3, 1))


def test_nothing_moves_without_an_offset():
    pictures = torch.randint(0, 256, (3, 4, 4, 1), dtype=torch.uint8)
    none = torch.zeros(3, dtype=torch.long)
    assert torch.equal(shifted(pictures, none, none, 0), pictures)
