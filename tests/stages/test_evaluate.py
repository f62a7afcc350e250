"""The evaluate stage, from a checkpoint to its files, on an environment without a simulator."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.rlpd.touch import TouchEnv, TouchEnvCfg
from helpers.messages import assert_names, missing_names, raises_naming
from helpers.point_env import PointEnv, PointEnvCfg, StepCounter
from regimen.agents.policy_file import load_bundle
from regimen.config.schema import Config
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.evaluate import Evaluate, assign_commands
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.system.errors import CheckpointError, ConfigError, IOMismatchError
from stages.pictures import frames, is_drawn

pytestmark = pytest.mark.usefixtures("blank_figures")


def save_policy(folder: Path, gain: float = 1.0, **changes: Any) -> Path:
    bundle = {
        "format": 1,
        "run": "trained",
        "agent": {"_target_": "helpers.point_env.ToGoal"},
        "io": PointEnv(1).io.to_dict(),
    }
    path = folder / "policy.pt"
    checkpoint.save(path, bundle | {"policy": {"gain": gain}, "step": 10, "samples": 80} | changes)
    return path


def evaluate(folder: Path, policy: Path | str | None, cfg: EvaluateCfg | None = None, **fields: Any) -> dict[str, Any]:
    cfg = cfg or EvaluateCfg(envs_per_command=16, bootstrap=100)
    config = Config(**{"env": PointEnvCfg(), "stage": cfg, "policy": str(policy) if policy else None, **fields})
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(cfg)}, ["launch.py"], []))
    Evaluate(cfg)(run, config)
    return {"dir": run.dir} | json.loads((run.dir / "result.json").read_text())


@pytest.mark.usefixtures("drawn_figures")
def test_a_policy_is_judged_per_command(tmp_path: Path) -> None:
    result = evaluate(tmp_path, save_policy(tmp_path))
    still, ahead = result["commands"]
    assert [still["command"], ahead["command"]] == [[0.0, 0.0], [0.8, 0.0]]
    assert still["episodes"] == ahead["episodes"] == 16
    assert ahead["forward_speed"]["value"] == pytest.approx(0.8, abs=0.02)
    assert ahead["speed_error"]["value"] < 0.02
    assert still["falls"] == 0 and still["survival"]["low"] < 1.0
    assert ahead["falls"] > 0, "it leaves the field before the episode ends"
    assert result["overall"]["episodes"] == 32
    assert result["headline"]["speed_error"] == result["overall"]["speed_error"]["value"]
    assert is_drawn(result["dir"] / "figures" / "evaluation.png")


@pytest.mark.usefixtures("drawn_figures")
def test_a_task_without_a_grid_of_commands_is_drawn_too(tmp_path: Path) -> None:
    env = PointEnvCfg()
    env.evaluation.grid, env.evaluation.command = [], None
    result = evaluate(tmp_path, save_policy(tmp_path), env=env)
    assert "forward_speed" in result["overall"]
    assert is_drawn(result["dir"] / "figures" / "evaluation.png")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures_and_another_seed_others(tmp_path: Path) -> None:
    policy = save_policy(tmp_path)
    results = [evaluate(tmp_path, policy, seed=seed) for seed in (0, 0, 1)]
    figures = [(r["overall"], r["commands"]) for r in results]
    assert figures[0] == figures[1]
    assert figures[0] != figures[2]


@pytest.mark.slow
def test_disturbances_stay_off_unless_asked_for(tmp_path: Path) -> None:
    policy = save_policy(tmp_path)
    calm = evaluate(tmp_path, policy)
    windy = evaluate(tmp_path, policy, EvaluateCfg(envs_per_command=16, bootstrap=50, disturbances=True))
    assert calm["commands"][0]["falls"] == 0
    assert windy["commands"][0]["falls"] == 16


def test_length_and_noise_are_the_stages(tmp_path: Path) -> None:
    cfg = EvaluateCfg(envs_per_command=4, bootstrap=50, episode_length_s=0.5, observation_noise=False)
    result = evaluate(tmp_path, save_policy(tmp_path), cfg)
    assert result["overall"]["episode_length_s"]["value"] == pytest.approx(0.5)
    assert result["env_steps"] == 40
    ahead = result["commands"][1]["forward_speed"]
    assert ahead["value"] == pytest.approx(0.8, abs=1e-6) and ahead["low"] == ahead["high"]


def test_the_table_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(tmp_path, save_policy(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert any("0.8, 0" in line and "0.80" in line for line in lines)
    assert any("of 16" in line and "0.80…0.80" in line for line in lines)
    assert any("of 32" in line for line in lines)


def test_each_command_gets_its_share_and_env_0_the_largest() -> None:
    env = PointEnv(6)
    index = assign_commands(PointEnvCfg().evaluation, env)
    assert index.tolist() == [1, 0, 1, 0, 1, 0]
    assert env.fixed_goal is not None and env.fixed_goal[:2, 0].tolist() == pytest.approx([0.8, 0.0])


def test_a_policy_of_another_robot_is_refused_by_name(tmp_path: Path) -> None:
    io = PointEnv(1).io
    io.action.joints = ["x", "z"]
    with raises_naming(IOMismatchError, "joint y", "joint z") as refused:
        evaluate(tmp_path, save_policy(tmp_path, io=io.to_dict()))
    [line] = [line for line in str(refused.value).splitlines() if not missing_names(line, "joint z")]
    assert_names(line, "policy")


def test_no_policy_says_what_to_type(tmp_path: Path) -> None:
    with raises_naming(ConfigError, "policy=latest"):
        evaluate(tmp_path, None)


def test_a_checkpoint_without_a_policy_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "other.pt", {"format": 1, "step": 3})
    with raises_naming(CheckpointError, tmp_path / "other.pt", "agent", "io", "policy", "stage=train"):
        load_bundle(str(tmp_path / "other.pt"))


def test_a_video_is_as_long_as_asked(tmp_path: Path) -> None:
    import av

    cfg = EvaluateCfg(envs_per_command=2, bootstrap=20, video_seconds=1.0)
    result = evaluate(tmp_path, save_policy(tmp_path), cfg, video=True)
    with av.open(str(result["dir"] / "video" / "eval.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, float(stream.average_rate)) == (64, 48, 10.0)
        assert sum(1 for _ in container.decode(stream)) == 10


def test_a_video_ends_with_the_first_episode_of_env_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ages = []

    def render(env: PointEnv) -> np.ndarray:
        ages.append(int(env.age[0]))
        return np.zeros((48, 64, 3), np.uint8)

    monkeypatch.setattr(PointEnv, "render", render)
    cfg = EvaluateCfg(envs_per_command=8, bootstrap=20)
    result = evaluate(tmp_path, save_policy(tmp_path), cfg, video=True)
    ahead = result["commands"][1]["episode_length_s"]["value"]
    assert ahead < 2.5, "env 0 is among those that leave the field"
    assert ages == list(range(len(ages))) and 10 < len(ages) < 25


def test_a_video_has_a_frame_if_the_episode_ends_in_its_first_step(tmp_path: Path) -> None:
    cfg = EvaluateCfg(envs_per_command=2, bootstrap=20, episode_length_s=0.1)
    result = evaluate(tmp_path, save_policy(tmp_path), cfg, video=True)
    assert frames(result["dir"] / "video" / "eval.mp4") == 1


def test_a_policy_with_a_memory_forgets_the_envs_that_end(tmp_path: Path) -> None:
    StepCounter.seen.clear()
    evaluate(tmp_path, save_policy(tmp_path, agent={"_target_": "helpers.point_env.StepCounter"}))
    assert len(StepCounter.seen) == 25
    for step, counts in enumerate(StepCounter.seen):
        still, ahead = counts[1::2], counts[::2]  # env 0 gets the largest command
        assert set(still) == {step}, "they never fall, and remember every step"
    assert sum(count < 24 for count in ahead) > 10, "those that left the field earlier began anew"


def test_a_failed_evaluation_leaves_no_half_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PointEnv, "render", lambda env: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(tmp_path, save_policy(tmp_path), video=True)
    assert not list(tmp_path.glob("outputs/*/video/*"))


class Still:
    """Acts by nothing, with the hand closed or opening."""

    groups = ("policy",)
    opening = 0.0

    @classmethod
    def load_policy(cls, bundle: Any, io: Any, device: Any) -> Still:
        cls.opening = bundle["policy"]["opening"]
        return cls()

    def act(self, obs: dict[str, torch.Tensor], state: None) -> tuple[torch.Tensor, None]:
        return torch.tensor([[0.0, 0.0, self.opening]]).expand(len(obs["policy"]), 3), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """No state."""


def evaluate_touch(folder: Path, policy: str) -> dict[str, Any]:
    cfg = EvaluateCfg(envs_per_command=16, bootstrap=20)
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(cfg)}, ["launch.py"], []))
    Evaluate(cfg)(run, Config(env=TouchEnvCfg(episode_length_s=4.0), stage=cfg, policy=policy))
    return json.loads((run.dir / "result.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(("opening", "kind"), [(0.0, "stalled"), (1.0, "terminated")])
def test_the_kinds_of_failure_are_told_apart(tmp_path: Path, opening: float, kind: str) -> None:
    changes = {"agent": {"_target_": "stages.test_evaluate.Still"}, "io": TouchEnv(1).io.to_dict()}
    policy = save_policy(tmp_path, **changes, policy={"opening": opening})
    overall = evaluate_touch(tmp_path, str(policy))["overall"]
    assert {name: count for name, count in overall["ends"].items() if count} == {kind: 16}
    assert overall[kind]["value"] == 1.0 and overall["success"]["value"] == 0.0


def test_the_expert_of_the_task_is_judged_as_a_policy_is(tmp_path: Path) -> None:
    result = evaluate_touch(tmp_path, "scripted")
    assert result["overall"]["ends"]["success"] == 16 and result["overall"]["success_time_s"]["value"] < 3.0
    assert (result["policy"]["path"], result["policy"]["step"]) == ("scripted", None)
    [line] = EvaluateCfg().problems({"env": {"_target_": "helpers.point_env.PointEnv"}, "policy": "scripted"})
    assert_names(line, "policy=scripted", "scripted_expert")
    own = {"_target_": "regimen.envs.assembly.AssemblyEnv"}
    assert not EvaluateCfg().problems({"env": own, "policy": "scripted"})
    [line] = EvaluateCfg(player="x").problems({"env": own, "policy": "scripted"})
    assert_names(line, "player=x", "policy=scripted")


def test_problems_are_found_before_anything_starts() -> None:
    task = {"commands": {"goal": {}}, "events": {"wind": None}, "evaluation": {"command": "goal", "disturbances": []}}
    assert EvaluateCfg().problems({"env": task}) == []
    assert_names(EvaluateCfg(envs_per_command=0).problems({"env": task})[0], "envs_per_command", 1)
    assert_names(EvaluateCfg(video_seconds=0.0).problems({"env": task})[0], "video_seconds", "0 s")
    task["evaluation"] = {"command": "gaol", "disturbances": ["wnd"]}
    command, event = EvaluateCfg().problems({"env": task})
    assert_names(command, "gaol", "env.commands", "goal")
    assert_names(event, "wnd", "env.events", "wind")


@pytest.mark.parametrize(
    ("evaluation", "names"),
    [
        ({"command": "goal", "grid": [[1.0], [1.0, 0.0]]}, ["env.evaluation.grid", "[1, 2]"]),
        ({"command": "goal", "grid": [[]]}, ["env.evaluation.grid", "empty"]),
        ({"command": None, "grid": [[1.0, 0.0]]}, ["env.evaluation.grid", "env.evaluation.command"]),
        ({"command": "off", "grid": [[1.0, 0.0]]}, ["env.evaluation.command", "env.commands.off", "null"]),
        ({"command": "gait", "grid": [[0.5]]}, ["env.evaluation.command", "gait", "GaitClock", "fix"]),
    ],
)
def test_a_grid_that_cannot_be_held_is_refused(evaluation: dict[str, Any], names: list[str]) -> None:
    commands = {"goal": {"func": "UniformPlanarTarget"}, "off": None, "gait": {"func": "GaitClock"}}
    task = {"commands": commands, "events": {}, "evaluation": evaluation}
    [problem] = EvaluateCfg().problems({"env": task})
    assert_names(problem, *names)
