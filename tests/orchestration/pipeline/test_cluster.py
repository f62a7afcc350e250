"""What is refused before a pipeline is given to a scheduler; the rest is tried on a real one in tests/slurm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import change
from helpers.supervised_runs import make_run
from helpers.user_folder import write
from regimen.orchestration.new_run import create_run
from regimen.orchestration.pipeline import execution
from regimen.orchestration.pipeline.jobs import prepare
from regimen.orchestration.pipeline.reuse import ExistingRun
from regimen.orchestration.slurm.submit import submit
from regimen.runs.index.summary import RunSummary
from regimen.runs.record_parts import QueueEntry
from regimen.runs.status import Status
from regimen.system.errors import PreflightError

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


def test_a_step_is_not_continued_where_its_run_was_not_begun(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n")
    here = "hardware.threads=1"
    (job,) = pipes.jobs("hardware.scheduler=slurm", here)
    ready = prepare(job, [job], {})
    run = create_run(ready.composed, Path("outputs"), ready.report, status=Status.QUEUED)
    change(run.dir, status="killed", supervisor={"pid": 1, "host": "n1", "start": 1})
    write(run.checkpoints / "last.pt", "weights")
    for more in ([], ["dry_run=true"]):
        code, out = pipes.run(here, *more)
        assert code == 2, out
        assert_names(out, "p.yaml:4", "`a`", run.id, "hardware.scheduler=slurm", "hardware.scheduler=null")
        assert_names(out, f"resume={run.id}", "force=true")
    assert not (pipes.folder / "multirun").exists() and len(pipes.runs()) == 1
    change(run.dir, supervisor=None)  # it never started: nothing of it is lost
    code, out = pipes.run(here, "dry_run=true")
    assert code == 0
    assert_names(out, "to do", run.id, "hardware.scheduler=slurm")


def test_a_run_without_a_scheduler_is_not_submitted(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish", scheduler=None)
    with raises_naming(PreflightError, run.id, "hardware.scheduler=null", "resume="):
        submit([run])
    assert run.status == Status.FAILED


def test_only_runs_that_a_scheduler_has_are_asked_about(monkeypatch: Any) -> None:
    rows = [RunSummary("a", status=Status.RUNNING), RunSummary("b", status=Status.FINISHED, queue=QueueEntry("slurm"))]
    assert execution.reconcile(rows) is False
