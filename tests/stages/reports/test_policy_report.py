"""The report that compares policies, from evaluations written directly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.fault_studies import figure, made
from helpers.messages import assert_names, raises_naming
from regimen.config.schema import Config
from regimen.config.structured import to_plain
from regimen.display.intervals import share
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.report import Report, ReportCfg
from regimen.stages.reports.policy_report import PolicyGroup
from regimen.stages.reports.sources import Source
from regimen.system.errors import ConfigError
from stages.reports.test_report import Outline

pytestmark = pytest.mark.usefixtures("blank_figures")

COMMANDS = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]


def judged(root: Path, agent: str, seed: int, value: float, **changes: Any) -> Path:
    """A training and the evaluation of its policy, all figures `value`; the latter's result.json."""
    config = {"env": {"num_envs": 4}, "choices": {"agent": agent}, "seed": seed, "agent": {"_target_": agent}}
    training = made(root, f"{agent}_{seed}", config, {}, name=f"my_{agent}", agent=agent, seed=seed, cpu_s=30.0)
    log = [{"step": step, "time_s": 2.0 * step, "Train/return": value - 1 / step} for step in (1, 2, 500_000)]
    (training.parent / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    row = {name: figure(value) for name in ("return", "survival", "speed_error")} | {"episodes": 8, "falls": seed}
    result = {
        "task": "reach", "overall": row, "commands": [{"command": c, **row} for c in COMMANDS],
        "envs_per_command": 8, "episode_length_s": 5.0, "disturbances": False, **changes,
    }  # fmt: skip
    config = {"env": {}, "choices": {"stage": "evaluate"}, "seed": 1000, "policy": str(training)}
    taken = {"policy": {"path": str(training), "run": training.parent.name}}
    return made(root, f"judge_{agent}_{seed}", config, result, stage="evaluate", inputs=taken)


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compose_config: Callable[[list[str]], Config]
) -> Callable[..., tuple[Run, dict[str, Any]]]:
    """Report on evaluations; return the report's run and numbers."""
    monkeypatch.chdir(tmp_path)

    def make_report(*paths: Path) -> tuple[Run, dict[str, Any]]:
        config = compose_config(["task=reach", "stage=report", f"runs=[{','.join(map(str, paths))}]"])
        parents = [path.parent.name for path in paths]
        run = Run(create_run_dir(tmp_path / "outputs", to_plain(config), [], [], repository=tmp_path, parents=parents))
        Report(ReportCfg())(run, config)
        return run, json.loads((run.dir / "report/report.json").read_text())

    return make_report


def test_seeds_of_an_agent_are_one_policy_with_an_interval_over_them(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    values = {("sac", 0): 3.0, ("sac", 1): 5.0, ("ppo", 0): 2.0}
    run, told = make(*(judged(root, agent, seed, value) for (agent, seed), value in values.items()))
    sac, ppo = told["policies"]
    assert (sac["policy"], sac["seeds"], ppo["policy"], ppo["seeds"]) == ("my_sac", [0, 1], "my_ppo", [0])
    assert sac["overall"]["return"] == {"value": 4.0, "low": 3.0, "high": 5.0}
    assert ppo["overall"]["return"] == figure(2.0), "of one seed: over its episodes"
    assert [made["cpu_s"] for made in sac["trainings"]] == [30.0, 30.0]
    result = json.loads((run.dir / "result.json").read_text())
    assert result["headline"] == {"return_my_sac": 4.0, "return_my_ppo": 2.0}

    page = Outline((run.dir / "report/report.html").read_text())
    assert page.texts["h1"] == ["reach: my_sac and my_ppo"]
    assert page.texts["h2"] == ["Policies", "Commands", "Seeds", "Trainings", "Lineage", "Runs"]
    assert "2 M, 2 M" in page.texts["td"] and "0, 1" in page.texts["td"] and "0 of 8" in page.texts["td"]
    assert [s[:22] for s in page.sources] == ["data:image/png;base64,"] * 3
    assert {"commands.png", "trainings.png"} <= {file.name for file in (run.dir / "report").iterdir()}


def test_policies_that_were_evaluated_otherwise_are_named_with_how(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    run, _ = make(judged(root, "sac", 0, 3.0), judged(root, "ppo", 0, 2.0, episode_length_s=9.0, disturbances=True))
    page = Outline((run.dir / "report/report.html").read_text())
    lines = {text.partition(":")[0]: text for text in page.texts["p"]}
    assert_names(lines["my_sac"], "2 commands", "8 episodes", "5 s", "without disturbances")
    assert_names(lines["my_ppo"], "2 commands", "8 episodes", "9 s", "with disturbances")
    assert "Each policy" not in lines


def test_the_wall_time_of_a_resumed_training_is_that_of_all_its_attempts(tmp_path: Path) -> None:
    path = judged(tmp_path, "sac", 0, 3.0)
    rows = [(1, 10.0), (2, 20.0), (3, 5.0), (4, 15.0)]  # an attempt counts from its own begin
    log = [{"step": step, "time_s": seconds, "Train/return": 1.0} for step, seconds in rows]
    (tmp_path / "sac_0/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    [curve] = PolicyGroup("sac", [Source.read(path)], "k").curves
    assert curve[:, 0].tolist() == [10.0, 20.0, 25.0, 35.0]
    assert curve[:, 1].tolist() == [4.0, 8.0, 12.0, 16.0], "four envs"


def test_a_long_curve_keeps_its_peaks(tmp_path: Path) -> None:
    path = judged(tmp_path, "sac", 0, 3.0)
    log = [{"step": i, "time_s": float(i), "Train/return": 9.0 if i == 7_777 else 1.0} for i in range(20_000)]
    (tmp_path / "sac_0/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    [curve] = PolicyGroup("sac", [Source.read(path)], "k").curves
    assert len(curve) <= 4_002
    assert [7_777.0, 4 * 7_777.0, 9.0] in curve.tolist() and curve[-1, 0] == 19_999


def test_a_task_without_commands_and_a_policy_from_elsewhere(make: Any, tmp_path: Path) -> None:
    path = judged(tmp_path / "outputs", "sac", 0, 3.0, commands=[])
    (tmp_path / "outputs/sac_0/metrics.jsonl").unlink()
    run, _ = make(path)
    headings = Outline((run.dir / "report/report.html").read_text()).texts["h2"]
    assert headings == ["Policies", "Lineage", "Runs"]


def insertion(root: Path, agent: str, seed: int, step: int | None, wins: int, stage: str = "train") -> Path:
    """An evaluation of 50 episodes of a checkpoint of a training in 2 envs, or of the expert; its result.json."""
    config: dict[str, Any] = {"env": {"num_envs": 2}, "choices": {"agent": agent, "stage": stage}, "seed": seed}
    folder = root / f"{agent}_{seed}"
    if step is not None and not folder.exists():
        made(root, folder.name, config, {}, name=f"study.{agent}.seed_{seed}", agent=agent, seed=seed, cpu_s=30.0)
    hits = np.arange(50) < wins
    row: dict[str, Any] = {name: share(hits).to_dict() for name in ("return", "survival", "success")}
    row |= {"dropped": share(~hits).to_dict(), "timed_out": share(hits & ~hits).to_dict()}
    row |= {"episodes": 50, "falls": 50 - wins, "ends": {"success": wins, "dropped": 50 - wins, "timed_out": 0}}
    row |= {"success_time_s": figure(2.0)} if wins else {}
    policy = "scripted" if step is None else str(folder / "checkpoints" / "last.pt")
    result = {
        "task": "insert", "overall": row, "commands": [{"command": [], **row}], "envs_per_command": 50,
        "episode_length_s": 10.0, "disturbances": False, "policy": {"path": policy, "run": folder.name, "step": step},
    }  # fmt: skip
    own = {"env": {}, "choices": {"stage": "evaluate"}, "seed": 1000, "policy": policy}
    taken = {} if step is None else {"policy": {"path": policy, "run": folder.name}}
    name = "study.expert" if step is None else None
    return made(root, f"of_{agent}_{seed}_{step}", own, result, stage="evaluate", inputs=taken, name=name)


def test_checkpoints_of_a_training_are_a_curve_and_no_seeds(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    wins = {(0, 1000): 5, (0, 2000): 45, (1, 1000): 0, (1, 2000): 50}
    paths = [insertion(root, "rlpd", seed, step, won) for (seed, step), won in wins.items()]
    run, told = make(*paths, insertion(root, "bc", 0, 3000, 20, "distill"), insertion(root, "none", 0, None, 50))
    by_name = {row["policy"]: row for row in told["policies"]}
    assert by_name.keys() == {"rlpd", "bc", "expert"}
    rlpd = by_name["rlpd"]
    assert rlpd["seeds"] == [0, 1] and rlpd["overall"]["success"] == {"value": 0.95, "low": 0.9, "high": 1.0}
    curve = {point["transitions"]: point["success"]["value"] for point in rlpd["checkpoints"]}
    assert curve == {2000: 0.05, 4000: 0.95}, "two envs"
    assert by_name["bc"]["checkpoints"] == by_name["expert"]["checkpoints"] == [], "updates are no transitions"
    assert by_name["bc"]["overall"]["dropped"] == share(np.arange(50) < 30).to_dict()
    assert json.loads((run.dir / "result.json").read_text())["headline"]["success_bc"] == 0.4
    page = Outline((run.dir / "report/report.html").read_text())
    assert page.texts["h2"] == ["Policies", "Checkpoints", "Seeds", "Lineage", "Runs"]
    assert {"checkpoints.png"} <= {file.name for file in (run.dir / "report").iterdir()}


def test_a_policy_without_a_success_has_no_time_of_one(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    _, told = make(insertion(root, "rlpd", 0, 1000, 0), insertion(root, "rlpd", 0, 2000, 10))
    [rlpd] = told["policies"]
    assert "success_time_s" in rlpd["overall"], "of the last checkpoint"
    other, told = make(insertion(root, "rlpd", 1, 1000, 0))
    assert "success_time_s" not in told["policies"][0]["overall"] and told["policies"][0]["overall"]["success"]
    assert not (other.dir / "report/checkpoints.png").exists()


def test_a_failure_that_one_seed_lacks_is_none_of_its_episodes(make: Any, tmp_path: Path) -> None:
    paths = [insertion(tmp_path / "outputs", "rlpd", seed, 1000, 10) for seed in (0, 1)]
    result = json.loads(paths[0].read_text())
    for row in (result["overall"], *result["commands"]):
        row["terminated"], row["ends"]["terminated"] = share(np.arange(50) < 20).to_dict(), 20
    paths[0].write_text(json.dumps(result))
    _, told = make(*paths)
    assert told["policies"][0]["overall"]["terminated"] == {"value": 0.2, "low": 0.0, "high": 0.4}


def test_seeds_with_other_steps_are_no_curve(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    run, _ = make(insertion(root, "rlpd", 0, 1000, 10), insertion(root, "rlpd", 1, 2000, 20))
    assert "Checkpoints" not in Outline((run.dir / "report/report.html").read_text()).texts["h2"]


@pytest.mark.slow
def test_a_task_with_motion_clips_has_the_distance_of_each_body(make: Any, tmp_path: Path) -> None:
    bodies = [{"hand": figure(2.0), "foot": figure(value)} for value in (4.0, 6.0)]
    paths = [
        judged(tmp_path / "outputs", agent, seed, 1.0, dtw_by_body_cm=bodies[seed])
        for agent in ("amp", "ppo")
        for seed in (0, 1)
    ]
    run, told = make(*paths)
    for policy in told["policies"]:
        assert policy["dtw_by_body_cm"]["foot"] == {"value": 5.0, "low": 4.0, "high": 6.0}
    page = Outline((run.dir / "report/report.html").read_text())
    assert "Motion" in page.texts["h2"] and "Seeds" in page.texts["h2"] and "foot" in page.texts["th"]
    assert (run.dir / "report/bodies.png").is_file()


def test_bodies_that_only_one_evaluation_has_are_left_out(make: Any, tmp_path: Path) -> None:
    first = judged(tmp_path / "outputs", "amp", 0, 1.0, dtw_by_body_cm={"hand": figure(2.0), "foot": figure(3.0)})
    second = judged(tmp_path / "outputs", "ppo", 0, 1.0, dtw_by_body_cm={"foot": figure(3.0)})
    _, told = make(first, second)
    assert [list(policy["dtw_by_body_cm"]) for policy in told["policies"]] == [["foot"], ["foot"]]


@pytest.mark.slow
def test_groups_are_named_by_the_steps_of_a_pipeline(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    paths = [judged(root, agent, seed, 1.0) for agent in ("amp", "ppo") for seed in (0, 1)]
    for agent, step in (("amp", "with_style"), ("ppo", "without")):
        for seed in (0, 1):
            file = root / f"{agent}_{seed}/run.json"
            record = json.loads(file.read_text())
            record["pipeline"] = {"id": "a", "name": "study", "step": f"{step}.seed_{seed}"}
            file.write_text(json.dumps(record))
    _, told = make(*paths)
    assert [policy["policy"] for policy in told["policies"]] == ["with style", "without"]


@pytest.mark.parametrize(
    ("form", "labels"),
    [
        ("study.train.experiment_{}.seed_{}", ["amp", "ppo"]),
        ("study.train_{}.seed_{}", ["train_amp", "train_ppo"]),
        ("walk.0.{}.seed_{}", ["walk.0.amp", "walk.0.ppo"]),
    ],
)
def test_groups_are_named_by_what_differs_in_one_step(make: Any, tmp_path: Path, form: str, labels: list[str]) -> None:
    root = tmp_path / "outputs"
    paths = [judged(root, agent, seed, 1.0) for agent in ("amp", "ppo") for seed in (0, 1)]
    for agent in ("amp", "ppo"):
        for seed in (0, 1):
            file = root / f"{agent}_{seed}/run.json"
            record = json.loads(file.read_text())
            record["name"] = form.format(agent, seed)
            file.write_text(json.dumps(record))
    _, told = make(*paths)
    assert [policy["policy"] for policy in told["policies"]] == labels


def test_what_was_judged_differently_is_not_compared(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    first = judged(root, "sac", 0, 3.0)
    with raises_naming(ConfigError, "task", "judge_sac_0: reach", "judge_ppo_0: walk"):
        make(first, judged(root, "ppo", 0, 3.0, task="walk"))
    with raises_naming(ConfigError, "commands", f"judge_sac_0: {COMMANDS}", "judge_ppo_1: []"):
        make(first, judged(root, "ppo", 1, 3.0, commands=[]))
