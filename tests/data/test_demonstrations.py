"""Demonstrations: what is written comes back as transitions, the final observation of every episode included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import episode_files
from helpers.messages import raises_naming
from regimen.data.demonstrations import (
    Demonstration,
    DemonstrationWriter,
    iterate_demonstrations,
    read_demonstrations,
)
from regimen.data.episodes.lengths import discount_problem
from regimen.data.episodes.reader import EpisodeFile
from regimen.data.episodes.schema import EpisodeAttributes
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import DatasetError

ACTION = ActionSpec(["x", "y"], [1.0] * 2, [0.0] * 2, 1.0)
IO = IOSpec({"policy": {"position": 3}, "privileged": {"goal": 2}}, ACTION, 0.1)
SIZE = [12, 20, 3]


def episode(length: int, seed: int, success: bool = True, images: bool = False) -> Demonstration:
    rng, end = np.random.default_rng(seed), np.arange(length) == length - 1
    obs = {group: rng.normal(size=(length + 1, IO.size(group))).astype(np.float32) for group in IO.observations}
    if images:
        obs["wrist"] = rng.integers(0, 256, (length + 1, *SIZE), dtype=np.uint8)
    action = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
    reward = np.where(end & success, 1.0, 0.0).astype(np.float32)
    return Demonstration(obs, action, reward, end & success, end & (not success), {"success": end & success})


def write(path: Path, episodes: list[Demonstration], io: IOSpec = IO, rows: int | None = None) -> Path:
    attributes = EpisodeAttributes(io=io.to_dict(), step_dt=io.step_dt, task="made", attempts=len(episodes))
    writer = DemonstrationWriter(path, io, {"success": np.dtype(bool)}, attributes)
    for part in episodes:
        writer.add_episode(part)
    writer.close()
    return path


def test_transitions_are_those_of_the_episodes(tmp_path: Path) -> None:
    made = [episode(length, seed=length, success=length != 7) for length in (5, 7, 600, 1)]
    read = read_demonstrations([write(tmp_path / "demos.h5", made)])
    assert len(read) == 613 and read.lengths.tolist() == [5, 7, 600, 1] and read.task == "made" and read.io == IO
    assert read.success.tolist() == [True, False, True, True]
    for part, rows in zip(made, read.episodes, strict=True):
        for group in IO.observations:
            np.testing.assert_array_equal(read.obs[group][rows], part.obs[group][:-1])
            np.testing.assert_array_equal(read.next_obs[group][rows], part.obs[group][1:])
        for name in ("action", "reward", "terminated", "truncated"):
            np.testing.assert_array_equal(getattr(read, name)[rows], getattr(part, name), name)


def test_images_are_read_on_demand_and_as_they_were(tmp_path: Path) -> None:
    io = IOSpec(IO.observations, ACTION, 0.1, images={"wrist": SIZE})
    made = [episode(length, seed=length, images=True) for length in (90, 300)]
    path = write(tmp_path / "demos.h5", made, io)
    assert "wrist" not in read_demonstrations([path]).obs
    for part, known in zip(iterate_demonstrations([path], ["wrist"]), made, strict=True):
        assert part.obs["wrist"].dtype == np.uint8
        np.testing.assert_array_equal(part.obs["wrist"], known.obs["wrist"])
    read = read_demonstrations([path], ["wrist"])
    np.testing.assert_array_equal(read.next_obs["wrist"][-1], made[1].obs["wrist"][-1])
    with raises_naming(DatasetError, "front", "obs/wrist"):
        read_demonstrations([path], ["front"])


def test_rows_without_a_final_observation_take_no_space(tmp_path: Path) -> None:
    io = IOSpec(IO.observations, ACTION, 0.1, images={"wrist": [64, 64, 3]})
    made = episode(400, 0)
    noise = np.random.default_rng(0).integers(0, 256, (401, 64, 64, 3), dtype=np.uint8)
    path = write(
        tmp_path / "demos.h5", [Demonstration(made.obs | {"wrist": noise}, *list(vars(made).values())[1:])], io
    )
    assert path.stat().st_size < 1.2 * noise.nbytes


def test_a_file_is_continued_after_its_last_whole_episode(tmp_path: Path) -> None:
    io = IOSpec(IO.observations, ACTION, 0.1, images={"wrist": SIZE})
    made = [episode(length, seed=length, images=True) for length in (90, 40, 60)]
    path = write(tmp_path / "demos.h5", made[:2], io)
    writer = DemonstrationWriter.resume(path, 90, 1)
    for part in made[1:]:
        writer.add_episode(part)
    assert (writer.episodes, writer.rows) == (3, 190)
    writer.close()
    for part, known in zip(iterate_demonstrations([path], ["wrist"]), made, strict=True):
        for group, value in known.obs.items():
            np.testing.assert_array_equal(part.obs[group], value, group)


def test_cut_episodes_are_left_out_and_other_files_refused(tmp_path: Path) -> None:
    made = episode(9, 0)
    cut = Demonstration(made.obs, made.action, made.reward, np.zeros(9, bool), np.zeros(9, bool), made.labels)
    path = write(tmp_path / "demos.h5", [made, cut])
    assert len(read_demonstrations([path])) == 9
    with EpisodeFile(path) as file:
        assert file.steps == 18
    with raises_naming(DatasetError, "cut.h5", "stage.episodes"):
        read_demonstrations([write(tmp_path / "cut.h5", [cut])])
    with raises_naming(DatasetError, "plain.h5", "policy", "stage.episodes"):
        read_demonstrations([episode_files.write(tmp_path / "plain.h5", episode_files.columns(1, 10))])


@pytest.mark.parametrize(("length", "discount"), [(20, 0.97), (200, 0.97), (830, 0.995), (830, 1.0)])
def test_lengths_that_the_discount_reaches_are_no_problem(length: int, discount: float) -> None:
    assert discount_problem(length, discount) is None


def test_a_discount_that_loses_the_reward_is_a_problem_and_the_remedy_is_none() -> None:
    """The 830 steps of the original demonstrations at its discount of .97."""
    line = discount_problem(830, 0.97)
    assert line is not None
    for remedy in ("0.995", "for 6 steps", "139 steps"):
        assert remedy in line
    assert discount_problem(139, 0.97) is None and discount_problem(830, 0.995) is None
    assert discount_problem(100_000, 0.97) is not None
