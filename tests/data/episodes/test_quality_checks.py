"""The gates: the disaster of the original must not pass, a good set must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.episode_files import balanced, columns, end_at, write
from helpers.messages import assert_names, missing_names
from regimen.data.episodes import card
from regimen.data.episodes.card_schema import EpisodeCard

JOINTS = [f"joint_{i}" for i in range(19)]
LEGS = [JOINTS[i] for i in (0, 1, 3, 4, 7, 8, 11, 12)]


def test_a_good_set_passes(tmp_path: Path) -> None:
    assert card.make([write(tmp_path / "episodes.h5", balanced(), staggered=True)]).problems() == []


def test_the_disaster_of_the_original_is_refused(tmp_path: Path) -> None:
    """One draw for all envs: joint 12 alone fails, at step 100 of 1000, in every env; all reset together."""
    table = columns(32, 2000)
    table["labels/fault_joint"][100:1000] = 12
    table["labels/fault_joint"][1100:] = 12
    end_at(table, {env: [999, 1999] for env in range(32)}, "truncated")
    severity = {"change_joint_torque": {"onset_s": [2.0, 12.0]}}
    path = write(tmp_path / "episodes.h5", table, joints=JOINTS, classes=LEGS, severity=severity)
    lines = card.make([path]).problems()
    wanted = [
        *((f"joint_{joint}", 64, "0.0%", "5%") for joint in (0, 1, 3, 4, 7, 8, 11)),
        ("joint_12", 64, "joint_0", 0),
        ("healthy", "10.0%", "30%", "70%"),
        ("onsets", 64, 100),
        ("resets", "100%", "10%"),
    ]
    for names in wanted:
        assert len([line for line in lines if not missing_names(line, *names)]) == 1, names


def changed(**changes: Any) -> EpisodeCard:
    """Return the part of a good card that the gates read, with changes."""
    episodes = {"healthy": 50, "hip": 40, "knee": 40, "ankle": 0, "wrist": 0}
    good: dict[str, Any] = {
        "classes": ["hip", "knee"],
        "episodes_by_class": episodes,
        "healthy_share": 0.5,
        "onsets": {"count": 80, "range": [10, 50], "least": 10, "most": 50, "deviation": 0.05, "limit": 0.18},
        "episodes": {"length": {"max": 100}},
        "resets": {"synchronised_share": 0.02},
        "by_split": {name: {"episodes": episodes} for name in ("train", "val", "test")},
        "duplicates": {"leaking": 0},
        "channels": {"broken": {}},
    }
    return EpisodeCard.from_dict(good | changes)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"episodes_by_class": {"healthy": 50, "hip": 90, "knee": 30}}, ("hip", 90, "knee", 30)),
        ({"episodes_by_class": {"healthy": 9, "hip": 40, "knee": 40, "ankle": 1}}, ("ankle", 1)),
        ({"healthy_share": 0.9}, ("healthy", "90.0%", "30%", "70%")),
        ({"resets": {"synchronised_share": 0.3}}, ("resets", "30%", "10%")),
        ({"by_split": None}, ("envs", "train", "val", "test")),
        ({"duplicates": {"leaking": 3}}, (3, "episodes", "splits")),
        ({"channels": {"broken": {"policy.goal[0]": 7}}}, ("policy.goal[0]", 7)),
        ({"classes": ["knee"]}, ("knee", "env.evaluation.faults")),
        ({"onsets": {"count": 0}}, ("fault", "episode")),
    ],
)
def test_each_gate_names_what_is_wrong(changes: dict[str, Any], names: tuple[object, ...]) -> None:
    assert changed().problems() == []
    [line] = changed(**changes).problems()
    assert_names(line, *names)


def test_a_joint_that_is_missing_in_a_split_is_named() -> None:
    parts = {"train": {"episodes": {"hip": 30, "knee": 30}}, "val": {"episodes": {"hip": 3, "knee": 0}}}
    [line] = changed(by_split=parts).problems()
    assert_names(line, "knee", "val")
    assert missing_names(line, "hip", "train") == ["hip", "train"]


def test_onsets_in_half_of_the_range_do_not_pass(tmp_path: Path) -> None:
    table = balanced(seed=3)
    early = {"change_joint_torque": {"onset_s": [0.2, 1.8]}}
    [line] = card.make([write(tmp_path / "episodes.h5", table, severity=early, staggered=True)]).problems()
    assert_names(line, "onsets", 10, 90)


def test_onsets_are_compared_with_the_range_of_their_own_recording(tmp_path: Path) -> None:
    files = []
    for name, last_s in (("short", 0.6), ("long", 1.4)):
        table = columns(60, 100, seed=len(files))
        for env in range(60):  # evenly over the range, in the order of the envs
            table["labels/fault_joint"][round(10 + env / 59 * (last_s / 0.02 - 10)) :, env] = env % 2
        severity = {"change_joint_torque": {"joints": "hip|knee", "onset_s": [0.2, last_s]}}
        files.append(write(tmp_path / f"{name}.h5", table, severity=severity))
    for paths in (files, files[::-1]):
        onsets = card.make(paths).onsets
        assert onsets.deviation < onsets.limit
        assert (onsets.count, onsets.least, onsets.most) == (120, 10, 70)
    early = write(tmp_path / "early.h5", table, severity={"change_joint_torque": {"onset_s": [0.2, 1.9]}})
    onsets = card.make([files[0], early]).onsets
    assert onsets.range == [10, 95] and onsets.deviation > onsets.limit


def test_many_falls_before_the_fault_do_not_make_uniform_onsets_look_early() -> None:
    from regimen.data.episodes.statistics import onset_deviation

    rng = np.random.default_rng(0)
    onset = rng.integers(100, 601, 4000)
    fall = rng.exponential(300, 4000).astype(int) + 1
    seen = np.where(onset < fall, onset, -1)
    length = np.where(onset < fall, np.minimum(onset + 50, 1000), fall)
    weighed, number = onset_deviation(seen, length, 100, 600)
    plain, _ = onset_deviation(seen[seen >= 0], np.full((seen >= 0).sum(), 1000), 100, 600)
    assert weighed < 0.05 < 0.15 < plain
    assert 200 < number < (seen >= 0).sum()
