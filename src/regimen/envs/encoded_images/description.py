"""Names and sizes of the images that an encoder reads, and of its features; needs neither torch nor a simulator."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from regimen.envs.vec_env import IOSpec
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

IDENTITY = "encoder"
"""Key of the checksum of an encoder's weights in the meaning of the features that it returns."""


@dataclass(frozen=True)
class EncoderDescription:
    """The part `encoder` of a checkpoint, without its weights.

    Attributes:
        images: image group that is read -> [H, W, C].
        features: the same group -> number of its features.
        task: of the recorded images; None if unknown.
        checksum: SHA-256 of the weights, its first 16 digits.
    """

    images: dict[str, list[int]]
    features: dict[str, int]
    task: str | None
    checksum: str

    def to_dict(self) -> StateDict:
        """Return plain data for a checkpoint."""
        return asdict(self)

    @classmethod
    def of(cls, bundle: PolicyBundle) -> EncoderDescription:
        """Return the description in a checkpoint or in its plain values.

        Raises:
            CheckpointError: the checkpoint is of something else.
        """
        part = bundle.get("encoder")
        if part is None:
            raise CheckpointError("it is no image encoder. To train one: stage=distill agent=image_encoder data=[…].")
        return cls(**{name: part[name] for name in cls.__dataclass_fields__})

    def misfits(self, images: Mapping[str, list[int]], task: str | None) -> list[str]:
        """Return one line for each reason why the encoder cannot encode the images of a task; empty if it can.

        Args:
            images: of the task: group -> [H, W, C].
            task: its name; None if unknown.
        """
        lines = [
            f"image {name}: encoder {_size(size)}, env {_size(images[name]) if name in images else 'has none'}"
            for name, size in self.images.items()
            if images.get(name) != size
        ]
        lines += [f"image {name}: only the env has it" for name in images if name not in self.images]
        if None not in (self.task, task) and self.task != task:
            lines.append(f"task: encoder {self.task}, env {task}")
        return lines

    def extend(self, io: IOSpec) -> IOSpec:
        """Return `io` without its images, with a term of features for each of them at the end of the group `policy`."""
        extended = copy.deepcopy(io)
        extended.images = {}
        extended.observations["policy"] |= self.features
        meaning = extended.meaning.setdefault("policy", {})
        for name, size in self.images.items():
            meaning[name] = {"scale": 1.0, "clip": 1.0, "image": list(size), IDENTITY: self.checksum}
        return extended


def reads_features(io: StateDict) -> bool:
    """Return whether the policy of the plain `IOSpec` reads features of images."""
    return any(IDENTITY in term for term in (io.get("meaning", {}).get("policy") or {}).values())


def _size(size: list[int]) -> str:
    return "x".join(map(str, size))
