"""Pictures of several transition buffers, each kept once however many transitions show it.

The picture after a step is the one before the next step, and the step of an intervention is in two buffers: kept with
each transition, pictures would take two to four times the memory.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from regimen.system.errors import DatasetError

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict

DIGEST_BYTES = 16

FRAMES_PER_TRANSITION = 1.1
"""Frames of a transition in an estimate: one, and one more at the end of each episode, of ten steps or more."""

COPIES = 2
"""How often the frames are in memory while a checkpoint is saved or loaded: in the store, and as one tensor."""


def frame_bytes(images: Mapping[str, list[int]]) -> int:
    """Return the bytes of one frame: a picture of each camera, camera -> [H, W, C]."""
    return sum(math.prod(size) for size in images.values())


def frames_bytes(transitions: int, frame: int) -> int:
    """Return the estimated bytes of the frames of transitions, of `frame` bytes each, while a checkpoint is saved."""
    return int(COPIES * FRAMES_PER_TRANSITION * transitions * frame)


class FrameStore:
    """Frames by running numbers, on the CPU: a frame is one picture of each camera at one instant.

    A frame with the content of one that is kept gets its number. Each use is counted, and a frame without use is freed.

    Attributes:
        images: camera -> [H, W, C].
    """

    def __init__(self, images: Mapping[str, list[int]]) -> None:
        """Begin with no frames."""
        self.images = {name: list(size) for name, size in images.items()}
        self._next = 0
        self._frames: dict[int, torch.Tensor] = {}
        self._uses: dict[int, int] = {}
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    @property
    def bytes(self) -> int:
        """Bytes of all frames."""
        return len(self) * frame_bytes(self.images)

    def add(self, images: Obs) -> torch.Tensor:
        """Return the numbers (B,) of frames, camera -> (B, H, W, C) uint8, each with one use more.

        Raises:
            DatasetError: a camera is missing, or its pictures have another size or type.
        """
        for name, size in self.images.items():
            found = images.get(name)
            if found is None or list(found.shape[1:]) != size or found.dtype != torch.uint8:
                given = "none" if found is None else f"{list(found.shape[1:])} {found.dtype}"
                raise DatasetError(f"Pictures of `{name}`: expected {size} uint8, found {given}.")
        rows = torch.cat([images[name].flatten(1).cpu() for name in self.images], 1)
        return torch.tensor([self._number(row) for row in rows], dtype=torch.long)

    def _number(self, row: torch.Tensor) -> int:
        digest = _digest(row)
        number = self._numbers.get(digest)
        if number is None:
            number, self._next = self._next, self._next + 1
            self._frames[number], self._numbers[digest], self._uses[number] = row.clone(), number, 0
        self._uses[number] += 1
        return number

    def release(self, numbers: torch.Tensor) -> None:
        """Take one use from each of the frames `numbers` (B,)."""
        for number in numbers.tolist():
            self._uses[number] -= 1
            if not self._uses[number]:
                del self._numbers[_digest(self._frames.pop(number))], self._uses[number]

    def read(self, numbers: torch.Tensor) -> Obs:
        """Return the frames `numbers` (B,), camera -> (B, H, W, C) uint8."""
        rows = torch.stack([self._frames[number] for number in numbers.tolist()])
        parts = rows.split([math.prod(size) for size in self.images.values()], dim=1)
        return {
            name: part.reshape(len(rows), *size) for (name, size), part in zip(self.images.items(), parts, strict=True)
        }

    def state_dict(self) -> StateDict:
        """Return all frames; it takes their memory once more."""
        numbers = list(self._frames)
        frames = torch.stack(list(self._frames.values())) if numbers else torch.zeros(0, frame_bytes(self.images))
        return {
            "next": self._next,
            "images": self.images,
            "numbers": torch.tensor(numbers, dtype=torch.long),
            "uses": torch.tensor([self._uses[number] for number in numbers], dtype=torch.long),
            "frames": frames.to(torch.uint8),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict` of a store of the same cameras.

        The frames are removed from `state`, so that they take twice their memory only until the end of this call. They
        are copied one by one: views of the one tensor would keep its memory until the last of them is freed.

        Raises:
            DatasetError: naming what differs.
        """
        if {name: list(size) for name, size in state["images"].items()} != self.images:
            raise DatasetError(f"The saved pictures are {state['images']}, expected {self.images}.")
        numbers = state["numbers"].tolist()
        self._next = state["next"]
        frames = state.pop("frames")
        self._frames = {number: row.clone() for number, row in zip(numbers, frames, strict=True)}
        self._uses = dict(zip(numbers, state["uses"].tolist(), strict=True))
        self._numbers = {_digest(row): number for number, row in self._frames.items()}


def _digest(row: torch.Tensor) -> bytes:
    return hashlib.blake2b(row.numpy().data, digest_size=DIGEST_BYTES).digest()
