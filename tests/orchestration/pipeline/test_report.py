"""What is printed of a pipeline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from helpers.messages import assert_names
from helpers.user_folder import write
from regimen.orchestration.pipeline import report
from regimen.orchestration.pipeline.record import PipelineRecord
from regimen.orchestration.pipeline.reuse import ExistingRun
from regimen.runs.index.summary import RunSummary
from regimen.runs.record_parts import PipelineStep
from regimen.runs.status import Status

STEPS = (
    "  - {name: walk, stage: make, foreach: {seed: [0, 1, 2, 3]}}\n"
    "  - {name: judge, stage: look, foreach: walk, inputs: {policy: walk@best}}\n"
)


def known(pipes: Any) -> dict[str, ExistingRun]:
    write(pipes.folder / "outputs/r2/progress.json", '{"iteration": 1, "iterations": 4}')
    rows = [
        RunSummary(f"r{i}", status=Status(status), path=f"outputs/r{i}") for i, status in enumerate(("finished",) * 2)
    ]
    rows[0].pipeline = PipelineStep(name="p", step="walk.seed_0")
    stopped = RunSummary("r2", status=Status.KILLED, reason="stopped by SIGINT", path="outputs/r2")
    return {
        "walk.seed_0": ExistingRun("done", rows[0]),
        "walk.seed_1": ExistingRun("done", rows[1]),
        "walk.seed_2": ExistingRun("resumable", stopped),
        "walk.seed_3": ExistingRun("running", RunSummary("r3", status=Status.QUEUED, path="outputs/r3")),
        "judge.seed_0": ExistingRun("to do", note="r9 is not used: checkpoints/best.pt is gone"),
        **{f"judge.seed_{i}": ExistingRun("to do") for i in (1, 2, 3)},
    }


def test_the_plan_says_what_is_there_and_how_long_the_rest_takes(pipes: Any) -> None:
    pipes.write(STEPS)
    past = [
        RunSummary(
            "old", task="idle", agent="idle", stage="make", status=Status.FINISHED, wall_s=40.0, path="outputs/old"
        )
    ]
    past += [
        RunSummary(
            "old2", task="idle", agent="idle", stage="look", status=Status.FINISHED, wall_s=5.0, path="outputs/o"
        )
    ]
    jobs = pipes.jobs("hardware.max_jobs=2")
    text = report.describe(pipes.read(), jobs, known(pipes), past)
    head, _, titles, *rows, _, end = text.splitlines()
    assert_names(head, "p", "conf/pipeline/p.yaml", "A test")
    assert titles.split() == ["step", "stage", "state", "time"]
    expected = [
        ("walk.seed_0", "make", "done", "r0"),
        ("walk.seed_1", "make", "reusable", "r1"),
        ("walk.seed_2", "make", "resumable", "30.0 s", "r2", "killed", "SIGINT"),
        ("walk.seed_3", "make", "queued", "40.0 s", "r3"),
        ("judge.seed_0", "look", "to do", "5.0 s", "r9", "checkpoints/best.pt", "walk.seed_0"),
        *((f"judge.seed_{i}", "look", "to do", "5.0 s", f"walk.seed_{i}") for i in (1, 2, 3)),
    ]
    for row, (step, stage, state, *names) in zip(rows, expected, strict=True):
        assert re.match(f"{step} +{stage} +{state} ", row)
        assert_names(row, *names)
        assert (" s " in row) == (state not in ("done", "reusable")), "what is done has no time"
    assert re.findall(r"[\d.]*\d", end) == ["2", "8", "45.0", "2"]


def test_times_that_nobody_knows_are_said_to_be_unknown(pipes: Any) -> None:
    pipes.write(STEPS)
    text = report.describe(pipes.read(), pipes.jobs(), known(pipes), [])
    assert "to do      unknown" in text
    assert re.findall(r"[\d.]*\d", text.splitlines()[-1]) == ["2", "8"], "no time is named"


@pytest.mark.parametrize("arguments", [["seed=3", "force=true", "name.x='a b'"]])
def test_the_command_that_continues_repeats_nothing(arguments: list[str]) -> None:
    command = report.command_to_continue("p", arguments, [Path("conf"), Path("mine/conf")])
    assert command == """python launch.py --config-dir mine/conf pipeline=p seed=3 'name.x='"'"'a b'"'"''"""


def test_the_end_says_how_each_step_ended_and_what_to_type(pipes: Any) -> None:
    pipes.write(STEPS)
    folder = pipes.folder / "multirun/m"
    folder.mkdir(parents=True)
    record = PipelineRecord(folder, "p", pipes.jobs())
    for name, status in zip(record.steps, ("finished", "reused", "killed", "finished", *["finished"] * 4), strict=True):
        step = record.steps[name]
        step.status, step.run, step.dir, step.wall_s = status, f"run-{name}", f"outputs/run-{name}", 65.0
        step.headline = {"score": 1.23456, "other": 3.0}
    record.steps["walk.seed_2"].exit_code, record.steps["walk.seed_2"].reason = 137, "SIGKILL, probably out of memory"
    record.steps["judge.seed_2"].status, record.steps["judge.seed_2"].run = "blocked by walk.seed_2", None
    assert report.report(record, "python launch.py pipeline=p") == 1
    out = pipes.capture.readouterr().out
    assert "walk.seed_0   run-walk.seed_0   finished                score 1.235  1 min 05 s\n" in out
    assert "walk.seed_2   run-walk.seed_2   killed (137)            score 1.235" in out
    assert_names(out, "6 of 8", "multirun/m/pipeline.json")
    (advice,) = [line for line in out.splitlines() if line.startswith("  walk.seed_2:")]
    assert_names(advice, "SIGKILL, probably out of memory", "outputs/run-walk.seed_2/logs/worker.log")
    assert out.endswith("\n  python launch.py pipeline=p\n")
    assert imread(folder / "pipeline.png").std() > 0, "something is drawn"


def test_what_a_scheduler_has_is_no_failure(pipes: Any) -> None:
    pipes.write(STEPS)
    (pipes.folder / "m").mkdir()
    record = PipelineRecord(pipes.folder / "m", "p", pipes.jobs())
    for step in record.steps.values():
        step.status = "queued"
    assert report.report(record, "python launch.py pipeline=p") == 0
    assert_names(pipes.capture.readouterr().out, "8", "regimen queue", "python launch.py pipeline=p")
