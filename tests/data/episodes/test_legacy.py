"""Legacy recordings: made as the original wrote them, with limits that the torques show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.messages import assert_names, raises_naming
from regimen.cli.main import main
from regimen.data.episodes.legacy_import import JOINTS, convert
from regimen.data.episodes.reader import EpisodeFile
from regimen.system.errors import DatasetError

LIMIT = 50.0
FIRST_STEP = 17
ONSETS = {40: 12, 140: 11, 230: 12, 355: 4}
"""First row made under the fault -> joint; the episodes end every 100 rows, that of rows 100 … 179 by a fall."""
FALL = 179


def recording(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return observations (400, 88) and `terminated` (400,): 100 steps an episode, one fall."""
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(400, 88))
    torque = rng.normal(size=(400, 19)) * 40
    torque[:, [4, 11, 12]] = rng.choice([-1, 1], (400, 3)) * rng.uniform(60, 120, (400, 3))
    for row, joint in ONSETS.items():
        stop = FALL + 1 if row == 140 else 100 if row == 40 else 280 if row == 230 else 380
        torque[row:stop, joint] = torque[row:stop, joint].clip(-LIMIT, LIMIT)
    observation[:, 69:] = torque
    terminated = np.zeros(400, bool)
    terminated[FALL] = True
    return observation, terminated


def write_dat(folder: Path, late: int = 0) -> list[Path]:
    """Write the pair of text files, events `late` rows after the first row under the fault."""
    observation, terminated = recording()
    step = np.arange(400) + FIRST_STEP
    head = "step,terminated," + ",".join(f"observation_{i}" for i in range(88))
    rows = "\n".join(
        f"{s},{t}," + ",".join(repr(v) for v in o)
        for s, t, o in zip(step.tolist(), terminated.tolist(), observation.tolist(), strict=True)
    )
    (folder / "discriminator_obs.dat").write_text(f"{head}\n{rows}\n")
    events = "\n".join(f"{FIRST_STEP + row + late},{joint}" for row, joint in ONSETS.items())
    (folder / "joint_torque_event_log.dat").write_text(f"common_step_counter,target_joint_id\n{events}\n330,999\n")
    return [folder / "joint_torque_event_log.dat", folder / "discriminator_obs.dat"]


def write_npz(folder: Path, envs: int, shift: int = 0, late: int = 0) -> None:
    """Write a pair of arrays per env, the labels' rows `shift` after the observations', switches `late` rows late."""
    stops = {40: 100, 140: FALL + 1, 230: 280, 355: 380}
    for env in range(envs):
        observation, terminated = recording(env)
        on = np.zeros((400, 19))
        for row, joint in ONSETS.items():
            on[row + late : stops[row], joint] = 1
        step = np.arange(400)
        labels = np.column_stack((step, terminated, on))
        np.savez(folder / f"discriminator_obs_env_{env}.npz", data=np.column_stack((step, terminated, observation)))
        np.savez(folder / f"joint_torque_env_{env}.npz", data=np.roll(labels, shift, axis=0))


def labels_of(path: Path) -> np.ndarray:
    with EpisodeFile(path) as file:
        return file.read(["labels/fault_joint"])["labels/fault_joint"]


def expected() -> np.ndarray:
    """Return `fault_joint` of the step that each row's action causes: from a row before the first one that shows it."""
    joint = np.full(400, -1)
    for row, stop in ((40, 100), (140, 180), (230, 280), (355, 380)):
        joint[row - 1 : stop] = ONSETS[row]
    return joint


def test_the_text_files_become_a_dataset(tmp_path: Path) -> None:
    path = convert(write_dat(tmp_path), tmp_path / "out" / "episodes.h5", episode_steps=100)
    np.testing.assert_array_equal(labels_of(path)[:, 0], expected())
    with EpisodeFile(path) as file:
        table = file.episodes()
        assert table.start.tolist() == [0, 100, 180, 280, 380] and file.joints == list(JOINTS)
        assert table.terminated.tolist() == [False, True, False, False, False]
        assert table.truncated.tolist() == [True, False, True, True, False]
        assert len(file.attributes.classes) == 8 and file.joints[12] == "right_knee"
        observation = file.read(["obs/discriminator"])["obs/discriminator"][:, 0]
    np.testing.assert_array_equal(observation, recording()[0].astype(np.float32))


@pytest.mark.parametrize("late", [-2, -1, 1, 2])
def test_events_of_another_row_are_refused_and_the_right_offset_is_said(tmp_path: Path, late: int) -> None:
    files = write_dat(tmp_path, late)
    with raises_naming(DatasetError, tmp_path, f"--offset {-late}"):
        convert(files, tmp_path / "episodes.h5", episode_steps=100)
    path = convert(files, tmp_path / "episodes.h5", episode_steps=100, offset=-late)
    np.testing.assert_array_equal(labels_of(path)[:, 0], expected())


def test_torques_that_show_nothing_contradict_nothing(tmp_path: Path) -> None:
    from regimen.data.episodes.legacy_import import Event, fitting_offset

    torque = np.random.default_rng(0).normal(size=(100, 19))
    torque[:, 3] = 0.0  # a joint that nothing asks for: a limit leaves no trace
    assert fitting_offset(torque, [Event(0, 40, 100, 3)])[0] is None


@pytest.mark.parametrize("offset", [-2, 0])
def test_a_fault_in_the_first_row_of_an_episode_leaves_the_one_before_healthy(tmp_path: Path, offset: int) -> None:
    observation, step = np.random.default_rng(0).normal(size=(200, 88)), np.arange(200)
    on = np.zeros((200, 19))
    on[100 - offset :, 12] = 1  # written late: the limit acts from row 100 on
    observation[:, 69 + 12] *= np.where(step < 100, 100.0, 1.0)
    for name, values in (("discriminator_obs", observation), ("joint_torque", on)):
        np.savez(tmp_path / f"{name}_env_0.npz", data=np.column_stack((step, np.zeros(200), values)))
    path = convert([tmp_path], tmp_path / "out.h5", episode_steps=100, offset=offset)
    np.testing.assert_array_equal(labels_of(path)[:, 0], [-1] * 100 + [12] * 100)


def test_the_arrays_of_many_envs_become_a_dataset_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_npz(tmp_path, 11)
    path = convert([tmp_path], tmp_path / "out" / "episodes.h5", episode_steps=100)
    np.testing.assert_array_equal(labels_of(path), np.repeat(expected()[:, None], 11, axis=1))
    with EpisodeFile(path) as file:
        last = file.read(["obs/discriminator"], envs=slice(10, 11))["obs/discriminator"][:, 0]
    np.testing.assert_array_equal(last, recording(10)[0].astype(np.float32))  # not env 1, as names are sorted


def test_arrays_that_are_shifted_against_each_other_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path, 1, shift=1)
    with raises_naming(DatasetError, "discriminator_obs_env_0.npz", "joint_torque_env_0.npz", 1):
        convert([tmp_path], tmp_path / "out.h5", episode_steps=100)


def test_switches_that_are_late_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path, 2, late=1)
    with raises_naming(DatasetError, tmp_path, "--offset -1"):
        convert([tmp_path], tmp_path / "out.h5", episode_steps=100)


def test_labels_that_run_over_a_time_out_are_refused(tmp_path: Path) -> None:
    """The original cleared them at terminations only."""
    write_npz(tmp_path, 1)
    with np.load(tmp_path / "joint_torque_env_0.npz") as arrays:
        labels = arrays["data"].copy()
    labels[100:120, 2 + 12] = 1
    np.savez(tmp_path / "joint_torque_env_0.npz", data=labels)
    with raises_naming(DatasetError, "joint_torque_env_0.npz", "row 99", "--episode-steps"):
        convert([tmp_path], tmp_path / "out.h5", episode_steps=100)


def test_two_faults_in_one_episode_are_refused(tmp_path: Path) -> None:
    files = write_dat(tmp_path)
    with files[0].open("a") as log:
        log.write(f"{FIRST_STEP + 360},7\n")
    with raises_naming(DatasetError, files[0], 4, 7, 355, 360, "--episode-steps"):
        convert(files, tmp_path / "out.h5", episode_steps=100)


@pytest.mark.parametrize(
    ("event", "names"), [("900,12", ("joint 12", "step 900", 17, 416)), ("30,19", ("joint 19", "step 30", "19 joints"))]
)
def test_events_outside_of_the_recording_are_refused(tmp_path: Path, event: str, names: tuple[object, ...]) -> None:
    files = write_dat(tmp_path)
    files[0].write_text(f"common_step_counter,target_joint_id\n{event}\n")
    with raises_naming(DatasetError, files[0], "discriminator_obs.dat", *names):
        convert(files, tmp_path / "out.h5", episode_steps=100)


def test_missing_rows_and_files_are_named(tmp_path: Path) -> None:
    files = write_dat(tmp_path)
    lines = files[1].read_text().splitlines()
    files[1].write_text("\n".join(lines[:50] + lines[52:]))
    with raises_naming(DatasetError, files[1], 65, 68, "row 49"):
        convert(files, tmp_path / "out.h5", episode_steps=100)
    with raises_naming(DatasetError, "joint_torque_event_log.dat", "discriminator_obs.dat"):
        convert(files[:1], tmp_path / "out.h5")
    write_npz(tmp_path, 2)
    (tmp_path / "joint_torque_env_1.npz").unlink()
    with raises_naming(DatasetError, "Env 1"):
        convert([tmp_path], tmp_path / "out.h5")


def test_the_verb_makes_dataset_and_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    write_npz(folder, 3)
    out = tmp_path / "new" / "episodes.h5"
    assert main(["import-legacy", str(folder), "--out", str(out), "--episode-steps", "100"]) == 0
    assert_names(capsys.readouterr().out, out, "15 episodes", "1200 frames", out.parent / "card.md")
    assert "right_knee" in (tmp_path / "new" / "card.md").read_text()
