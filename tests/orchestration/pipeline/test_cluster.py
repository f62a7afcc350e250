"""What is refused before a pipeline is given to a scheduler; the rest is tried on a real one in tests/slurm."""

from __future__ import annotations

from typing import Any

from helpers.messages import assert_names
from regimen.orchestration.pipeline import execution
from regimen.orchestration.pipeline.reuse import ExistingRun
from regimen.runs.index.summary import RunSummary
from regimen.runs.record_parts import QueueEntry
from regimen.runs.status import Status

TWO = "  - {name: a, stage: make}\n  - {name: b, stage: make, inputs: {policy: a}}\n"


def test_steps_that_wait_for_others_need_a_scheduler_that_can_hold_them(pipes: Any) -> None:
    pipes.write(TWO)
    jobs = pipes.jobs("hardware.scheduler=submitit_local")
    (line,) = execution.problems(jobs, {job.name: ExistingRun("to do") for job in jobs})
    assert_names(line, "hardware.scheduler=submitit_local", "hardware=cpu", "hardware=slurm")
    pipes.write("  - {name: a, stage: make}\n")
    alone = pipes.jobs("hardware.scheduler=submitit_local")
    assert execution.problems(alone, {"a": ExistingRun("to do")}) == []


def test_slurm_cannot_hold_a_step_for_a_run_that_it_does_not_know(pipes: Any) -> None:
    pipes.write(TWO)
    jobs = pipes.jobs("hardware.scheduler=slurm")
    here = RunSummary("by_hand", status=Status.RUNNING)
    (line,) = execution.problems(jobs, {"a": ExistingRun("running", here), "b": ExistingRun("to do")})
    assert_names(line, "p.yaml:5", "`a`", "by_hand")
    there = RunSummary("job", status=Status.RUNNING, queue=QueueEntry("slurm", job="5"))
    assert execution.problems(jobs, {"a": ExistingRun("running", there), "b": ExistingRun("to do")}) == []


def test_only_runs_that_a_scheduler_has_are_asked_about(monkeypatch: Any) -> None:
    rows = [RunSummary("a", status=Status.RUNNING), RunSummary("b", status=Status.FINISHED, queue=QueueEntry("slurm"))]
    assert execution.reconcile(rows) is False
