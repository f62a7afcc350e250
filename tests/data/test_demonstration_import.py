"""Import of HIL-SERL's demonstrations: the same transitions, time-outs apart from ends, errors by transition."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.hil_serl import ACTIONS, SIZE, STATES, save, transitions
from helpers.messages import raises_naming
from regimen.data.demonstration_import import import_demonstrations
from regimen.data.demonstrations import iterate_demonstrations, read_demonstrations
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import DatasetError

WIDE: list[Any] = []
for _ in range(60):
    WIDE = [WIDE, WIDE]  # 2**60 values to numpy or a text

NAMES = ["x", "y", "gripper"]
IO = IOSpec(
    {"policy": {"pose": 3, "width": 2}, "privileged": {"goal": 2}}, ActionSpec(NAMES, [1.0] * 3, [0.0] * 3, 1.0), 0.1
)


def test_transitions_are_those_of_the_pickles(tmp_path: Path) -> None:
    known = [list(transitions([4, 9], seed=1)), list(transitions([6], seed=2))]
    files = [save(tmp_path / f"{i}.pkl", items) for i, items in enumerate(known)]
    counts = import_demonstrations(files, tmp_path / "demos.h5")
    assert (counts.rows, counts.episodes, counts.timed_out, counts.cut) == (19, 3, 0, 0)
    read, flat = read_demonstrations([tmp_path / "demos.h5"], ["wrist_1"]), [*known[0], *known[1]]
    assert read.lengths.tolist() == [4, 9, 6] and read.success.all() and read.terminated.sum() == 3
    for row, item in enumerate(flat):
        for ours, theirs in ((read.obs, "observations"), (read.next_obs, "next_observations")):
            np.testing.assert_array_equal(ours["policy"][row], item[theirs]["state"][0])
            np.testing.assert_array_equal(ours["wrist_1"][row], item[theirs]["wrist_1"][0])
        np.testing.assert_array_equal(read.action[row], item["actions"])
        assert read.reward[row] == item["rewards"]
    assert read.io.images == {"wrist_1": list(SIZE)} and read.io.num_actions == ACTIONS


def test_names_are_those_of_the_task(tmp_path: Path) -> None:
    file = save(tmp_path / "a.pkl", transitions([4]))
    import_demonstrations([file], tmp_path / "demos.h5", IO, "gear")
    read = read_demonstrations([tmp_path / "demos.h5"])
    assert read.io.action == IO.action and read.task == "gear"
    assert read.io.observations == {"policy": {"pose": 3, "width": 2}}, "what was not recorded is not named"


def test_an_unrewarded_end_at_the_time_limit_is_a_time_out(tmp_path: Path) -> None:
    items = [*transitions([10], success=False), *transitions([10, 7]), *transitions([7], success=False, seed=3)]
    items[-1]["masks"] = 1.0  # says itself that the value of the next state counts
    counts = import_demonstrations([save(tmp_path / "a.pkl", items)], tmp_path / "demos.h5", episode_steps=10)
    ends = [(e.terminated[-1], e.truncated[-1], e.success) for e in iterate_demonstrations([tmp_path / "demos.h5"])]
    assert ends == [(False, True, False), (True, False, True), (True, False, True), (False, True, False)]
    assert counts.timed_out == 2


def test_an_episode_that_does_not_go_on_is_cut(tmp_path: Path) -> None:
    items = [*list(transitions([9], seed=1))[:5], *transitions([4], seed=2)]
    counts = import_demonstrations([save(tmp_path / "a.pkl", items[:-1])], tmp_path / "demos.h5")
    assert (counts.episodes, counts.cut) == (2, 2)
    first, second = iterate_demonstrations([tmp_path / "demos.h5"])
    assert (len(first), len(second)) == (5, 3) and first.truncated[-1] and second.truncated[-1]
    np.testing.assert_array_equal(first.obs["policy"][-1], items[4]["next_observations"]["state"][0])


def with_value(key: str, value: Any) -> list[dict[str, Any]]:
    """Return transitions of which the third has another value at `key`."""
    items = list(transitions([5]))
    *outer, last = key.split(".")
    place = items[2]
    for name in outer:
        place = place[name]
    place[last] = value
    return items


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("actions", np.array([0.1, 1.7, 0.0]), "action 1 is 1.7"),
        ("actions", np.array([0.1, np.nan, 0.0]), "nan"),
        ("actions", np.zeros(4), "(4,)"),
        ("actions", "up", "str"),
        ("observations.state", np.full((1, STATES), np.inf), "inf"),
        ("observations.state", np.zeros((2, STATES)), "(2, 5)"),
        ("next_observations.state", np.zeros((1, STATES + 1)), "(6,)"),
        ("observations.wrist_1", np.zeros((1, 8, 8, 3), np.uint8), "(8, 8, 3)"),
        ("observations.wrist_1", np.zeros((4, *SIZE), np.uint8), "(4, 16, 24, 3)"),
        ("observations.extra", np.zeros(2), "extra"),
        ("observations", [], "list"),
        ("rewards", np.nan, "rewards"),
        ("dones", None, "dones"),
        ("actions", [[0.1, 0.2], [0.3]], "list"),
        ("actions", [0.1, 10**400, 0.3], "actions"),
        ("actions", WIDE, "actions"),
        ("observations.state", (WIDE, 1), "state"),
        pytest.param("rewards", 10**5000, "rewards", id="more digits than a text may have"),
        ("rewards", 2**70, "int beyond 64 bits"),
        ("masks", WIDE, "masks"),
        ("infos.succeed", WIDE, "succeed"),
        ("observations", {10**5000: np.zeros(2)}, "observations"),
        ("grasp_penalty", -0.02, "grasp_penalty"),
    ],
)
def test_wrong_values_are_named_with_their_transition(tmp_path: Path, key: str, value: Any, named: str) -> None:
    file = save(tmp_path / "a.pkl", with_value(key, value))
    with raises_naming(DatasetError, "a.pkl, transition 2", named):
        import_demonstrations([file], tmp_path / "demos.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pkl"], "nothing is left"


def test_other_items_are_refused(tmp_path: Path) -> None:
    items = list(transitions([3]))
    items[1].pop("masks")
    with raises_naming(DatasetError, "transition 1", "masks"):
        import_demonstrations([save(tmp_path / "a.pkl", items)], tmp_path / "demos.h5")
    with raises_naming(DatasetError, "transition 0", "int"):
        import_demonstrations([save(tmp_path / "b.pkl", [1, 2])], tmp_path / "demos.h5")
    with raises_naming(DatasetError, "c.pkl", "no transition"):
        import_demonstrations([save(tmp_path / "c.pkl", [])], tmp_path / "demos.h5")


def test_a_list_of_numbers_is_a_vector(tmp_path: Path) -> None:
    items = list(transitions([3]))
    for item, action in zip(items, ([0.1, 0, True], (0.5, np.float32(0.25), -1), [[0.1, 0.2, 0.3]]), strict=True):
        item["actions"], item["rewards"] = action, [item["rewards"]]
    import_demonstrations([save(tmp_path / "a.pkl", items)], tmp_path / "demos.h5")
    read = read_demonstrations([tmp_path / "demos.h5"])
    np.testing.assert_allclose(read.action, [[0.1, 0, 1], [0.5, 0.25, -1], [0.1, 0.2, 0.3]], rtol=1e-6)
    assert read.reward.tolist() == [0.0, 0.0, 1.0]


def test_files_with_and_without_a_penalty_are_not_mixed(tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.pkl", transitions([3]))
    grasping = save(tmp_path / "grasping.pkl", [item | {"grasp_penalty": -0.02} for item in transitions([3])])
    for files in ([plain, grasping], [grasping, plain]):
        with raises_naming(DatasetError, f"{files[1].name}, transition 0", "grasp_penalty"):
            import_demonstrations(files, tmp_path / "demos.h5")
    import_demonstrations([grasping, grasping], tmp_path / "demos.h5")
    labels = [episode.labels["grasp_penalty"] for episode in iterate_demonstrations([tmp_path / "demos.h5"])]
    np.testing.assert_allclose(np.concatenate(labels), -0.02, rtol=1e-6)


def test_a_dataset_that_cannot_be_put_in_place_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, folder = save(tmp_path / "a.pkl", transitions([3])), tmp_path / "folder"
    folder.mkdir()
    with raises_naming(DatasetError, "--out", folder):
        import_demonstrations([file], folder)

    def refuse(*args: Any) -> None:
        raise PermissionError("refused")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        import_demonstrations([file], tmp_path / "demos.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pkl", "folder"] and not list(folder.iterdir())


def test_sizes_of_another_task_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "a.pkl", transitions([3]))
    other = replace(IO, observations={"policy": {"pose": 7}}, images={"wrist_1": [128, 128, 3]})
    with raises_naming(DatasetError, "policy: 5 values", "7 (pose 7)", "wrist_1", "[128, 128, 3]"):
        import_demonstrations([file], tmp_path / "demos.h5", other)


PEAK = """
import resource, sys
from pathlib import Path
from regimen.data.demonstration_import import import_demonstrations
counts = import_demonstrations([Path(sys.argv[1])], Path(sys.argv[2]))
print(counts.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """The original pickles hold 4 GB; 130 MB are enough to tell a reader of everything from a stream."""
    big, small = (
        save(tmp_path / f"{name}.pkl", transitions([count], size=(128, 128, 3)))
        for name, count in (("big", 1300), ("small", 100))
    )
    assert big.stat().st_size > 120e6
    peaks = []
    for file in (big, small):
        command = [sys.executable, "-c", PEAK, str(file), str(tmp_path / "demos.h5")]
        run = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
        peaks.append(int(run.stdout.split()[1]))
    assert peaks[0] < peaks[1] + 30, "MB"
