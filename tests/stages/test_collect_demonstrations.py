"""Demonstrations by `stage=collect stage.episodes=…`: whole, successful, in the order in which they began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.demonstrated_env import DemonstratedEnv, DemonstratedEnvCfg, rendered
from helpers.messages import assert_names, raises_naming
from helpers.point_env import PointEnvCfg
from helpers.recorded_runs import recorded
from regimen.config.schema import Config
from regimen.data.demonstrations import iterate_demonstrations, read_demonstrations
from regimen.data.episode_collector import EpisodeCollector, scripted_demonstrator
from regimen.data.episodes.reader import EpisodeFile
from regimen.envs.hidden_goal import PointGoalCfg
from regimen.runs import inputs
from regimen.runs.run import Run
from regimen.stages.collect import Collect
from regimen.stages.recording.config import CollectCfg
from regimen.system.errors import ConfigError, DatasetError, StopRequested
from stages.test_collect import Stopper, new_run
from stages.test_evaluate import save_policy

pytestmark = pytest.mark.usefixtures("blank_figures")


def collect(folder: Path, env: Any, policy: str = "scripted", **fields: Any) -> Path:
    """Return the file of a finished run."""
    cfg = CollectCfg(**fields)
    run = new_run(folder, cfg)
    Collect(cfg)(run, Config(env=env, stage=cfg, policy=policy, choices={"task": "made"}))
    return run.dir / "data" / "episodes.h5"


def card_of(path: Path) -> dict[str, Any]:
    return dict(json.loads((path.parent / "card.json").read_text()))


@pytest.mark.parametrize("num_envs", [1, 5])
def test_whole_successful_episodes_of_the_expert_are_kept(tmp_path: Path, num_envs: int) -> None:
    path = collect(tmp_path, DemonstratedEnvCfg(num_envs=num_envs), episodes=12, action_noise=0.1)
    read = read_demonstrations([path], ["camera"])
    assert len(read.episodes) == 12 and read.success.all() and read.task == "made"
    for rows in read.episodes:
        np.testing.assert_array_equal(read.next_obs["policy"][rows][:-1], read.obs["policy"][rows][1:])
        moved = read.next_obs["policy"][rows] - read.obs["policy"][rows]
        np.testing.assert_allclose(moved[:, 1], 0.1 * read.action[rows][:, 1], atol=1e-6)
        assert read.terminated[rows].tolist() == [False] * (rows.stop - rows.start - 1) + [True]
        last = read.next_obs["policy"][rows.stop - 1]
        assert np.linalg.norm(last[:2] - last[2:]) < 0.1
        assert abs(rendered(read.next_obs["camera"][rows.stop - 1]) - last[0]) < 0.03
    assert np.abs(read.action).max() <= 1.0, "the applied action is recorded"
    with EpisodeFile(path) as file:
        assert (file.num_envs, file.attributes.demonstrator, file.attributes.policy_sha256) == (1, "scripted", None)


def test_episodes_are_those_that_began_first(tmp_path: Path) -> None:
    """Of eight envs the eight first episodes are tried, not the shortest of all."""
    path = collect(tmp_path, DemonstratedEnvCfg(num_envs=8), episodes=8, max_attempts=8, only_successful=False)
    env = DemonstratedEnv(8)
    first = env.reset(seed=0)["policy"].numpy()
    begun = [episode.obs["policy"][0] for episode in iterate_demonstrations([path])]
    np.testing.assert_array_equal(np.stack(begun), first)


def test_the_card_counts_tries_actions_phases_and_discounts(tmp_path: Path) -> None:
    path = collect(tmp_path, DemonstratedEnvCfg(num_envs=4), episodes=10)
    figures, read = card_of(path)["demonstrations"], read_demonstrations([path])
    whole = collect(tmp_path, DemonstratedEnvCfg(num_envs=4), episodes=figures["attempts"], only_successful=False)
    assert [e.success for e in iterate_demonstrations([whole])].count(True) == 10
    assert figures["successes"] == 10 < figures["attempts"] and figures["demonstrator"] == "scripted"
    assert figures["success_rate"] == 10 / figures["attempts"]
    assert figures["length"]["max"] == read.lengths.max() and figures["length"]["mean"] == read.lengths.mean()
    assert figures["actions"]["x"]["max"] == pytest.approx(read.action[:, 0].max())
    assert set(figures["phase_s"]) == {"far", "near"}
    assert sum(figures["phase_s"].values()) == pytest.approx(0.1 * read.lengths.mean())
    assert figures["kept_reward"]["0.97"] == pytest.approx(0.97 ** np.median(read.lengths))
    assert figures["warnings"] == []
    text = (path.parent / "card.md").read_text()
    assert_names(text, f"10 successes of {figures['attempts']}", "0.97", "near", "x")


def test_too_few_successes_end_the_recording_with_what_to_change(tmp_path: Path) -> None:
    with raises_naming(
        DatasetError, "50", "stage.max_attempts=100", "stage.action_noise=1.5", "stage.only_successful=false"
    ):
        collect(tmp_path, DemonstratedEnvCfg(), episodes=50, max_attempts=50, action_noise=3.0)


def test_a_task_without_success_or_without_an_expert_is_refused(tmp_path: Path) -> None:
    with raises_naming(ConfigError, "success", "stage.only_successful=false"):
        collect(tmp_path, PointGoalCfg(num_envs=2), episodes=4)
    with raises_naming(ConfigError, "optimal_action", "policy=human"):
        collect(tmp_path, PointEnvCfg(num_envs=2), episodes=4)


def test_optimal_actions_demonstrate_where_there_is_no_expert(tmp_path: Path) -> None:
    path = collect(tmp_path, PointGoalCfg(num_envs=2), episodes=4, only_successful=False, action_noise=0.1)
    read = read_demonstrations([path])
    assert read.truncated.sum() == 4 and not read.terminated.any()
    assert card_of(path)["demonstrations"]["phase_s"] == {}


def test_a_trained_policy_demonstrates_too(tmp_path: Path) -> None:
    policy = save_policy(tmp_path, agent={"_target_": "helpers.point_env.StepCounter"})
    path = collect(tmp_path, PointEnvCfg(num_envs=3), str(policy), episodes=5, only_successful=False)
    read = read_demonstrations([path])
    assert len(read.episodes) == 5
    with EpisodeFile(path) as file:
        assert file.attributes.demonstrator == "policy" and len(file.attributes.policy_sha256 or "") == 64


def test_long_episodes_are_warned_about_in_run_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DemonstratedEnv, "distance", lambda env: torch.where(env.age < 400, 1.0, 0.0))
    init = DemonstratedEnv.__init__

    def longer(env: DemonstratedEnv, num_envs: int = 1) -> None:
        init(env, num_envs)
        env.max_episode_length = 500

    monkeypatch.setattr(DemonstratedEnv, "__init__", longer)
    path = collect(tmp_path, DemonstratedEnvCfg(), episodes=2)
    (line,) = card_of(path)["demonstrations"]["warnings"]
    assert_names(line, "400 steps", "0.97", "0.989")
    assert line in (path.parent / "card.md").read_text()
    assert any(line in warning for warning in recorded(Run.open(path.parents[1]))["warnings"])


@pytest.mark.slow
@pytest.mark.parametrize(("at", "dies"), [(70, False), (5, False), (40, True)])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, at: int, dies: bool) -> None:
    cfg = CollectCfg(episodes=20, action_noise=0.1, checkpoint_interval=32)
    config = Config(env=DemonstratedEnvCfg(num_envs=3), stage=cfg, policy="scripted")
    whole, run = new_run(tmp_path, cfg), new_run(tmp_path, cfg)
    Collect(cfg)(whole, config)
    run.check_stop = Stopper(run, at, dies)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt if dies else StopRequested):
        Collect(cfg)(run, config)
    torch.rand(3)
    Collect(cfg)(Run.open(run.dir), config)
    a, b = (r.dir / "data" / "episodes.h5" for r in (whole, run))
    with EpisodeFile(a) as one, EpisodeFile(b) as other:
        first, second = one.read(list(one.columns)), other.read(list(other.columns))
        assert one.attributes.attempts == other.attributes.attempts
    assert set(first) == set(second)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], name)


def test_rows_of_a_task_with_images_hold_them_too(tmp_path: Path) -> None:
    path = collect(tmp_path, DemonstratedEnvCfg(num_envs=3), str(save_policy(tmp_path)), steps=40, gate_envs=2)
    with EpisodeFile(path) as file:
        rows = file.read(["obs/camera", "obs/policy"])
        assert file.columns["obs/camera"] == (8, 12, 3) and "final_obs/camera" not in file.columns
    shown = (rows["obs/camera"][:, :, 0, 0, 0].astype(float) - 100) / 50
    np.testing.assert_allclose(shown, rows["obs/policy"][:, :, 0], atol=0.03)
    assert "demonstrations" not in card_of(path)


def test_a_broken_off_attempt_is_not_kept() -> None:
    env = DemonstratedEnv(1)
    collector = EpisodeCollector(env, scripted_demonstrator(env, 0.0, 0), only_successful=False)
    collector.begin(seed=0)
    assert collector.step() == []
    collector.discard()
    episodes = [episode for _ in range(60) for episode in collector.step()]
    assert collector.failed == 1 and collector.attempts == 1 + len(episodes)


def test_wrong_settings_are_found_before_anything_starts() -> None:
    plain = {"env": {"num_envs": 4}}
    (line,) = CollectCfg().problems(plain | {"policy": "scripted"})
    assert_names(line, "policy=scripted", "stage.episodes=25")
    (line,) = CollectCfg(episodes=9, max_attempts=3).problems(plain | {"policy": "scripted"})
    assert_names(line, "max_attempts=3", "9")
    assert [line[:9] for line in CollectCfg(episodes=0).problems(plain)] == ["episodes="]
    assert CollectCfg(episodes=2).problems(plain | {"policy": "scripted"}) == []


def test_a_demonstrator_is_no_reference_to_a_run() -> None:
    collecting = {"_target_": "regimen.stages.collect.Collect"}
    assert inputs.references({"policy": "scripted", "stage": collecting}) == {}
    assert inputs.references({"policy": "mine", "stage": collecting}) == {"policy": "mine"}
    evaluating = {"_target_": "regimen.stages.evaluate.Evaluate"}
    assert inputs.references({"policy": "scripted", "stage": evaluating}) == {}
    assert inputs.references({"policy": "human", "stage": evaluating}) == {"policy": "human"}
    training = {"_target_": "regimen.stages.train.Train"}
    assert inputs.references({"policy": "scripted", "stage": training}) == {"policy": "scripted"}
