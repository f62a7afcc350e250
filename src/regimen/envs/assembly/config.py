"""Configuration of the assembly tasks: part, clearance, start, cameras and their randomisation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from regimen.config.task_schema import EvaluationCfg, at_least_one
from regimen.config.yaml_io import PlainConfig
from regimen.system.errors import did_you_mean

STEP_S = 0.1
"""Time of a control step, in s."""

STEP_M, STEP_RAD = 0.01, 0.06
"""Change of the target pose in a step by an action of 1."""

PARTS = ("gear", "peg")
CAMERAS = ("wrist_1", "wrist_2")
DRAWN = ("episode", "once")


@dataclass
class ImagesCfg:
    """Images beside the observations of vectors, each a group of its own.

    Attributes:
        size: height and width in pixels: one number for both, or [H, W].
        cameras: which of the cameras `wrist_1` and `wrist_2`; the name of a camera is that of its group.
    """

    size: Any = 128
    cameras: list[str] = field(default_factory=lambda: list(CAMERAS))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return height, width

    def problems(self) -> list[str]:
        """Return one line for each invalid value."""
        sides = [self.size] if isinstance(self.size, int) else self.size
        whole = isinstance(sides, list | tuple) and all(type(side) is int and 8 <= side <= 1024 for side in sides)
        lines = []
        if not whole or len(sides) > 2 or (len(sides) == 1 and not isinstance(self.size, int)):
            lines.append(f"images.size={self.size}: expected pixels, 8 to 1024: one number, or [height, width].")
        unknown = [name for name in self.cameras if name not in CAMERAS]
        lines += [f"images.cameras={self.cameras}: no camera `{n}`. {did_you_mean(n, CAMERAS)}" for n in unknown]
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            lines.append(f"images.cameras={self.cameras}: expected one or more different cameras, or env.images=null.")
        return lines


@dataclass
class StartCfg:
    """Ranges of the uniform draws at the start of an episode.

    Attributes:
        xy: half width of the place of the hand about the nominal place of the fixture, in m, along x and y.
        height: lowest and highest place of the hand above the table, in m.
        tilt: half width of its rotation about x and y, in rad.
        yaw: half width of its rotation about z, in rad.
        fixture: half width of the place of the fixture about the nominal one, in m, along x and y.
        slip: half width of the place of the part in the hand, in m, along the fingers' width and the part's axis.
    """

    xy: float = field(default=0.03, metadata={"least": 0.0, "most": 0.06})
    height: tuple[float, float] = field(default=(0.06, 0.10), metadata={"least": 0.05, "most": 0.13, "ordered": True})
    tilt: float = field(default=0.1, metadata={"least": 0.0, "most": 0.25})
    yaw: float = field(default=0.3, metadata={"least": 0.0, "most": 0.6})
    fixture: float = field(default=0.01, metadata={"least": 0.0, "most": 0.03})
    slip: float = field(default=0.0015, metadata={"least": 0.0, "most": 0.003})


@dataclass
class CameraErrorCfg:
    """Error of the poses of the wrist cameras: uniform draws, independent for each env and camera.

    Attributes:
        position: half width along each axis, in m.
        rotation: half width about each axis, in rad.
        drawn: `episode` for a new error in each episode, or `once` for one per env, drawn by the seeded reset.
    """

    position: float = field(default=0.0, metadata={"least": 0.0, "most": 0.05})
    rotation: float = field(default=0.0, metadata={"least": 0.0, "most": 0.5})
    drawn: str = "episode"


@dataclass
class AssemblyEnvCfg:
    """A part held by a Panda's hand is put onto, or into, a fixture on the table.

    Attributes:
        part: `gear`, which is put onto a shaft, or `peg`, which is put into a hole.
        teeth: of the gear, which must mesh with a second one as it is lowered; 0 for a plain disc without a second one.
        num_envs: environments stepped together.
        episode_length_s: time after which an episode is truncated, in s; a step is 0.1 s.
        clearance: lowest and highest radial clearance between part and fixture, in m, drawn in each episode.
        friction: lowest and highest coefficient of friction between part and fixture, drawn in each episode.
        start: draws at the start of an episode.
        images: pictures of the wrist cameras, or null for none.
        camera_error: error of the poses of these cameras.
        observation_noise: set by `stage=evaluate`; without effect in this task.
    """

    GROUPS: ClassVar[tuple[str, ...]] = ("policy", "privileged")
    _target_: str = "regimen.envs.assembly.AssemblyEnv"
    part: str = "gear"
    teeth: int = 20
    num_envs: int = 1
    episode_length_s: float = 10.0
    clearance: tuple[float, float] = field(
        default=(0.0005, 0.0005), metadata={"least": 0.0001, "most": 0.002, "ordered": True}
    )
    friction: tuple[float, float] = field(default=(0.25, 0.25), metadata={"least": 0.0, "most": 1.0, "ordered": True})
    start: StartCfg = field(default_factory=StartCfg)
    images: ImagesCfg | None = None
    camera_error: CameraErrorCfg = field(default_factory=CameraErrorCfg)
    observation_noise: bool = False
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        lines = at_least_one(num_envs=self.num_envs)
        if not (math.isfinite(self.episode_length_s) and self.episode_length_s >= STEP_S):
            lines.append(f"episode_length_s={self.episode_length_s:g}: expected {STEP_S:g} s, one step, or more.")
        if self.part not in PARTS:
            lines.append(f"part={self.part}: {did_you_mean(self.part, PARTS)}")
        if self.teeth and (self.part == "peg" or not 12 <= self.teeth <= 30):
            lines.append(f"teeth={self.teeth}: expected 0, or for part=gear 12 to 30.")
        if self.camera_error.drawn not in DRAWN:
            lines.append(f"camera_error.drawn={self.camera_error.drawn}: expected {' or '.join(DRAWN)}.")
        return lines + ([] if self.images is None else self.images.problems())
