"""Export to the LeRobot v3 layout: what is written is what was recorded; LeRobot reads it, where it is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import episode_files, history_files
from helpers.messages import assert_names, raises_naming
from regimen.cli.convert import export_lerobot_verb
from regimen.data.demonstrations import Demonstration, DemonstrationWriter
from regimen.data.episodes.reader import EpisodeFile
from regimen.data.episodes.schema import EpisodeAttributes
from regimen.data.histories.reader import open_histories
from regimen.data.lerobot import export as lerobot_export
from regimen.data.lerobot.export import export
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import DatasetError, PreflightError

if importlib.util.find_spec("pyarrow"):
    import pyarrow.parquet as pq

    from regimen.data.lerobot import layout

needs_parquet = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs the extra [lerobot]")
needs_lerobot = pytest.mark.skipif(importlib.util.find_spec("lerobot") is None, reason="LeRobot is not installed")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Three envs; two episodes end on the way, so that there are five."""
    table = episode_files.columns(3, 100)
    episode_files.end_at(table, {0: [39], 2: [59]})
    episode_files.end_at(table, {1: [99]}, "truncated")
    table["labels/fault_joint"][50:, 1] = 1
    return episode_files.write(tmp_path / "episodes.h5", table, task="made")


def columns(folder: Path, *names: str) -> list[np.ndarray]:
    table = pq.read_table(folder / "data")
    return [np.array(table[name].to_pylist()) for name in names]


def info(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "meta/info.json").read_text()))


@needs_parquet
def test_rows_are_those_recorded(recorded: Path, tmp_path: Path) -> None:
    assert export(recorded, tmp_path / "out") == {"episodes": 5, "rows": 300}
    with EpisodeFile(recorded) as file:
        known = list(file.iterate(["obs/policy", "obs/discriminator", "action", "reward", "labels/fault_joint"]))
    state, other, action, reward, label = columns(
        tmp_path / "out", "observation.state", "observation.discriminator", "action", "next.reward", "label.fault_joint"
    )
    for name, found in zip(known[0], (state, other, action, reward, label), strict=True):
        np.testing.assert_array_equal(found, np.concatenate([episode[name] for episode in known]))


@needs_parquet
def test_rows_are_counted_and_ends_told(recorded: Path, tmp_path: Path) -> None:
    export(recorded, tmp_path / "out")
    episode, frame, index, time = columns(tmp_path / "out", "episode_index", "frame_index", "index", "timestamp")
    lengths = [40, 60, 100, 60, 40]
    np.testing.assert_array_equal(index, np.arange(300))
    np.testing.assert_array_equal(episode, np.repeat(np.arange(5), lengths))
    np.testing.assert_array_equal(frame, np.concatenate([np.arange(n) for n in lengths]))
    np.testing.assert_allclose(time, frame * 0.02, atol=1e-6)
    done, truncated = columns(tmp_path / "out", "next.done", "next.truncated")
    assert np.flatnonzero(done).tolist() == [39, 199, 259]
    assert np.flatnonzero(truncated).tolist() == [199]


@needs_parquet
def test_description_names_channels_and_episodes(recorded: Path, tmp_path: Path) -> None:
    export(recorded, tmp_path / "out")
    about = info(tmp_path / "out")
    assert (about["codebase_version"], about["fps"], about["splits"]) == ("v3.0", 50, {"train": "0:5"})
    assert about["features"]["action"] == {"dtype": "float32", "shape": [4], "names": list(episode_files.JOINTS)}
    assert about["features"]["observation.state"]["names"] == ["position.0", "position.1", "goal"]
    assert about["features"]["label.fault_joint"]["dtype"] == "int16"
    rows = pq.read_table(tmp_path / "out/meta/episodes").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows[:2]] == [(0, 40), (40, 100)]
    assert all(row["tasks"] == ["made"] and row["data/file_index"] == 0 for row in rows)


@needs_parquet
def test_statistics_are_those_of_all_rows(recorded: Path, tmp_path: Path) -> None:
    export(recorded, tmp_path / "out")
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    (action,) = columns(tmp_path / "out", "action")
    np.testing.assert_allclose(stats["action"]["mean"], action.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats["action"]["std"], action.std(0), rtol=1e-6)
    np.testing.assert_allclose(stats["action"]["max"], action.max(0), rtol=1e-6)
    assert stats["action"]["count"] == [300] and not any(name.startswith("label.") for name in stats)


@needs_parquet
def test_large_data_go_into_several_files(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "DATA_FILE_MB", 0.015)
    monkeypatch.setattr(layout, "CHUNK_FILES", 2)
    export(recorded, tmp_path / "out")
    files = sorted(path.relative_to(tmp_path / "out/data").as_posix() for path in tmp_path.glob("out/data/*/*"))
    rows = pq.read_table(tmp_path / "out/meta/episodes").to_pylist()
    said = sorted({f"chunk-{r['data/chunk_index']:03d}/file-{r['data/file_index']:03d}.parquet" for r in rows})
    assert files == said and len(files) > 2
    for row in rows:
        name = f"chunk-{row['data/chunk_index']:03d}/file-{row['data/file_index']:03d}.parquet"
        episode = pq.read_table(tmp_path / "out/data" / name)["episode_index"].to_pylist()
        assert episode.count(row["episode_index"]) == row["length"]


@needs_parquet
def test_histories_keep_learner_and_order(tmp_path: Path) -> None:
    index = history_files.write(tmp_path / "histories", history_files.rows(num_envs=2, steps=30))
    assert export(index, tmp_path / "out") == {"episodes": 10, "rows": 60}
    learner, epsilon, done, state = columns(tmp_path / "out", "history", "epsilon", "next.done", "observation.state")
    known = list(open_histories(index))
    np.testing.assert_array_equal(learner, np.repeat([0, 1], 30))
    np.testing.assert_array_equal(state, np.concatenate([history.observation for history in known]))
    np.testing.assert_array_equal(epsilon, np.concatenate([history.more["epsilon"] for history in known]))
    assert np.flatnonzero(done).tolist() == [6, 13, 20, 27, 36, 43, 50, 57]  # the last episode of each is cut
    assert info(tmp_path / "out")["fps"] == 10


@needs_parquet
def test_step_that_is_not_known_has_to_be_said(tmp_path: Path) -> None:
    index = history_files.write(tmp_path / "histories", history_files.rows(1, 14), io=None)
    with raises_naming(DatasetError, "--fps"):
        export(index, tmp_path / "out")
    export(index, tmp_path / "out", 20)
    assert info(tmp_path / "out")["fps"] == 20


@needs_parquet
def test_what_cannot_be_is_refused_and_leaves_nothing(recorded: Path, tmp_path: Path) -> None:
    with raises_naming(DatasetError, "--fps 30", 50):
        export(recorded, tmp_path / "out", 30)
    odd = episode_files.write(tmp_path / "odd.h5", episode_files.columns(1, 4), step_dt=0.03)
    with raises_naming(DatasetError, "0.03 s"):
        export(odd, tmp_path / "out")
    (tmp_path / "there").mkdir()
    with raises_naming(PreflightError, tmp_path / "there"):
        export(recorded, tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episodes.h5", "odd.h5", "there"]


@needs_parquet
def test_an_export_that_fails_leaves_no_folder(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout.LerobotWriter, "close", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(recorded, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["episodes.h5"]


def test_missing_extra_says_what_to_type(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lerobot_export.importlib.util, "find_spec", lambda name: None)
    with raises_naming(PreflightError, "pyarrow", sys.executable, "pip install -e '.[lerobot]'"):
        export(recorded, tmp_path / "out")


@needs_parquet
def test_verb_names_what_it_wrote(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export_lerobot_verb([str(recorded), str(tmp_path / "out")]) == 0
    assert_names(capsys.readouterr().out, tmp_path / "out", "5 episodes", "300 rows")


@needs_lerobot
@pytest.mark.filterwarnings("default")
def test_lerobot_itself_reads_it(recorded: Path, tmp_path: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    export(recorded, tmp_path / "out")
    found = LeRobotDataset("made/made", root=tmp_path / "out", delta_timestamps={"action": [0.0, 0.02]})
    assert (found.num_episodes, found.num_frames, found.fps) == (5, 300, 50)
    (state, action) = columns(tmp_path / "out", "observation.state", "action")
    row = found[39]  # the last one of its episode: the next action is padded with its own
    np.testing.assert_array_equal(row["observation.state"], state[39])
    np.testing.assert_array_equal(row["action"], action[[39, 39]])
    assert row["action_is_pad"].tolist() == [False, True] and row["task"] == "made" and bool(row["next.done"])
    np.testing.assert_allclose(found.meta.stats["action"]["mean"], action.mean(0), rtol=1e-6)


SIZES = {"wrist_1": [32, 48, 3], "wrist_2": [16, 16, 3]}


def demonstrations(path: Path, sizes: dict[str, list[int]]) -> Path:
    """Three episodes of 20, 30 and 25 steps, in which the brightness of each camera rises from frame to frame."""
    io = IOSpec({"policy": {"position": 2}}, ActionSpec(["x"], [1.0], [0.0], 1.0), 0.1, images=sizes)
    labels = {"success": np.dtype(bool)}
    writer = DemonstrationWriter(path, io, labels, EpisodeAttributes(io=io.to_dict(), step_dt=0.1, task="made"))
    frame = 0
    for length in (20, 30, 25):
        end = np.arange(length) == length - 1
        shades = (frame + np.arange(length + 1)).astype(np.uint8) * 3
        obs = {g: np.broadcast_to(shades[:, None, None, None], (length + 1, *size)) for g, size in sizes.items()}
        obs |= {"policy": np.zeros((length + 1, 2), np.float32)}
        zeros = np.zeros(length, np.float32)
        writer.add_episode(Demonstration(obs, zeros[:, None], zeros, end, ~end & end, {"success": end}))
        frame += length
    writer.close()
    return path


def decoded(path: Path) -> list[tuple[float, float]]:
    """Return the time in s and the mean brightness of each frame."""
    import av

    with av.open(str(path)) as container:
        return [(float(f.time), float(f.to_ndarray(format="rgb24").mean())) for f in container.decode(video=0)]


@needs_parquet
@pytest.mark.parametrize("megabytes", [pytest.param(200, marks=pytest.mark.slow), 0])
def test_images_become_videos_that_hold_the_frame_of_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: float
) -> None:
    monkeypatch.setattr(layout, "VIDEO_FILE_MB", megabytes)
    data = demonstrations(tmp_path / "demos.h5", SIZES)
    assert export(data, tmp_path / "out") == {"episodes": 3, "rows": 75}
    assert len(list(tmp_path.glob("out/videos/*/*/*.mp4"))) == (2 if megabytes else 6)
    index = 0
    for row in pq.read_table(tmp_path / "out/meta/episodes").to_pylist():
        for group in SIZES:
            name = f"videos/observation.images.{group}"
            place = f"chunk-{row[f'{name}/chunk_index']:03d}/file-{row[f'{name}/file_index']:03d}.mp4"
            frames = decoded(tmp_path / "out" / name / place)
            begin = row[f"{name}/from_timestamp"]
            own = [shade for time, shade in frames if begin - 0.01 < time < row[f"{name}/to_timestamp"] - 0.01]
            assert len(own) == row["length"]
            np.testing.assert_allclose(own, 3 * (index + np.arange(row["length"])), atol=4)
        index += row["length"]


@needs_parquet
def test_videos_are_described(tmp_path: Path) -> None:
    export(demonstrations(tmp_path / "demos.h5", SIZES), tmp_path / "out")
    about, stats = info(tmp_path / "out"), json.loads((tmp_path / "out/meta/stats.json").read_text())
    assert about["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    feature = about["features"]["observation.images.wrist_1"]
    assert (feature["dtype"], feature["shape"]) == ("video", [32, 48, 3])
    assert (feature["info"]["video.fps"], feature["info"]["video.codec"]) == (10, "h264")
    mean = np.array(stats["observation.images.wrist_1"]["mean"])
    assert mean.shape == (3, 1, 1) and mean == pytest.approx(3 * 37 / 255, abs=0.01)
    assert not [name for name in about["features"] if "final" in name]
    assert "observation.images.wrist_1" not in pq.read_table(tmp_path / "out/data").column_names


@needs_parquet
def test_images_that_no_video_holds_are_refused(tmp_path: Path) -> None:
    with raises_naming(DatasetError, "obs/wrist_1", "31 x 48 x 3", "even"):
        export(demonstrations(tmp_path / "demos.h5", {"wrist_1": [31, 48, 3]}), tmp_path / "out")
