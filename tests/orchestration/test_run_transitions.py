"""All transitions of a run's status, in any order, on a real run directory: the record stays what readers expect."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helpers.supervised_runs import make_run
from regimen.orchestration.slurm import job_states, requeue
from regimen.orchestration.slurm.executor import record_job, record_process
from regimen.orchestration.slurm.job_states import JobState
from regimen.orchestration.supervisor_pool import corrected_record
from regimen.runs import outcome
from regimen.runs.history.annotations import add_note
from regimen.runs.index.summary import pack, read, unpack
from regimen.runs.record import Outcome, RunRecord
from regimen.runs.record_parts import LOCAL, QueueEntry, RunError, Signature
from regimen.runs.status import Status
from regimen.system import files, host
from regimen.system.host import HostInfo, ProcessIdentity

DEAD = ProcessIdentity(os.uname().nodename, 2**22 + 1, 1)
LATER = {"energy_kwh": 1.5, "badge": {"colour": ["red"]}}
"""Fields that a later version might write."""

ENDS = (Status.FINISHED, Status.FAILED, Status.KILLED, Status.PREEMPTED, Status.DIVERGED)


class RunLife(RuleBasedStateMachine):
    """One run, which supervisors, schedulers and people change."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.run = make_run(self.folder, "finish", scheduler="slurm", submitit={})
        files.write_json(self.run.dir / "run.json", self.data() | LATER)
        self.attempts = self.notes = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.run.dir / "run.json").read_text())
        return data

    def is_finished(self) -> bool:
        return self.run.status == Status.FINISHED

    @rule(alive=st.booleans())
    def begin(self, alive: bool) -> None:
        """A supervisor starts or resumes the run; what has finished is not begun again."""
        supervisor = host.process(os.getpid()) if alive else DEAD
        before = self.data()

        def alter(record: RunRecord) -> None:
            if record.supervisor is None:
                record.start(supervisor, HostInfo(name="node7"))
            else:
                record.resume(supervisor, None, Signature("c", "d"))

        if self.is_finished():
            with pytest.raises(ValueError, match=self.run.id):
                self.run.change(alter)
            assert self.data() == before
            return
        record = self.run.change(alter)
        self.attempts += 1
        assert record.status == Status.RUNNING and record.supervisor == supervisor
        assert [row.previous_status for row in record.resumed][-1:] == ([before["status"]] if self.attempts > 1 else [])
        assert (record.host == HostInfo(name="node7")) or before["status"] != "queued" or self.attempts > 1

    @precondition(lambda self: not self.is_finished())
    @rule(status=st.sampled_from(ENDS), code=st.integers(0, 255))
    def end(self, status: Status, code: int) -> None:
        """An attempt ends, or does not begin."""
        if status == Status.FINISHED:
            files.write_json(self.run.dir / "result.json", {"headline": {"return": 1.0}})
        error = RunError("SIGKILL", "out of memory", ["last line"]) if status == Status.KILLED else None
        outcome.record_end(self.run, Outcome(status, code, "a reason", 9 if error else None, error))
        (self.run.dir / "result.json").unlink(missing_ok=True)
        assert (self.data()["status"], self.data()["exit_code"]) == (status, code)
        assert self.data()["headline"] == ({"return": 1.0} if status == Status.FINISHED else {})

    @precondition(lambda self: not self.is_finished())
    @rule(refusal=st.sampled_from(("", "no progress")), step=st.integers(0, 1000))
    def preempt(self, refusal: str, step: int) -> None:
        """A scheduler stops the attempt, and starts the job again or does not."""
        restarts = len((self.data()["queue"] or {}).get("restarts", []))
        self.run.change(lambda record: record.preempt(requeue.TIME_LIMIT, step, 75, refusal))
        queue = self.data()["queue"]
        assert queue["again"] is not bool(refusal)
        assert len(queue.get("restarts", [])) == restarts + (not refusal)
        requeue.begin(self.run)
        assert "again" not in self.data()["queue"]
        self.run.change(lambda record: record.preempt(requeue.TIME_LIMIT, step, 75, "refused"))

    @rule(local=st.booleans())
    def queue_again(self, local: bool) -> None:
        """A person or a pipeline has the run queued again; what has finished is not."""
        queue = QueueEntry(LOCAL, host.process(os.getpid())) if local else None
        if self.is_finished():
            with pytest.raises(ValueError, match=self.run.id):
                self.run.change(lambda record: record.queue_again(queue))
            return
        record = self.run.change(lambda record: record.queue_again(queue))
        assert (record.status, record.queue) == (Status.QUEUED, queue)

    @precondition(lambda self: self.run.status == Status.QUEUED)
    @rule(scheduler=st.sampled_from(("slurm", "submitit_local")))
    def submit(self, scheduler: str) -> None:
        """A scheduler accepts a job of the run."""
        record_job(self.run, scheduler, "7_1", self.folder, ["3"], DEAD if scheduler == "submitit_local" else None)
        if scheduler == "submitit_local":
            record_process(self.run, DEAD, self.folder / "7_log.out")
        assert self.data()["queue"]["after"] == ["3"] and self.run.record.has_job

    @rule(state=st.sampled_from((None, "CANCELLED", "NODE_FAIL")))
    def lose_job(self, state: str | None) -> None:
        """The job of the run is gone: only a run that has one is closed, and only once."""
        record, before = self.run.record, self.data()
        job = JobState("7_1", state) if state else None
        job_states.record_end_of_lost_job(self.run, Outcome(Status.KILLED, 137, f"job is {job}"))
        if record.has_live_job:
            assert (self.run.status, self.data()["queue"]["again"]) == (Status.KILLED, False)
            assert not self.run.record.has_live_job
        else:
            assert self.data() == before

    @rule(code=st.integers(1, 255))
    def lose_supervisor(self, code: int) -> None:
        """A supervisor process ended: an open run that no process works on is closed."""
        before = self.run.record
        after = corrected_record(self.run.dir, code)
        is_closed = before.status.is_open and not host.is_alive(before.supervisor)
        assert after == (self.run.record if is_closed else before)
        assert not is_closed or (after.status, after.exit_code) == (Status.KILLED, code)

    @rule()
    def annotate(self) -> None:
        """A person adds a remark, in any status."""
        add_note(self.run, "looks good")
        self.notes += 1

    @invariant()
    def record_is_what_readers_expect(self) -> None:
        """The file on the disk is a record, in which status and end agree, and nothing is lost."""
        data = self.data()
        record = RunRecord.from_dict(data)
        assert record.to_dict() == data and RunRecord.from_dict(record.to_dict()) == record
        assert Status(data["status"]) not in (Status.LOST, Status.UNREADABLE)
        assert {name: data[name] for name in LATER} == LATER
        assert len(data["notes"]) == self.notes and len(data["resumed"]) == max(0, self.attempts - 1)
        if record.status.is_open:
            assert [data[name] for name in ("ended", "exit_code", "reason", "signal", "error")] == [None] * 5
        else:
            assert data["exit_code"] is not None and data["ended"]
        assert record.status.is_open + record.status.is_final + record.status.is_resumable >= 1
        assert record.status.is_failure == (not record.status.is_open and record.status != Status.FINISHED)
        row = read(str(self.run.dir))
        assert row is not None and (row.status, row.queue) == (record.status, record.queue)
        assert unpack([pack(row)], [row.path]) == [row], "an index keeps all of it"


TestRunLife = pytest.mark.slow(RunLife.TestCase)
TestRunLife.settings = settings(max_examples=20, stateful_step_count=20, deadline=None, derandomize=True, database=None)
