"""Learning histories, from a policy or a training to a dataset with its card, on environments without a simulator."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.messages import assert_names, missing_names, raises_naming
from helpers.point_env import PointEnv, PointEnvCfg, StepCounter
from regimen.config.schema import Config
from regimen.data.histories.reader import Histories, open_histories
from regimen.envs.mass_randomization import MassRangeCfg
from regimen.envs.vec_env import ActionSpec
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.collect_histories import CollectHistories
from regimen.stages.recording import calibration
from regimen.stages.recording.config import CollectHistoriesCfg, NoiseCfg
from regimen.stages.recording.history_policies import RandomPolicy, epsilon_at, one_hot
from regimen.system.errors import ConfigError, DatasetError, StopRequested
from stages.test_collect import Stopper, TracedEnv
from stages.test_evaluate import save_policy

pytestmark = pytest.mark.usefixtures("blank_figures")

EPISODES = CollectHistoriesCfg(episodes=8)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[TracedEnv]:
    """The envs that were opened, the last one last."""
    opened: list[TracedEnv] = []

    def open_traced(config: Config) -> TracedEnv:
        opened.append(TracedEnv(config.env.num_envs, 25))
        return opened[-1]

    monkeypatch.setattr("regimen.envs.open_env", open_traced)
    return opened


def task(num_envs: int) -> PointEnvCfg:
    """Return the points without wind: those of random actions leave the field seldom."""
    return PointEnvCfg(num_envs=num_envs, events={"wind": None})


def new_run(folder: Path, cfg: CollectHistoriesCfg) -> Run:
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(cfg)}, ["launch.py", "stage=collect_histories"], []))
    run.logs.mkdir(exist_ok=True)
    return run


def collect(
    folder: Path, cfg: CollectHistoriesCfg, num_envs: int = 6, env: PointEnvCfg | None = None, **fields: Any
) -> Run:
    run = new_run(folder, cfg)
    if cfg.mode != "checkpoints" and "policy" not in fields:
        fields["policy"] = str(save_policy(folder))
    CollectHistories(cfg)(run, Config(env=env or task(num_envs), stage=cfg, **fields))
    return run


def content(run: Run) -> Histories:
    return open_histories(run.dir / "data" / "histories")


def test_a_row_is_an_observation_the_action_and_what_came_of_it(tmp_path: Path, traced: list[TracedEnv]) -> None:
    found = content(collect(tmp_path, CollectHistoriesCfg(steps=80)))
    log = traced[-1].log
    for env, history in enumerate(found):
        assert len(history) == 80
        np.testing.assert_array_equal(history.observation, np.stack([row["obs/policy"][env] for row in log]))
        np.testing.assert_array_equal(history.action, np.stack([row["action"][env] for row in log]))
        np.testing.assert_array_equal(history.reward, np.stack([row["reward"][env] for row in log]))
        done = np.stack([row["terminated"][env] | row["truncated"][env] for row in log])
        np.testing.assert_array_equal(history.step_num[1:] == 0, done[:-1])


@pytest.mark.parametrize("num_envs", [1, 6])
def test_a_history_has_as_many_whole_episodes_as_asked_for(tmp_path: Path, num_envs: int) -> None:
    """Those that end early have fewer rows, and the envs that wait for them add nothing."""
    found = content(collect(tmp_path, EPISODES, env=PointEnvCfg(num_envs=num_envs)))
    assert len(found) == num_envs and (num_envs == 1 or len(np.unique(found.rows)) > 2), "the wind blows"
    for history in found:
        assert len(history.start) == 8 and history.complete.all()
        assert (history.more["terminated"] | history.more["truncated"]).sum() == 8


def test_noise_decays_by_the_formula_and_stays_within_an_episode(tmp_path: Path) -> None:
    cfg = CollectHistoriesCfg(episodes=11, noise=NoiseCfg(power=0.6, noise_free=0.3))
    for history in content(collect(tmp_path, cfg)):
        epsilon = history.more["epsilon"]
        rest = np.minimum(np.arange(11) / 10 / 0.7, 1.0)
        np.testing.assert_allclose(epsilon[history.start], (1 - rest**0.6) ** (1 / 0.6), atol=1e-6)
        np.testing.assert_array_equal(epsilon, np.repeat(epsilon[history.start], history.stop - history.start))
        assert epsilon[0] == 1.0 and (epsilon[history.start[7:]] == 0.0).all() and epsilon[history.start[6]] > 0


def test_the_schedule_has_its_ends() -> None:
    share = torch.tensor([0.0, 0.25, 0.949, 0.95, 1.0])
    epsilon = epsilon_at(share, NoiseCfg(power=2.0, noise_free=0.05))
    assert epsilon[0] == 1.0 and 0 < epsilon[2] < 0.05 and epsilon[3:].tolist() == [0.0, 0.0]
    assert epsilon[1] == pytest.approx((1 - (0.25 / 0.95) ** 2) ** 0.5)


def test_actions_are_mixed_with_the_noise_they_say(tmp_path: Path, traced: list[TracedEnv]) -> None:
    """Without noise the action is the policy's; with all of it, it is anything in the box."""
    cfg = CollectHistoriesCfg(episodes=30, noise=NoiseCfg(box="clip"))
    history = content(collect(tmp_path, cfg, 4))[1]
    policy = history.observation[:, 2:]  # of gain 1
    error = np.abs(history.action - policy).max(1)
    epsilon = history.more["epsilon"]
    assert error[epsilon == 0.0].max() < 1e-6 < error[epsilon == 1.0].min()
    spread = np.abs(history.action - (1 - epsilon[:, None]) * policy)
    assert (spread <= epsilon[:, None] + 1e-6).all(), "noise is within 1, the clip"
    assert spread[epsilon > 0.5].max() > 0.4


@pytest.mark.slow
def test_returns_rise_and_scores_are_measured(tmp_path: Path) -> None:
    run = collect(tmp_path, CollectHistoriesCfg(episodes=30), 16)
    found = content(run)
    about = found.about
    assert about.spearman > 0.3 and about.random_score < about.expert_score < 0
    last = np.concatenate([h.returns[h.more["epsilon"][h.start] == 0] for h in found])
    assert about.expert_score == pytest.approx(last.mean()) and about.expert_episodes == len(last)
    result = json.loads((run.dir / "result.json").read_text())
    assert result["headline"]["expert_score"] == about.expert_score
    assert bool(result["problems"]) == (about.spearman < 0.7)
    kinds = {row.path: row.kind for row in run.artifacts()}
    assert kinds["data/histories/histories.json"] == "dataset" and kinds["figures/histories.png"] == "figure"
    assert not run.checkpoints.exists()


def test_the_dataset_says_where_it_comes_from(tmp_path: Path) -> None:
    cfg = CollectHistoriesCfg(episodes=3, group="points", reward_scale=0.1, episode_sparsity=2)
    about = content(collect(tmp_path, cfg, seed=3, choices={"task": "point"})).about
    assert (about.task_name, about.group, about.seed, about.mode) == ("point", "points", 3, "noise")
    assert (about.reward_scale, about.episode_sparsity, about.action_type) == (0.1, 2, "continuous")
    assert about.command == "launch.py stage=collect_histories" and len(about.policy_sha256) == 64
    assert np.shape(about.noise["range"]) == (2, 2) and about.domain_randomization["enabled"] is False


def test_the_expert_alone_is_labelled_and_refused(tmp_path: Path) -> None:
    run = collect(tmp_path, CollectHistoriesCfg(mode="expert", episodes=8))
    about = content(run).about
    assert about.mode == "expert" and about.noise is None
    assert (content(run)[0].more["epsilon"] == 0).all()
    assert any("mode=expert" in line for line in json.loads((run.dir / "result.json").read_text())["problems"])
    assert_names((run.dir / "data" / "histories" / "card.md").read_text(), "mode=expert")


def training(folder: Path, gains: list[float]) -> str:
    """Make a finished training whose policies got better; return its result.json."""
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True)
    for number, gain in enumerate(gains):
        bundle = {
            "format": checkpoint.FORMAT,
            "agent": {"_target_": "helpers.point_env.ToGoal"},
            "policy": {"gain": gain},
        }
        checkpoint.save(checkpoints / f"step_{100 * (number + 1):09d}.pt", bundle | {"io": PointEnv(1).io.to_dict()})
    (folder / "result.json").write_text("{}")
    return str(folder / "result.json")


def test_checkpoints_are_walked_in_order(tmp_path: Path) -> None:
    runs = [training(tmp_path / "a", [0.1, 0.5, 0.9]), training(tmp_path / "b", [-0.5, 1.0])]
    found = content(collect(tmp_path, CollectHistoriesCfg(mode="checkpoints", episodes=6), 4, runs=runs))
    gains = {0: [0.1, 0.5, 0.9], 1: [-0.5, 1.0]}
    for env, history in enumerate(found):
        walk = history.more["checkpoint"][history.start].tolist()
        assert walk == ([0, 0, 1, 1, 2, 2] if env % 2 == 0 else [0, 0, 0, 1, 1, 1])
        gain = np.array(gains[env % 2])[history.more["checkpoint"]]
        np.testing.assert_allclose(history.action, gain[:, None] * history.observation[:, 2:], rtol=1e-5)
    rows = found.about.checkpoints
    assert [(row["run"], row["step"]) for row in rows] == [("a", 100), ("a", 200), ("a", 300), ("b", 100), ("b", 200)]
    assert found.about.first_checkpoint == [0, 3, 0, 3]


def test_checkpoints_may_be_thinned_but_the_last_stays(tmp_path: Path) -> None:
    runs = [training(tmp_path / "a", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])]
    cfg = CollectHistoriesCfg(mode="checkpoints", episodes=4, thin=2)
    about = content(collect(tmp_path, cfg, 2, runs=runs)).about
    assert [row["step"] for row in about.checkpoints] == [100, 300, 500, 600]
    with raises_naming(ConfigError, "b", "1", "stage.thin=1", "stage.keep_checkpoints=50", "stage.checkpoint_interval"):
        collect(tmp_path, CollectHistoriesCfg(mode="checkpoints", episodes=4), 2, runs=[training(tmp_path / "b", [1])])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["noise", "checkpoints"])
@pytest.mark.parametrize(("at", "dies"), [(100, False), (1, False), (150, True)])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, at: int, dies: bool, mode: str) -> None:
    cfg = CollectHistoriesCfg(mode=mode, episodes=8, checkpoint_interval=64)
    if mode == "noise":
        inputs: dict[str, Any] = {
            "policy": str(save_policy(tmp_path, agent={"_target_": "helpers.point_env.StepCounter"}))
        }
    else:
        inputs = {"runs": [training(tmp_path / "a", [0.1, 0.9])]}
    config = Config(env=task(40), stage=cfg, **inputs)
    whole, run = new_run(tmp_path, cfg), new_run(tmp_path, cfg)
    CollectHistories(cfg)(whole, config)
    run.check_stop = CollectStopper(run, at, dies)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt if dies else StopRequested):
        CollectHistories(cfg)(run, config)
    torch.rand(7)
    CollectHistories(cfg)(again := Run.open(run.dir), config)
    a, b = content(whole).about, content(again).about
    assert a.run != b.run
    assert replace(a, run=b.run) == b


class CollectStopper(Stopper):
    """Ends a run, but not in the trial, which keeps nothing."""

    def __call__(self, step: int, save: Any) -> None:
        if save.__name__ != "<lambda>":
            super().__call__(step, save)


def test_killed_after_the_last_step_it_only_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = CollectHistoriesCfg(episodes=3)
    config = Config(env=task(3), stage=cfg, policy=str(save_policy(tmp_path)))
    run = new_run(tmp_path, cfg)

    def dies(*args: Any) -> None:
        raise KeyboardInterrupt

    for place in ("regimen.data.histories.writer.write_index", "regimen.data.histories.card.make"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(place, dies)
            CollectHistories(cfg)(run, config)
    CollectHistories(cfg)(run, config)
    assert content(run).rows.sum() == json.loads((run.dir / "result.json").read_text())["headline"]["samples"]


def test_changed_checkpoints_are_not_gone_on_with(tmp_path: Path) -> None:
    cfg = CollectHistoriesCfg(mode="checkpoints", episodes=8)
    config = Config(env=task(4), stage=cfg, runs=[training(tmp_path / "a", [0.1, 0.9])])
    run = new_run(tmp_path, cfg)
    run.check_stop = CollectStopper(run, 50, False)  # type: ignore[method-assign]
    with pytest.raises(StopRequested):
        CollectHistories(cfg)(run, config)
    (tmp_path / "a" / "checkpoints" / "step_000000200.pt").unlink()
    training(tmp_path / "c", [0.1, 0.7])
    source = tmp_path / "c" / "checkpoints" / "step_000000200.pt"
    source.rename(tmp_path / "a" / "checkpoints" / "step_000000200.pt")
    with raises_naming(DatasetError, "checkpoints", "runs"):
        CollectHistories(cfg)(Run.open(run.dir), config)


def test_a_policy_with_a_memory_forgets_the_envs_that_end(tmp_path: Path) -> None:
    StepCounter.seen.clear()
    policy = str(save_policy(tmp_path, agent={"_target_": "helpers.point_env.StepCounter"}))
    found = content(collect(tmp_path, CollectHistoriesCfg(steps=50), 4, policy=policy))
    for env in range(4):
        assert [seen[env] for seen in StepCounter.seen[-50:]] == found[env].step_num.tolist()


class SolvedEnv(PointEnv):
    """Knows its optimal actions, which are discrete."""

    discrete_actions = True

    def optimal_action(self) -> torch.Tensor:
        return one_hot(self.goal - self.position)


def test_a_task_that_knows_its_solution_needs_no_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raises_naming(ConfigError, "optimal_action", "policy=<run>"):
        collect(tmp_path, EPISODES, policy=None)
    monkeypatch.setattr("regimen.envs.open_env", lambda config: SolvedEnv(config.env.num_envs, 25))
    found = content(collect(tmp_path, CollectHistoriesCfg(episodes=12), 4, policy=None))
    assert found.discrete
    for history in found:
        assert (np.sort(history.action, 1) == [0.0, 1.0]).all(), "one-hot"


def test_random_actions_fill_their_box() -> None:
    box = torch.tensor([[-1.0, 2.0], [1.0, 2.5]])
    draws, _ = RandomPolicy(box, False).act({"policy": torch.zeros(4000, 3)}, None)
    np.testing.assert_allclose(draws.mean(0), [0.0, 2.25], atol=0.05)
    assert (draws >= box[0]).all() and (draws <= box[1]).all()
    shares = RandomPolicy(box, True).act({"policy": torch.zeros(4000, 3)}, None)[0].mean(0)
    np.testing.assert_allclose(shares, [0.5, 0.5], atol=0.05)


def test_the_box_of_the_noise() -> None:
    action = ActionSpec(["a", "b"], [0.5, -1.0], [0.1, 0.0], 3.0, [[-0.9, 1.1], [-2.0, 1.0]])
    assert calibration._bounds(action, "clip").tolist() == [[-3.0, -3.0], [3.0, 3.0]]
    np.testing.assert_allclose(calibration._bounds(action, "limits"), [[-2.0, -1.0], [2.0, 2.0]])
    bare = ActionSpec(["a"], [1.0], [0.0])
    for box in ("clip", "limits"):
        with raises_naming(ConfigError, f"stage.noise.box={box}", "box=demonstrator"):
            calibration._bounds(bare, box)


@pytest.mark.parametrize(
    ("cfg", "config", "names"),
    [
        (CollectHistoriesCfg(), {}, ["episodes=None", "stage.steps=None"]),
        (CollectHistoriesCfg(episodes=3, steps=3), {}, ["episodes=3", "stage.steps=3"]),
        (CollectHistoriesCfg(episodes=0), {}, ["episodes=0", "1"]),
        (CollectHistoriesCfg(mode="nose", episodes=3), {}, ["mode=nose", "noise"]),
        (CollectHistoriesCfg(episodes=3, noise=NoiseCfg(power=0.0)), {}, ["noise.power=0"]),
        (CollectHistoriesCfg(episodes=3, noise=NoiseCfg(noise_free=1.0)), {}, ["noise.noise_free=1"]),
        (CollectHistoriesCfg(episodes=3, noise=NoiseCfg(box="clipp")), {}, ["noise.box=clipp", "clip"]),
        (CollectHistoriesCfg(mode="checkpoints", episodes=3), {}, ["mode=checkpoints", "runs=[<run reference>,…]"]),
        (
            CollectHistoriesCfg(mode="checkpoints", episodes=3),
            {"runs": ["a"], "policy": "b"},
            ["mode=checkpoints", "runs", "policy"],
        ),
        (
            CollectHistoriesCfg(episodes=3),
            {"runs": ["a"], "policy": "b"},
            ["mode=noise", "policy", "runs", "stage.mode=checkpoints"],
        ),
        (
            CollectHistoriesCfg(episodes=3),
            {"env": {"_target_": "regimen.envs.manager_env.ManagerEnv"}},
            ["mode=noise", "policy=<run reference>"],
        ),
        (
            CollectHistoriesCfg(episodes=3, domain_randomization=MassRangeCfg(True)),
            {},
            ["domain_randomization.enabled=true", "robot"],
        ),
        (CollectHistoriesCfg(episodes=3, reward_scale=0.0), {}, ["reward_scale=0"]),
    ],
)
def test_wrong_settings_are_found_before_anything_starts(
    cfg: CollectHistoriesCfg, config: dict[str, Any], names: list[str]
) -> None:
    assert EPISODES.problems({"env": {}}) == []
    lines = cfg.problems({"env": {}} | config)
    assert any(not missing_names(line, *names) for line in lines), lines


def test_a_full_disk_is_known_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regimen.system.errors import PreflightError

    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("regimen.stages.recording.recorders.shutil.disk_usage", lambda path: usage)
    with raises_naming(PreflightError, "env.num_envs=6", "stage.steps", "stage.episodes"):
        collect(tmp_path, EPISODES)
