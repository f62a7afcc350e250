"""Convert legacy recordings of H1 failures to a dataset of this project: `regimen import-legacy <files> --out`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.episodes import legacy
from regimen.data.episodes.schema import Column
from regimen.data.episodes.writer import EpisodeWriter
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import DatasetError

_SIDES = ("left", "right")
JOINTS = (
    *(f"{side}_hip_yaw" for side in _SIDES), "torso",
    *(f"{side}_{part}" for part in ("hip_roll", "shoulder_pitch", "hip_pitch", "shoulder_roll", "knee", "shoulder_yaw",
                                    "ankle", "elbow") for side in _SIDES),
)  # fmt: skip
"""Order of the joints in the legacy files, that of Isaac Lab's H1."""

CANDIDATES = tuple(j for j in JOINTS if "hip" in j or "knee" in j)
TERMS = {"base_lin_vel": 3, "base_ang_vel": 3, "projected_gravity": 3, "velocity_commands": 3} | {
    name: len(JOINTS) for name in ("joint_pos", "joint_vel", "actions")
}
STEP_DT = 0.02


def convert(files: list[Path], out: Path, episode_steps: int = 1000, offset: int = 0) -> Path:
    """Write legacy files as one dataset, without actions and rewards, which they lack; return its path.

    Args:
        files: see `legacy.read`.
        out: the dataset to make.
        episode_steps: steps after which an episode ended by time.
        offset: see `legacy.LegacyEnv.labels`.

    Raises:
        DatasetError: files are missing or not aligned, or the envs have different lengths.
    """
    envs = legacy.read(files, episode_steps, offset)
    lengths = sorted({len(env.step) for env in envs})
    if len(lengths) > 1:
        raise DatasetError(f"The envs have {lengths[0]} to {lengths[-1]} rows; import those of one length together.")
    columns = _columns(envs, offset)
    kinds = {name: Column(str(value.dtype), value.shape[2:]) for name, value in columns.items()}
    writer = EpisodeWriter(out, kinds, len(envs), _attrs(files, offset))
    for row in range(lengths[0]):
        writer.add({name: value[row] for name, value in columns.items()})
    writer.close()
    return out


def _columns(envs: list[legacy.LegacyEnv], offset: int) -> dict[str, np.ndarray]:
    """Return name -> (T, N, …)."""
    observation = np.stack([env.observation for env in envs], axis=1)
    terminated, truncated = (np.stack([getattr(e, n) for e in envs], axis=1) for n in ("terminated", "truncated"))
    done = terminated | truncated
    return {
        "obs/policy": np.ascontiguousarray(observation[:, :, : sum(TERMS.values())]),
        "obs/discriminator": observation,
        "terminated": terminated,
        "truncated": truncated,
        "episode": _episodes(done),
        "labels/fault_joint": np.stack([env.labels(offset) for env in envs], axis=1),
    }


def _episodes(done: np.ndarray) -> np.ndarray:
    """Return (T, N) int32 ids: an episode ends with a done, and ids are numbered through all envs."""
    ended = np.zeros(done.shape, np.int64)
    ended[1:] = done[:-1].cumsum(0)
    counts = ended[-1] + 1
    return (ended + np.append(0, counts.cumsum()[:-1])).astype(np.int32)


def _attrs(files: list[Path], offset: int) -> dict[str, Any]:
    # Scale 0.5 is that of Isaac Lab's H1; the offset is unknown, and not needed: no policy acts by this dataset.
    action = ActionSpec(list(JOINTS), [0.5] * len(JOINTS), [0.0] * len(JOINTS))
    io = IOSpec({"policy": TERMS, "discriminator": TERMS | {"joint_effort": len(JOINTS)}}, action, STEP_DT)
    about = {"io": io.to_dict(), "joints": list(JOINTS), "classes": list(CANDIDATES), "step_dt": STEP_DT}
    return about | {"task": "legacy", "legacy": [f.name for f in files], "legacy_offset": offset, "staggered": False}
