"""Recorded pictures for tests: a bright square on a dark ground, seen by two cameras, that the actions move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.demonstrations import Demonstration, DemonstrationWriter
from regimen.data.episodes.schema import EpisodeAttributes
from regimen.envs.vec_env import ActionSpec, IOSpec

SIDE = 24
CAMERAS = ("left", "right")
POSITION = {"scale": 1.0, "clip": None, "unit": "m from the middle"}


def square_io(side: int = SIDE) -> IOSpec:
    """Two cameras; the place of the square is what only a simulator has."""
    return IOSpec(
        {"policy": {"clock": 1}, "privileged": {"position": 2}},
        ActionSpec(["x", "y"], [1.0, 1.0], [0.0, 0.0], 1.0),
        0.1,
        {"policy": {}, "privileged": {"position": dict(POSITION)}},
        {name: [side, side, 3] for name in CAMERAS},
    )


def square_pictures(position: np.ndarray, side: int = SIDE) -> dict[str, np.ndarray]:
    """Pictures (n, side, side, 3) of positions (n, 2) within ±1: `left` shows them, `right` their mirror image."""
    pictures = np.full((len(position), side, side, 3), 40, np.uint8)
    places = ((position + 1) / 2 * (side - 5)).round().astype(int)
    for picture, (x, y) in zip(pictures, places, strict=True):
        picture[y : y + 5, x : x + 5] = 220
    return {"left": pictures, "right": pictures[:, :, ::-1].copy()}


def write_squares(path: Path, episodes: int = 12, length: int = 20, seed: int = 0, **changes: Any) -> Path:
    """A file of random walks; `changes` are attributes of the file, or the `side` of its pictures."""
    rng, side = np.random.default_rng(seed), changes.pop("side", SIDE)
    attributes = {"joints": ["x", "y"], "step_dt": 0.1, "staggered": False, "task": "squares", **changes}
    io = square_io(side)
    attributes["io"] = io.to_dict()
    writer = DemonstrationWriter(path, io, {"success": np.dtype("bool")}, EpisodeAttributes(**attributes))
    for _ in range(episodes):
        position = [rng.uniform(-1, 1, 2)]
        for _ in range(length):
            position.append((position[-1] + 0.3 * rng.uniform(-1, 1, 2)).clip(-1, 1))
        places = np.array(position, np.float32)
        ends = np.arange(length) == length - 1
        writer.add_episode(
            Demonstration(
                obs={
                    "policy": np.linspace(0, 1, length + 1, dtype=np.float32)[:, None],
                    "privileged": places,
                    **square_pictures(places, side),
                },
                action=np.diff(places, axis=0) / 0.3,
                reward=ends.astype(np.float32),
                terminated=ends,
                truncated=np.zeros(length, bool),
                labels={"success": ends},
            )
        )
    writer.close()
    return path
