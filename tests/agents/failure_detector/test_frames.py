"""From rows to frames: which class an observation has, since when its fault shows, what padding is."""

from __future__ import annotations

import numpy as np
import torch

from agents.failure_detector.broken_joints import LIMIT, SWING, layout, open_sets, table, write_swing
from helpers.episode_files import CANDIDATES, JOINTS
from helpers.messages import raises_naming
from regimen.agents.failure_detector.frames import Layout, saturated_since, shifted, statistics
from regimen.system.errors import DatasetError


def test_the_class_of_an_observation_is_the_label_of_the_row_before(tmp_path):
    made = table(num_envs=6)
    sets = open_sets(write_swing(tmp_path / "e.h5", made))
    fault, episode = made["labels/fault_joint"], made["episode"]
    seen = 0
    for frames in sets.train.epoch(4):
        for row, mask, unit in zip(frames.target, frames.mask, frames.unit, strict=True):
            length, env = int(mask.sum()), int(unit)
            own = [fault[episode[:, env] == e, env] for e in np.unique(episode[:, env])]
            expected = [[0, *(labels[:-1] + 1)] for labels in own]
            assert row[:length].tolist() in expected
            seen += 1
    assert seen == sets.train.sequences.episodes


def test_torques_of_the_faulty_joint_show_the_alignment(tmp_path):
    sets = open_sets(write_swing(tmp_path / "e.h5"))
    healthy_peak = faulty_peak = 0.0
    for frames in sets.train.epoch(16):
        torque = layout().candidate_torques(frames.inputs).abs()
        for joint in range(2):
            broken = frames.mask & (frames.target == joint + 1)
            sound = frames.mask & (frames.target == 0)
            faulty_peak = max([faulty_peak, *torque[..., joint][broken].tolist()])
            healthy_peak = max([healthy_peak, *torque[..., joint][sound].tolist()])
    assert faulty_peak <= LIMIT < 9.0 < healthy_peak, "no frame called faulty shows a healthy torque"


def test_a_fault_is_active_from_the_first_frame_at_its_limit():
    inputs = torch.zeros(1, 6, 7)
    inputs[0, :, 3] = torch.tensor([9.0, 1.0, -3.0, 1.0, 3.0, 0.0])
    target = torch.tensor([[0, 1, 1, 1, 1, 1]])
    limit = torch.tensor([[torch.nan, 3.0, 3.0, 3.0, 3.0, 3.0]])
    active = saturated_since(layout(), inputs, target, limit)
    assert active[0].tolist() == [False, False, True, True, True, True]


def test_shifted_labels_begin_with_the_given_value():
    assert shifted(torch.tensor([[1, 2, 3]]), -1).tolist() == [[-1, 1, 2]]


def test_statistics_leave_padding_out(tmp_path):
    made = table(num_envs=8)
    made["obs/discriminator"][..., 0] = 5.0
    sets = open_sets(write_swing(tmp_path / "e.h5", made))
    mean, std, counts = statistics(sets.train, 5)
    assert (float(mean[0]), float(std[0])) == (5.0, 0.0)
    assert int(counts.sum()) == sets.train.sequences.rows
    rows = torch.cat([f.inputs[f.mask] for f in sets.train.epoch(3)])
    assert torch.allclose(std, rows.std(0, correction=0), atol=1e-4)


def test_splits_share_no_env(tmp_path):
    sets = open_sets(write_swing(tmp_path / "e.h5"))
    units = [{int(u) for f in part.epoch(8) for u in f.unit} for part in (sets.train, sets.val, sets.test)]
    assert not (units[0] & units[1] or units[0] & units[2] or units[1] & units[2])
    assert sum(map(len, units)) == 48


def test_a_group_that_is_not_there_is_refused():
    with raises_naming(DatasetError, "agent.group=torques", "policy", "discriminator", "task=h1_failure"):
        Layout.of(SWING, "torques", list(JOINTS), list(CANDIDATES))


def test_without_torques_no_frame_is_called_active():
    plain = Layout.of(SWING, "policy", list(JOINTS), list(CANDIDATES))
    assert plain.torques is None
    target = torch.ones(1, 3, dtype=torch.long)
    assert not saturated_since(plain, torch.zeros(1, 3, 3), target, torch.ones(1, 3)).any()
    with raises_naming(DatasetError, "policy", "joint_effort"):
        plain.candidate_torques(torch.zeros(1, 3, 3))
