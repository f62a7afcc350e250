"""Windows of histories: alignment, scaling, held-out histories, order of files, what is too short."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.history_files import rows, write
from helpers.messages import assert_names, raises_naming
from helpers.vintix_models import histories
from regimen.agents.vintix import windows
from regimen.agents.vintix.config import SamplingCfg
from regimen.agents.vintix.windows import Task, Windows, load
from regimen.data.histories.reader import open_histories
from regimen.system.errors import DatasetError

EVERY = SamplingCfg(trajectory_sparsity=5, held_out=0.0)


def opened(path: Path, cfg: SamplingCfg = EVERY, context: int = 10, seed: int = 0) -> list[Task]:
    return load([path], cfg, context, seed, 2**30)


def test_a_token_has_the_action_and_reward_before_it_and_its_own_action_as_target(tmp_path):
    path = histories(tmp_path, count=1, reward_scale=0.5)
    task = opened(path)[0]
    raw, windows = open_histories(path)[0], Windows([task], 10)
    batch = windows.batches(np.array([2, 3]))[0]
    assert batch.observation.shape == (2, 10, 3) and batch.action.shape == batch.target.shape == (2, 10, 2)
    for window, start in enumerate((5, 10)):
        here, before = slice(start + 1, start + 11), slice(start, start + 10)
        scaled = (torch.from_numpy(raw.observation[here]) - task.scaling.mean) / task.scaling.std
        assert torch.allclose(batch.observation[window], scaled, atol=1e-6)
        assert batch.target[window].tolist() == raw.action[here].tolist()
        assert batch.action[window].tolist() == raw.action[before].tolist()
        assert torch.allclose(batch.reward[window], torch.from_numpy(0.5 * raw.reward[before]))
        assert batch.begins[window].tolist() == (raw.step_num[here] == 0).tolist()


def test_windows_begin_every_so_often_and_the_last_ends_with_the_history(tmp_path):
    task = opened(histories(tmp_path, count=2, episodes=6))[0]  # 42 rows each
    own = np.array([-1, 0, 5, 10, 15, 20, 25, 30, 31])
    assert task.train.tolist() == [*own, *(42 + own)]


def test_one_window_begins_as_an_empty_context_does(tmp_path):
    task = opened(histories(tmp_path, count=2, episodes=6))[0]
    windows = Windows([task], 10)
    batch = windows.batches(np.array([0, 9]))[0]
    assert batch.begins[:, 0].all() and batch.target[1, 0].tolist() == task.rows["action"][42].tolist()
    others = np.setdiff1d(np.arange(len(windows)), [0, 9])
    assert windows.batches(others)[0].action[:, 0].tolist() == task.rows["action"][task.train[others]].tolist()
    path = histories(tmp_path / "cut", count=1, episodes=6)  # of 7 rows
    kept = {share: opened(path, SamplingCfg(last_frac=share, held_out=0.0))[0].train[0] for share in (0.5, 0.4)}
    assert kept == {0.5: -1, 0.4: 0}


def test_a_history_of_just_context_and_one_row_gives_one_window_and_a_shorter_one_is_refused(tmp_path):
    path = histories(tmp_path, count=1, episodes=6)
    assert opened(path, context=41)[0].train.tolist() == [-1, 0]
    with raises_naming(DatasetError, "00000.h5", 42, 43, "agent.model.context"):
        opened(path, context=42)
    with raises_naming(DatasetError, "00000.h5", 21, "episode_sparsity=2", 30, 31):
        opened(path, SamplingCfg(episode_sparsity=2), context=30)


def test_thinning_keeps_whole_episodes_and_the_last_share_is_the_end(tmp_path):
    path = histories(tmp_path, count=1, episodes=8)
    raw = open_histories(path)[0]
    thin = opened(path, SamplingCfg(trajectory_sparsity=5, episode_sparsity=3, held_out=0.0))[0]
    assert thin.rows["action"].tolist() == raw.thinned(3).action.tolist() and len(thin.rows["action"]) == 21
    late = opened(path, SamplingCfg(trajectory_sparsity=5, last_frac=0.25, held_out=0.0))[0]
    assert late.rows["action"].tolist() == raw.action[-14:].tolist()


def test_scaling_is_of_what_is_learned_from_with_a_floor(tmp_path):
    table = rows(4, 40)
    table["proprio_observation"][..., 1] = 7.0
    path = write(tmp_path, table)
    task = opened(path, SamplingCfg(held_out=0.5))[0]
    assert task.histories == (2, 2) and task.scaling.std[1] == pytest.approx(1e-2)
    assert torch.isfinite(task.rows["observation"]).all() and task.rows["observation"][:, 1].abs().max() < 1e-3
    learned = [h for h in open_histories(path) if not _is_held(h.action, task)]
    seen = np.concatenate([h.observation for h in learned]).astype(np.float64)
    assert np.allclose(task.scaling.mean, seen.mean(0), atol=1e-6)
    assert np.allclose(task.scaling.std[[0, 2]], seen.std(0, ddof=1)[[0, 2]], atol=1e-6)


def _is_held(action: np.ndarray, task: Task) -> bool:
    """Whether the windows that are not learned from hold this history."""
    return any(task.rows["action"][start].tolist() == action[0].tolist() for start in task.val)


def test_held_out_windows_share_no_row_with_the_others(tmp_path):
    task = opened(histories(tmp_path, count=5), SamplingCfg(trajectory_sparsity=3, held_out=0.4))[0]
    span = np.arange(1, 11)  # what is asked for
    learned, judged = (set((part[:, None] + span).ravel().tolist()) for part in (task.train, task.val))
    assert learned and judged and not learned & judged
    one = opened(histories(tmp_path / "one", count=1), SamplingCfg(held_out=0.4))[0]
    assert one.histories == (1, 0) and len(one.val) == 0


def test_the_order_of_files_and_datasets_changes_nothing(tmp_path):
    paths = [histories(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    cfg = SamplingCfg(trajectory_sparsity=5, held_out=0.3)
    first = load(paths, cfg, 10, 0, 2**30)[0]
    about = json.loads(paths[0].read_text())
    about["files"].reverse()
    paths[0].write_text(json.dumps(about))
    second = load(paths[::-1], cfg, 10, 0, 2**30)[0]
    assert all(torch.equal(value, second.rows[name]) for name, value in first.rows.items())
    assert first.train.tolist() == second.train.tolist() and first.val.tolist() == second.val.tolist()
    assert first.histories == (6, 2)


def test_tasks_of_a_group_are_scaled_alike_and_batches_tell_them_apart(tmp_path):
    paths = [histories(tmp_path / name, task_name=name, seed=i) for i, name in enumerate("ab")]
    a, b = load(paths, EVERY, 10, 0, 2**30)
    assert a.scaling is b.scaling and not torch.equal(a.rows["action"], b.rows["action"])
    windows = Windows([a, b], 10)
    batches = windows.batches(np.array([0, len(windows) - 1, 1]))
    assert [(batch.task, len(batch.target)) for batch in batches] == [(0, 2), (1, 1)]
    assert torch.equal(batches[1].target[0], b.rows["action"][-10:])


def test_tasks_that_do_not_fit_their_group_are_refused(tmp_path):
    first = histories(tmp_path / "a", task_name="a")
    other = histories(tmp_path / "b", task_name="b", reward_scale=0.1)
    with raises_naming(DatasetError, "a", "b", "made", "reward_scale"):
        load([first, other], EVERY, 10, 0, 2**30)
    same = histories(tmp_path / "c", task_name="a", reward_scale=0.1)
    with raises_naming(DatasetError, first.parent, same.parent, "reward_scale", "task_name"):
        load([first, same], EVERY, 10, 0, 2**30)


def test_data_beyond_the_memory_allowed_are_refused_with_what_to_type(tmp_path):
    with raises_naming(DatasetError, "stage.memory_gb=0.1"):
        load([histories(tmp_path)], EVERY, 10, 0, 1000)


def test_loading_takes_little_more_memory_than_the_rows(tmp_path, monkeypatch):
    path = write(tmp_path, rows(12, 3000, length=100))
    allowed = 3000 * 4 * (12 * (3 + 2 + 2) + 2 * (3 + 2 + 4))  # of the rows, and two copies of a history
    load([path], EVERY, 10, 0, allowed)  # what is imported at the first use is no part of it
    found = open_histories(path)  # to read the index takes a fixed amount, more than these histories
    monkeypatch.setattr(windows, "open_histories", lambda path: found)
    tracemalloc.start()
    try:
        (task,) = load([path], EVERY, 10, 0, allowed)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(task.rows["reward"]) == 36_000 and peak < allowed


def test_a_share_of_the_histories_needs_memory_for_that_share(tmp_path):
    path, late = write(tmp_path, rows(12, 400)), SamplingCfg(last_frac=0.1, held_out=0.0)
    allowed = 4 * (12 * 40 * (3 + 2 + 2) + 2 * 400 * (3 + 2 + 4))
    assert len(load([path], late, 10, 0, allowed)[0].rows["reward"]) == 480
    with raises_naming(DatasetError, "stage.memory_gb=0.1"):
        load([path], EVERY, 10, 0, allowed)


def test_problems_are_named():
    assert SamplingCfg().problems() == []
    told = "\n".join(SamplingCfg(0, 0, 0.0, 1.0).problems())
    assert_names(told, "sampling.trajectory_sparsity=0", "sampling.episode_sparsity=0")
    assert_names(told, "sampling.last_frac=0.0", "sampling.held_out=1.0")
