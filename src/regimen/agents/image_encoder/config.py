"""Configuration of the image encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from regimen.system.errors import did_you_mean

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

PRIVILEGED = "privileged"
INVERSE_DYNAMICS = "inverse_dynamics"
CLONING = "cloning"
TARGETS = (PRIVILEGED, INVERSE_DYNAMICS, CLONING)

CNN = "cnn"
EFFICIENTNET = "efficientnet_lite0"
BACKBONES = (CNN, EFFICIENTNET)

_COUNTS = ("features", "hidden", "epochs", "batch_size")


@dataclass
class AugmentationCfg:
    """Random changes of the pictures in the training.

    Attributes:
        shift: pixels by which a picture is moved at most along each side; the border is repeated. Both frames of
            `inverse_dynamics` are moved alike.
        brightness: share by which the values of a picture change at most.
    """

    shift: int = 0
    brightness: float = 0.1


@dataclass
class ImageEncoderCfg:
    """An image encoder.

    Attributes:
        targets: what is predicted from the features and the group `policy`: `privileged`, the group of that name, which
            only a simulator has; `inverse_dynamics`, the action, from the features of the frames before and after it;
            `cloning`, the action, from the frame before it. The losses of several targets are added.
        cameras: image groups; null: all of the data.
        backbone: `cnn`, three convolutions that are trained, or `efficientnet_lite0`, the first five blocks of a
            network for ImageNet, which stay as they are.
        channels: widths of the three convolutions of `cnn`.
        features: for each camera.
        hidden: width of the layer that predicts a target from the features.
        epochs: passes over the training episodes.
        batch_size: frames of an update.
        learning_rate: of Adam at first; it falls to zero along half a cosine (Loshchilov and Hutter 2017).
        validation: share of the episodes that only measure the error.
        augmentation: of the training pictures.
    """

    DATA: ClassVar[str] = ".h5"
    IMAGES: ClassVar[bool] = True
    POLICY_FORMAT: ClassVar[str] = "image_encoder"
    _target_: str = "regimen.agents.image_encoder.ImageEncoder"
    targets: list[str] = field(default_factory=lambda: [PRIVILEGED])
    cameras: list[str] | None = None
    backbone: str = CNN
    channels: list[int] = field(default_factory=lambda: [16, 32, 32])
    features: int = 32
    hidden: int = 128
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 1e-3
    validation: float = 0.1
    augmentation: AugmentationCfg = field(default_factory=AugmentationCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        lines = [f"targets={self.targets}: {did_you_mean(t, TARGETS)}" for t in self.targets if t not in TARGETS]
        if not self.targets or len(set(self.targets)) < len(self.targets):
            lines.append(f"targets={self.targets}: expected one or more different ones of {', '.join(TARGETS)}.")
        if self.backbone not in BACKBONES:
            lines.append(f"backbone={self.backbone}: {did_you_mean(self.backbone, BACKBONES)}")
        if len(self.channels) != 3 or min(self.channels) < 1:
            lines.append(f"channels={self.channels}: expected three widths, such as [16, 32, 32].")
        lines += [f"{name}={getattr(self, name)}: expected 1 or more." for name in _COUNTS if getattr(self, name) < 1]
        if self.learning_rate <= 0:
            lines.append(f"learning_rate={self.learning_rate:g}: expected more than 0.")
        if not 0 < self.validation < 1:
            lines.append(f"validation={self.validation:g}: expected a share between 0 and 1.")
        if self.augmentation.shift < 0 or not 0 <= self.augmentation.brightness < 1:
            lines.append("augmentation: expected a shift of 0 or more, and a brightness from 0 to less than 1.")
        return lines
