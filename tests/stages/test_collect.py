"""The collect stage, from a checkpoint to a dataset with its card, on an environment without a simulator."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.point_env import PointEnv, PointEnvCfg, StepCounter
from helpers.recorded_runs import recorded
from regimen.config.schema import Config
from regimen.config.task_schema import EvaluationCfg, EventTermCfg, GateCfg
from regimen.data.episodes.reader import EpisodeFile
from regimen.envs.vec_env import Obs
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.collect import Collect
from regimen.stages.recording.config import CollectCfg
from regimen.system.errors import ConfigError, StopRequested
from stages.test_evaluate import save_policy

pytestmark = pytest.mark.usefixtures("blank_figures")

GATE = GateCfg(at_least={"survival": 0.95}, at_most={"speed_error": 0.2})


class TracedEnv(PointEnv):
    """Remembers what it handed out, and labels the side on which each step ended."""

    log: list[dict[str, np.ndarray]]

    def reset(self, seed: int | None = None) -> Obs:
        self.log, obs = [], super().reset(seed)
        self.last = obs
        return obs

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        row = {"obs/policy": self.last["policy"], "action": action, "reward": reward, "terminated": terminated}
        row |= {"truncated": truncated, "labels/side": info["labels"]["side"]}
        self.log.append({name: value.numpy().copy() for name, value in row.items()})
        self.last = obs
        return obs, reward, terminated, truncated, info


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[TracedEnv]:
    """The envs that were opened for collecting, the last one last."""
    opened: list[TracedEnv] = []

    def open_traced(config: Config) -> TracedEnv:
        opened.append(TracedEnv(config.env.num_envs, 25))
        return opened[-1]

    monkeypatch.setattr("regimen.envs.open_env", open_traced)
    return opened


def task(num_envs: int = 8, gate: GateCfg | None = None, **fields: Any) -> PointEnvCfg:
    grid = [[0.0, 0.0], [0.8, 0.0]]
    evaluation = EvaluationCfg("goal", grid, ["wind"], "speed_error", gate=gate or GateCfg())
    return PointEnvCfg(num_envs=num_envs, evaluation=evaluation, **fields)


def new_run(folder: Path, cfg: CollectCfg) -> Run:
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(cfg)}, ["launch.py", "stage=collect"], []))
    run.logs.mkdir(exist_ok=True)
    return run


def collect(folder: Path, cfg: CollectCfg, env: Any, policy: Path | None = None, **fields: Any) -> Run:
    run = new_run(folder, cfg)
    Collect(cfg)(run, Config(env=env, stage=cfg, policy=str(policy or save_policy(folder)), **fields))
    return run


def content(run: Run) -> dict[str, np.ndarray]:
    with EpisodeFile(run.dir / "data" / "episodes.h5") as file:
        return file.read(list(file.columns))


def test_a_row_is_an_observation_the_action_and_what_came_of_it(tmp_path: Path, traced: list[TracedEnv]) -> None:
    run = collect(tmp_path, CollectCfg(steps=80), task(6))
    rows = content(run)
    assert rows["reward"].shape == (80, 6)
    for name in ("obs/policy", "action", "reward", "terminated", "truncated", "labels/side"):
        np.testing.assert_array_equal(rows[name], np.stack([row[name] for row in traced[-1].log]), name)


def test_episode_ids_change_after_an_end_and_never_come_back(tmp_path: Path) -> None:
    rows = content(collect(tmp_path, CollectCfg(steps=80), task()))
    done = rows["terminated"] | rows["truncated"]
    changed = rows["episode"][1:] != rows["episode"][:-1]
    np.testing.assert_array_equal(changed, done[:-1])
    assert done.sum() > 20
    starts = np.concatenate([rows["episode"][0], rows["episode"][1:][changed]])
    assert len(np.unique(starts)) == len(starts)


def test_resets_are_not_synchronised(tmp_path: Path) -> None:
    run = collect(tmp_path, CollectCfg(steps=200), task(64))
    card = json.loads((run.dir / "data" / "card.json").read_text())
    assert card["resets"]["synchronised_share"] == 0.0 and card["resets"]["count"] > 300


def test_one_env_works(tmp_path: Path) -> None:
    run = collect(tmp_path, CollectCfg(steps=60), task(1))
    assert content(run)["episode"].shape == (60, 1)


def test_the_dataset_says_where_it_comes_from(tmp_path: Path) -> None:
    policy = save_policy(tmp_path)
    run = collect(tmp_path, CollectCfg(steps=40, action_noise=0.1), task(), policy, seed=3)
    with EpisodeFile(run.dir / "data" / "episodes.h5") as file:
        about = file.attributes
        assert file.io == PointEnv(1).io
    assert (about.run, about.seed, about.command) == (run.id, 3, "launch.py stage=collect")
    assert about.action_noise == 0.1 and about.staggered is True and len(about.policy_sha256) == 64
    assert set(about.healthy) == {"obs/policy", "action"}
    kinds = {row.path: row.kind for row in run.artifacts()}
    assert kinds["data/episodes.h5"] == "dataset" and kinds["data/card.json"] == "table"
    assert kinds["figures/card_lengths.png"] == "figure"
    assert not run.checkpoints.exists(), "nobody takes the state of a collection for a policy"


def test_action_noise_is_recorded_in_the_action(tmp_path: Path, traced: list[TracedEnv]) -> None:
    plain = content(collect(tmp_path, CollectCfg(steps=2), task(6)))
    noisy = content(collect(tmp_path, CollectCfg(steps=2, action_noise=0.1), task(6)))
    np.testing.assert_array_equal(plain["obs/policy"][0], noisy["obs/policy"][0])
    difference = np.abs(noisy["action"][0] - plain["action"][0])
    assert (difference > 0).all() and difference.mean() < 0.2
    np.testing.assert_array_equal(noisy["action"][1], traced[-1].log[1]["action"])


def test_the_recorded_action_is_the_applied_one_where_noise_exceeds_the_bound(tmp_path: Path) -> None:
    env = task(6, observation_noise=False, events={"wind": None})
    rows = content(collect(tmp_path, CollectCfg(steps=20, action_noise=2.0), env))
    going_on = ~(rows["terminated"] | rows["truncated"])[:-1]
    moved = (rows["obs/policy"][1:] - rows["obs/policy"][:-1])[..., :2]
    np.testing.assert_allclose(moved[going_on], 0.1 * rows["action"][:-1][going_on], atol=1e-6)


def test_a_policy_with_a_memory_forgets_the_envs_that_end(tmp_path: Path) -> None:
    StepCounter.seen.clear()
    policy = save_policy(tmp_path, agent={"_target_": "helpers.point_env.StepCounter"})
    rows = content(collect(tmp_path, CollectCfg(steps=50), task(4), policy))
    for env in range(4):
        starts = np.flatnonzero(np.append(True, np.diff(rows["episode"][:, env]) != 0))
        age = np.arange(50) - starts[np.searchsorted(starts, np.arange(50), "right") - 1]
        assert [seen[env] for seen in StepCounter.seen] == age.tolist()


class Stopper:
    """Ends a run after some steps: by a signal, or as if the process had died."""

    def __init__(self, run: Run, at: int, dies: bool) -> None:
        self.run, self.at, self.dies, self.calls = run, at, dies, 0

    def __call__(self, step: int, save: Any) -> None:
        if self.calls == self.at:
            if self.dies:
                raise KeyboardInterrupt
            save()
            raise StopRequested(15, step)
        self.calls += 1


@pytest.mark.slow
@pytest.mark.parametrize(("at", "dies"), [(100, False), (1, False), (190, True), (50, True)])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, at: int, dies: bool) -> None:
    cfg = CollectCfg(steps=200, checkpoint_interval=64, action_noise=0.05)
    policy = save_policy(tmp_path, agent={"_target_": "helpers.point_env.StepCounter"})
    config = Config(env=task(40), stage=cfg, policy=str(policy))
    whole = new_run(tmp_path, cfg)
    Collect(cfg)(whole, config)
    run = new_run(tmp_path, cfg)
    run.check_stop = Stopper(run, at, dies)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt if dies else StopRequested):
        Collect(cfg)(run, config)
    torch.rand(7)
    Collect(cfg)(again := Run.open(run.dir), config)
    a, b = content(whole), content(again)
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)
    cards = [json.loads((r.dir / "data" / "card.json").read_text()) for r in (whole, again)]
    for card in cards:
        card["files"][0].pop("run")
    assert cards[0] == cards[1]


def test_a_policy_that_does_not_do_the_task_is_refused(tmp_path: Path) -> None:
    with raises_naming(ConfigError, "speed_error", "0.56", "0.2", "policy.pt", 'stage.accept="<reason>"'):
        collect(tmp_path, CollectCfg(steps=10, gate_envs=8), task(gate=GATE), save_policy(tmp_path, gain=0.3))
    assert not list(tmp_path.glob("outputs/*/data/episodes.h5"))


def test_a_refused_policy_is_taken_for_a_reason_that_is_recorded(tmp_path: Path) -> None:
    cfg = CollectCfg(steps=10, gate_envs=8, accept="slow ones wanted")
    run = collect(tmp_path, cfg, task(gate=GATE), save_policy(tmp_path, gain=0.3))
    with EpisodeFile(run.dir / "data" / "episodes.h5") as file:
        gate = file.attributes.gate
    assert gate is not None and gate.accept == "slow ones wanted" and len(gate.short) == 1
    assert json.loads((run.dir / "result.json").read_text())["gate"] == gate.to_dict()
    assert "slow ones wanted" in (run.dir / "data" / "card.md").read_text()
    assert any("slow ones wanted" in line for line in recorded(run)["warnings"])


def test_a_policy_is_tried_without_faults(tmp_path: Path) -> None:
    """The wind blows every point off the field; named as the fault of the task, it does not blow in the trial."""
    gate = GateCfg(at_least={"survival": 0.4})
    evaluation = EvaluationCfg("goal", [[0.0, 0.0]], [], "speed_error", ["wind"], gate)
    env = PointEnvCfg(num_envs=4, evaluation=evaluation, events={"wind": EventTermCfg("wind", mode="interval")})
    run = collect(tmp_path, CollectCfg(steps=30, gate_envs=4), env)
    assert json.loads((run.dir / "result.json").read_text())["gate"]["measured"]["survival"] == 1.0
    assert content(run)["terminated"].any(), "in the dataset it blows"
    evaluation.faults = []
    with raises_naming(ConfigError, "survival 0", "0.4"):
        collect(tmp_path, CollectCfg(steps=30, gate_envs=4), env)


def test_a_figure_that_is_not_measured_is_not_reached(tmp_path: Path) -> None:
    gate = GateCfg(at_least={"grace": 1.0})
    with raises_naming(ConfigError, "grace", "survival", "speed_error", "1"):
        collect(tmp_path, CollectCfg(steps=10, gate_envs=2), task(gate=gate))


def test_the_trial_changes_nothing_in_the_data(tmp_path: Path) -> None:
    cfg = CollectCfg(steps=40, gate_envs=4, action_noise=0.1)
    loose = GateCfg(at_least={"survival": 0.0})
    a, b = (content(collect(tmp_path, cfg, task(gate=gate))) for gate in (None, loose))
    np.testing.assert_array_equal(a["obs/policy"], b["obs/policy"])


def test_wrong_figures_are_found_before_anything_starts() -> None:
    env = {"events": {"gust": {}}, "evaluation": {"faults": ["gsut"]}}
    assert CollectCfg().problems({"env": {}}) == []
    lines = CollectCfg(steps=0, action_noise=-1.0, accept=" ").problems({"env": env})
    assert [line.partition("=")[0] for line in lines[:3]] == ["steps", "action_noise", "accept"]
    assert_names(lines[3], "env.evaluation.faults", "gsut", "env.events", "gust")
    assert CollectCfg().memory_bytes(256, 161, 19) > CollectCfg().memory_bytes(64, 161, 19)


def test_a_full_disk_is_known_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regimen.system.errors import PreflightError

    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("regimen.stages.recording.recorders.shutil.disk_usage", lambda path: usage)
    with raises_naming(PreflightError, "stage.steps=100", "env.num_envs=8"):
        collect(tmp_path, CollectCfg(steps=100), task())
