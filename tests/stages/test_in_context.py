"""The in_context stage: episodes in a row with one context, told rewards, and rows to compare with."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.messages import assert_names, missing_names, raises_naming
from helpers.point_env import PointEnv, PointEnvCfg
from helpers.recorded_runs import recorded
from regimen.config.schema import Config
from regimen.envs.hidden_goal import DarkRoom, DarkRoomCfg
from regimen.envs.vec_env import IOSpec, Obs
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.in_context import InContext
from regimen.stages.in_context_evaluation.config import InContextCfg
from regimen.stages.in_context_evaluation.results import EpisodeSeries, EpisodeStats, ReturnScale
from regimen.system.errors import ConfigError, StopRequested
from stages.pictures import is_drawn

pytestmark = pytest.mark.usefixtures("blank_figures")

PATH = [1] * 4 + [4] * 4 + ([2] * 8 + [3] + [1] * 8 + [3]) * 5
"""Moves from the centre to a corner, then along all columns."""


class Searcher:
    """Walks through the room until it is paid once, and from then on stays where that was: it learns in context."""

    calls: list[str]

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Searcher:
        return cls()

    def __init__(self) -> None:
        self.calls = []

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        place = obs["policy"]
        if state is None:
            nobody = torch.full_like(place, torch.nan)
            state = {"step": torch.zeros(len(place), dtype=torch.long), "goal": nobody, "seen": nobody}
        down, right = (state["goal"] - place).unbind(1)
        found = ~down.isnan()
        home = torch.where(down.abs() > 0.1, torch.where(down > 0, 2, 1), torch.where(right > 0, 4, 3))
        home = torch.where((down.abs() < 0.1) & (right.abs() < 0.1), 0, home)
        walk = torch.tensor(PATH)[state["step"] % len(PATH)]
        choice = torch.where(found, home, walk)
        moves = torch.tensor([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])[choice] / 4
        return torch.eye(5)[choice], state | {"seen": (place + moves).clamp(-1, 1), "step": state["step"] + 1}

    def observe(self, state: Any, reward: torch.Tensor) -> Any:
        return state | {"goal": torch.where((reward > 0)[:, None], state["seen"], state["goal"])}

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        self.calls.append("reset")
        return state | {"step": state["step"].index_fill(0, env_ids, 0)}


class Stays(Searcher):
    """Remembers nothing."""

    observe = None

    def __getattribute__(self, name: str) -> Any:
        if name == "observe":
            raise AttributeError(name)
        return super().__getattribute__(name)


def save_policy(folder: Path, kind: str = "Searcher") -> Path:
    room = DarkRoom(DarkRoomCfg(num_envs=1), 0)
    return save(folder, kind, room.io)


def save(folder: Path, kind: str, io: IOSpec) -> Path:
    agent = {"_target_": f"stages.test_in_context.{kind}"}
    bundle = {"format": checkpoint.FORMAT, "agent": agent, "io": io.to_dict(), "policy": {}, "run": "a-run", "step": 3}
    checkpoint.save(folder / f"{kind}.pt", bundle)
    return folder / f"{kind}.pt"


def start(folder: Path, cfg: InContextCfg) -> Run:
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(cfg)}, ["launch.py", "stage=in_context"], []))
    run.logs.mkdir(exist_ok=True)
    return run


def config_of(folder: Path, cfg: InContextCfg, kind: str = "Searcher", **fields: Any) -> Config:
    env = DarkRoomCfg(episode_length_s=10.0, goals="held_out")
    return Config(env=env, stage=cfg, policy=str(save_policy(folder, kind)), choices={"task": "dark_room"}, **fields)


@pytest.fixture
def small() -> InContextCfg:
    return InContextCfg(episodes=5, envs=16, bootstrap=200)


def result_of(run: Run) -> dict[str, Any]:
    return json.loads((run.dir / "result.json").read_text())


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_figures")
def test_who_remembers_improves_and_who_is_told_no_rewards_does_not(tmp_path: Path, small: InContextCfg) -> None:
    run = start(tmp_path, small)
    InContext(small)(run, config_of(tmp_path, small))
    result = result_of(run)
    masked, demonstrator, random = (result["baselines"][name] for name in ("masked", "demonstrator", "random"))
    assert result["improvement"]["low"] > 0 and result["episodes_to_90"] == 2
    assert masked["improvement"] == {"value": 0.0, "low": 0.0, "high": 0.0} and masked["episodes_to_90"] is None
    assert result["normalized"][-1] == pytest.approx(1.0, abs=0.02)
    assert result["normalized"][0] < 0.7
    assert max(random["mean"][0], masked["mean"][0]) < 0.2 * demonstrator["mean"][0]
    assert demonstrator["normalized"] == pytest.approx([1.0] * 5)
    assert np.shape(result["episode_returns"]) == np.shape(result["episode_lengths"]) == (16, 5)
    assert result["fall_rate"] == 0.0 and result["steps_per_s"] > 0
    assert {"model_path", "task", "num_episodes", "domain_randomization", "use_cache", "fp16", "seed"} <= result.keys()
    assert {"iqm", "mean", "std", "interval", "git", "improvement_normalized"} <= result.keys()
    assert is_drawn(run.dir / "figures" / "in_context.png")
    assert not run.checkpoints.exists()


@pytest.mark.slow
def test_masked_rewards_of_the_policy_itself(tmp_path: Path, small: InContextCfg) -> None:
    small.mask_rewards, small.baselines = True, ["masked", "random"]
    run = start(tmp_path, small)
    InContext(small)(run, config_of(tmp_path, small))
    result = result_of(run)
    assert result["improvement"]["value"] == 0.0
    assert list(result["baselines"]) == ["random"]
    assert result["normalized"] is None
    assert_names(recorded(run)["warnings"][0], "expert")
    assert missing_names(recorded(run)["warnings"][0], "random"), "that score is known"


@pytest.mark.slow
def test_a_given_demonstrator_takes_the_place_of_the_task_s_own(tmp_path: Path, small: InContextCfg) -> None:
    run, expert = start(tmp_path, small), str(save_policy(tmp_path, "Stays"))
    InContext(small)(run, config_of(tmp_path, small, experts=[expert]))
    baselines = result_of(run)["baselines"]
    assert list(baselines) == ["masked", "demonstrator", "random"]
    assert baselines["demonstrator"]["mean"] == baselines["masked"]["mean"]


def test_a_policy_that_is_told_no_rewards_is_refused(tmp_path: Path, small: InContextCfg) -> None:
    with raises_naming(ConfigError, "policy", "Stays", "agent=vintix", "experts=[<run>]"):
        InContext(small)(start(tmp_path, small), config_of(tmp_path, small, "Stays"))


@pytest.mark.slow
def test_a_killed_run_keeps_the_policies_that_are_done(tmp_path: Path, small: InContextCfg, monkeypatch) -> None:
    whole = start(tmp_path / "whole", small)
    InContext(small)(whole, config_of(tmp_path, small))
    run, opened = start(tmp_path / "cut", small), []
    load = Searcher.load_policy

    def counted(*arguments: Any) -> Searcher:
        opened.append(run.stop_signal)
        run.stop_signal = 15 if len(opened) == 3 else None
        return load(*arguments)

    monkeypatch.setattr("stages.test_in_context.Searcher.load_policy", counted)
    with pytest.raises(StopRequested):
        InContext(small)(run, config_of(tmp_path, small))
    assert len(opened) == 3, "checked, model done, masked begun"
    assert len(checkpoint.load(run.checkpoints / "last.pt")["lives"]) == 1
    InContext(small)(run, config_of(tmp_path, small))
    assert len(opened) == 5, "checked, masked"
    again, once = result_of(run), result_of(whole)
    assert again["episode_returns"] == once["episode_returns"]
    assert again["baselines"]["masked"]["mean"] == once["baselines"]["masked"]["mean"]


def test_episodes_that_end_at_different_steps_are_counted_for_each_env() -> None:
    log, ends = EpisodeStats(2, 2, torch.device("cpu")), [(True, False), (False, False), (True, True), (True, False)]
    for row in ends:
        assert not log.finished
        ended = torch.tensor(row)
        log.add(torch.tensor([1.0, 10.0]), ended & torch.tensor([True, False]), ended & torch.tensor([False, True]))
    log.add(torch.tensor([1.0, 10.0]), torch.tensor([False, False]), torch.tensor([True, True]))
    assert log.finished
    assert log.returns.tolist() == [[1.0, 2.0], [30.0, 20.0]]
    assert log.steps.tolist() == [[1, 2], [3, 2]]
    assert log.fell.tolist() == [[True, True], [False, False]]


def test_an_episode_that_ends_in_success_is_no_fall() -> None:
    log, ended = EpisodeStats(3, 1, torch.device("cpu")), torch.tensor([True, True, False])
    log.add(torch.ones(3), ended, ~ended, success=torch.tensor([True, False, True]))
    assert log.finished and log.fell.tolist() == [[False], [True], [False]]


def test_figures_of_known_returns() -> None:
    returns = np.array([[0.0, 2.0, 4.0, 4.0, 4.0], [2.0, 2.0, 4.0, 4.0, 4.0]])
    row = EpisodeSeries("model", "in context", returns, np.ones((2, 5)), np.zeros((2, 5), bool), 1.0)
    told = row.result(ReturnScale(random=1.0, expert=5.0), 100, 0).to_dict()
    assert told["mean"] == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert told["normalized"] == [0.0, 0.25, 0.75, 0.75, 0.75]
    assert told["improvement"]["value"] == 3.0 and told["improvement_normalized"]["value"] == 0.75
    assert told["std"][0] == pytest.approx(2**0.5) and told["episodes_to_90"] == 3
    assert ReturnScale(None, 5.0).normalized(returns) is None


def test_falls_are_told_and_an_env_that_is_no_toy_needs_no_optimal_action(tmp_path: Path, monkeypatch) -> None:
    cfg = InContextCfg(episodes=2, envs=4, bootstrap=50, baselines=["random"])
    monkeypatch.setattr("regimen.envs.open_env", lambda config: PointEnv(config.env.num_envs, 25))
    policy = save(tmp_path, "Runner", PointEnv().io)
    run = start(tmp_path, cfg)
    InContext(cfg)(run, Config(env=PointEnvCfg(), stage=cfg, policy=str(policy)))
    assert result_of(run)["fall_rate"] == 1.0
    assert np.max(result_of(run)["episode_lengths"]) < 25


class Runner(Searcher):
    """Runs to the right until it falls."""

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        return torch.ones(len(obs["policy"]), 2), state

    def observe(self, state: Any, reward: torch.Tensor) -> Any:
        return state

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        return state


def test_what_is_wrong_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.agents.vintix.config.instructions", frozenset)
    config: dict[str, Any] = {"policy": None, "env": {}, "hardware": {"device": "cpu", "scheduler": None}}
    cfg = InContextCfg(episodes=1, envs=0, baselines=["luck"], use_fp16=True)
    cfg.domain_randomization.enabled = True
    lines = cfg.problems(config)
    for names in (
        ("stage=in_context", "policy=<run of agent=vintix>"),
        ("episodes=1", "2"),
        ("envs=0", "1"),
        ("luck", "masked", "demonstrator", "random"),
        ("use_fp16=true", "hardware.device=cuda"),
        ("domain_randomization.enabled=true", "robot"),
    ):
        assert any(not missing_names(line, *names) for line in lines), names
    assert InContextCfg().problems(config | {"policy": "a"}) == []
