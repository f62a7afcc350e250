"""RLPD on features of pictures: demonstrations with pictures become features, the rest is that of vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from helpers.demonstrated_env import DemonstratedEnv
from helpers.encoded_env import Means, encoded
from helpers.messages import raises_naming
from regimen.agents.rlpd import demonstrations
from regimen.data.demonstrations import DemonstrationWriter
from regimen.data.episode_collector import EpisodeCollector, scripted_demonstrator
from regimen.data.episodes.schema import EpisodeAttributes
from regimen.envs.vec_env import VecEnv
from regimen.system.errors import DatasetError


def recorded(path: Path, env: VecEnv, task: str = "point") -> list[Path]:
    """Three successful episodes of the expert."""
    collector = EpisodeCollector(env, scripted_demonstrator(env, 0.0, 0), only_successful=True)
    collector.begin(4)
    about = {"io": env.io.to_dict(), "joints": [], "step_dt": 0.1, "staggered": False, "task": task}
    labels = {"success": np.dtype("bool"), "phase": np.dtype("int64")}
    writer, kept = DemonstrationWriter(path, env.io, labels, EpisodeAttributes(**about)), 0
    while kept < 3:
        for episode in collector.step(3 - kept):
            writer.add_episode(episode)
            kept += 1
    writer.close()
    return [path]


def test_demonstrations_with_pictures_are_those_recorded_with_features(tmp_path):
    pictures = recorded(tmp_path / "pictures.h5", DemonstratedEnv(1))
    features = recorded(tmp_path / "features.h5", encoded(1))
    io = encoded(1).io
    got = demonstrations.read(pictures, io, ["policy"], encoder=Means())
    wanted = demonstrations.read(features, io, ["policy"], encoder=Means())
    assert got.lengths == wanted.lengths and len(got.lengths) == 3
    assert torch.equal(got.transitions.obs["policy"], wanted.transitions.obs["policy"])
    assert torch.equal(got.transitions.next_obs["policy"], wanted.transitions.next_obs["policy"])
    assert got.transitions.obs["policy"][:, -2:].std(0).min() > 0


def test_demonstrations_that_cannot_be_encoded_are_refused(tmp_path):
    io = encoded(1).io
    path = recorded(tmp_path / "reach.h5", DemonstratedEnv(1), task="reach")
    with raises_naming(DatasetError, path[0], "reach", "point"):
        demonstrations.read(path, io, ["policy"], encoder=Means())
    path = recorded(tmp_path / "features.h5", encoded(1, checksum="ffff"))
    with raises_naming(DatasetError, path[0], "policy.camera", "ffff", "0a1b"):
        demonstrations.read(path, io, ["policy"], encoder=Means())
    path = recorded(tmp_path / "pictures.h5", DemonstratedEnv(1))
    with raises_naming(DatasetError, path[0], "camera"):
        demonstrations.read(path, io, ["policy"])
