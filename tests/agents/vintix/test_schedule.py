"""The plan of a training: learning rate over real steps, windows of each step."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.messages import assert_names
from regimen.agents.vintix.config import TrainingCfg
from regimen.agents.vintix.trainer import Schedule


def test_the_rate_rises_over_the_warm_up_and_ends_at_its_minimum():
    cfg = TrainingCfg(epochs=10, batch_size=2, accumulation=3, warmup_ratio=0.1, min_learning_rate=1e-5)
    schedule = Schedule(cfg, windows=59, processes=1, seed=0)
    assert (schedule.per_epoch, schedule.total) == (10, 100), "of six windows each, accumulation counted"
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(3e-5) and rates[9] == rates[10] == pytest.approx(3e-4)
    assert all(np.diff(rates[10:]) < 0) and rates[-1] == pytest.approx(1e-5)
    assert rates[54] == pytest.approx(1.55e-4, rel=0.02), "half-way down the cosine"


def test_every_epoch_sees_each_window_once_in_another_order():
    schedule = Schedule(TrainingCfg(batch_size=4, accumulation=2), windows=21, processes=1, seed=3)
    first, second = (list(schedule.epoch(epoch)) for epoch in (0, 1))
    assert [len(step) for step in first] == [8, 8, 5]
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == list(range(21))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
    assert np.concatenate(first).tolist() == np.concatenate(list(schedule.epoch(0))).tolist()


def test_processes_share_the_windows_of_a_step():
    schedule = Schedule(TrainingCfg(batch_size=2, accumulation=2), windows=21, processes=3, seed=3)
    for step in schedule.epoch(0):
        parts = [schedule.share(step, process, 3) for process in range(3)]
        assert all(len(batch) <= 2 for batches in parts for batch in batches)
        assert sorted(np.concatenate([b for batches in parts for b in batches])) == sorted(step)
    alone = schedule.share(np.arange(2), 2, 3)
    assert alone == [], "a process without a window has nothing to do"


def test_problems_are_named():
    assert TrainingCfg().problems() == []
    wrong = TrainingCfg(epochs=0, learning_rate=0.0, warmup_ratio=1.0, weight_decay=-1.0, precision="fp8")
    told = "\n".join(wrong.problems())
    assert_names(told, "training.epochs=0", "training.learning_rate", "training.warmup_ratio=1.0")
    assert_names(told, "training.weight_decay", "training.precision=fp8", "auto", "fp32", "bf16")
    assert_names(TrainingCfg(betas=(0.9, 1.0)).problems()[0], "training.betas=[0.9, 1.0]")
