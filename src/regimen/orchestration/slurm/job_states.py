"""States of jobs, from one call of `squeue`; corrected records of runs whose job no longer exists."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from regimen.display.formatting import duration
from regimen.orchestration.slurm import requeue
from regimen.runs import outcome
from regimen.runs.index.liveness import is_scheduled, judge
from regimen.runs.index.summary import RunSummary, read, seconds
from regimen.runs.lock import is_free
from regimen.runs.record import Outcome, RunRecord, read_record
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.timeouts import JOB_LISTED_S, SLURM_ANSWER_S
from regimen.system import host
from regimen.system.errors import PreflightError, RegimenError
from regimen.system.host import ProcessIdentity

WAITING = frozenset(("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"))

LIVE = WAITING | {
    *("CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"),
}
"""States of a job that is pending or running."""

FIELDS = ("%i", "%T", "%N", "%M", "%l", "%S", "%r")

REASONS = {
    "None": "",
    "Priority": "waiting for jobs with higher priority",
    "Resources": "waiting for free resources",
    "BeginTime": "starts at {start}",
    "Dependency": "waiting for another job",
    "DependencyNeverSatisfied": "a job it depends on failed",
    "JobArrayTaskLimit": "hardware.submitit.array_parallelism of its array is reached",
    "JobHeldUser": "held; release it with `scontrol release`",
    "JobHeldAdmin": "held by an administrator",
    "JobLaunchFailure": "the node could not start it",
    "launch failed requeued held": "the node could not start it; held, release it with `scontrol release`",
    "NodeDown": "its node is down",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is closed",
    "PartitionTimeLimit": "requests more time than the partition allows",
    "PartitionNodeLimit": "requests more nodes than the partition allows",
    "PartitionConfig": "requests resources that the partition does not have",
    "Reservation": "waiting for a reservation",
    "ReqNodeNotAvail": "a node it needs is not available",
    "Licenses": "waits for a licence",
    "InvalidAccount": "the account is not valid",
    "InvalidQOS": "the QOS is not valid",
    "TimeLimit": "time limit reached",
    "NonZeroExitCode": "non-zero exit code",
    "BadConstraints": "no node has the requested features",
}
"""Slurm's reason for a pending or failed job -> explanation."""

LIMITS = {"QOSMax": "a limit of the QOS", "AssocMax": "a limit of the account", "AssocGrp": "a limit of the group"}
LIMITS |= {"QOSGrp": "a limit of the QOS for all its users", "MaxJobs": "a limit on jobs"}


@dataclass
class JobState:
    """One job.

    Attributes:
        job: id, such as `12` or `12_3`.
        state: Slurm's name of the state, such as RUNNING.
        node: node on which it runs.
        elapsed, limit: times in Slurm's format, such as `2:05` and `1:00:00`.
        reason: why it waits or ended, as an explanation.
        code: Slurm's name of the reason.
    """

    job: str
    state: str
    node: str = ""
    elapsed: str = ""
    limit: str = ""
    reason: str = ""
    code: str = ""

    @property
    def live(self) -> bool:
        """Whether the job is pending or running."""
        return self.state in LIVE

    @property
    def waits(self) -> bool:
        """Whether the job is pending."""
        return self.state in WAITING


def states_of(queues: Iterable[QueueEntry]) -> dict[str, JobState]:
    """Return job -> state; a job that its scheduler no longer lists is absent.

    Args:
        queues: entries with a job, see `RunRecord.queue`.

    Raises:
        PreflightError: Slurm does not respond.
    """
    states: dict[str, JobState] = {}
    slurm = []
    for queue in queues:
        job = str(queue.job)
        if queue.kind == "slurm":
            slurm.append(job)
        elif queue.kind == "submitit_local" and (state := _process_state(queue, job)):
            states[job] = state
    return states | (slurm_states(slurm) if slurm else {})


def slurm_states(jobs: Iterable[str]) -> dict[str, JobState]:
    """Return job -> state of the Slurm jobs that `squeue` lists; it drops jobs minutes after their end.

    Args:
        jobs: ids, such as `12` or `12_3`.

    Raises:
        PreflightError: Slurm does not respond.
    """
    wanted = set(jobs)
    if not wanted:
        return {}
    # Not `--jobs`: squeue fails for a job that it no longer lists.
    flags = ["--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
    lines = ask(["squeue", *flags, f"--format={'|'.join(FIELDS)}"]).splitlines()
    rows = [_parse(line) for line in lines if line.count("|") >= len(FIELDS) - 1]
    return {row.job: row for row in rows if row.job in wanted}


def ask(command: list[str]) -> str:
    """Run a command of Slurm and return its standard output.

    Raises:
        PreflightError: the command is missing, fails or times out; the message holds its error output.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SLURM_ANSWER_S)
    except FileNotFoundError:
        raise PreflightError(
            f"{command[0]} is not on this machine: run this where Slurm's commands are (a login node)."
        ) from None
    except subprocess.TimeoutExpired:
        raise PreflightError(
            f"Slurm does not respond: no answer from {command[0]} within {SLURM_ANSWER_S:.0f} s."
        ) from None
    if done.returncode:
        raise PreflightError(f"{command[0]} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def plain_reason(code: str, start: str = "") -> str:
    """Return an explanation of why a job is pending.

    Args:
        code: Slurm's name of the reason, such as `Resources`.
        start: expected start time, ISO format.
    """
    name = code.strip("()").split(",")[0]
    if name in REASONS:
        return REASONS[name].format(start=start.partition("T")[2] or "a later time")
    for prefix, what in LIMITS.items():
        if name.startswith(prefix):
            return f"{what} is reached ({name})"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()


def _parse(line: str) -> JobState:
    job, state, node, elapsed, limit, start, code = line.split("|", len(FIELDS) - 1)
    reason = plain_reason(code, start)
    if state == "PENDING" and not reason:
        reason = "not yet considered by the scheduler"
    return JobState(job.strip(), state, node, elapsed, limit, reason, code)


def _process_state(queue: QueueEntry, job: str) -> JobState | None:
    """Return the state of a job of `submitit_local` from its process, or from the process that starts it."""
    process = queue.process
    if process and host.is_alive(process) is not False:
        return JobState(job, "RUNNING", node=process.host, elapsed=duration(_age(process), "clock"))
    if host.is_alive(queue.starter) is False:
        return None
    return JobState(job, "PENDING", reason="hardware.max_jobs is reached")


def _age(process: ProcessIdentity) -> float:
    """Return the age of a process in s."""
    return max(0.0, host.seconds_since_boot() - (process.start or 0) / os.sysconf("SC_CLK_TCK"))


WHEN = {Status.QUEUED: "before it started", Status.PREEMPTED: "while it waited to continue"}
"""Status of a run without an active job -> when it lost the job."""


def reconcile(
    runs: Iterable[Run], watched: Callable[[Status], bool] = lambda status: status.may_have_job
) -> dict[str, JobState]:
    """Record the end of runs whose job has ended or is lost; return run id -> state of the active jobs.

    Args:
        runs: any runs; runs without a job are skipped.
        watched: whether to check a run with this status.

    Raises:
        PreflightError: Slurm does not respond.
    """
    checked = {
        run.id: (run, record.queue)
        for run in runs
        if (record := read_record(run.dir)) and record.queue and record.queue.has_job and watched(record.status)
    }
    states = states_of(queue for _, queue in checked.values())
    live = {}
    for name, (run, queue) in checked.items():
        state = states.get(str(queue.job))
        if state and state.live:
            live[name] = state
        elif (state or time.time() - seconds(queue.submitted) >= JOB_LISTED_S) and is_free(run):
            record_end_of_lost_job(run, outcome_of_lost_job(run.record, state))
    return live


def record_end_of_lost_job(run: Run, end: Outcome) -> None:
    """Record the end of a run whose job is lost, unless the run has recorded it itself.

    Args:
        run: the run.
        end: outcome to record.
    """
    closed = False

    def alter(record: RunRecord) -> None:
        nonlocal closed
        closed = record.close_lost_job(end)

    record = run.change(alter)
    if closed and record.supervisor is not None:
        outcome.record_artifacts(run)
    run.reserve.unlink(missing_ok=True)


def outcome_of_lost_job(record: RunRecord, state: JobState | None) -> Outcome:
    """Return the outcome of a run whose job has ended although its record says otherwise.

    Args:
        record: the record of the run, which has a job.
        state: state of the job, None if the scheduler no longer lists it.
    """
    queue = record.queue or QueueEntry()
    job = f"job {queue.job}"
    when = WHEN.get(record.status, "")
    if state is None:
        return outcome.signalled(signal.SIGKILL, f"{job} is gone {when}".strip())
    if state.state == "CANCELLED":
        why = f": {state.reason}" if state.code not in ("None", "") else ""
        return outcome.signalled(signal.SIGTERM, f"{job} was cancelled {when}".strip() + why)
    reason = f"{job} ended {when}".strip() + f" ({state.state}{_exit_code(state)})"
    lines = outcome.last_lines(job_log(queue), 1)
    if record.status == Status.QUEUED:  # the job ended before its supervisor started
        return Outcome(Status.FAILED, outcome.EXIT_FAILED, ": ".join([reason, *lines]))
    return outcome.signalled(signal.SIGKILL, reason)


def job_log(queue: QueueEntry) -> Path:
    """Return the log file of a job."""
    return Path(queue.log or Path(queue.folder or "") / f"{queue.job}_0_log.out")


def _exit_code(state: JobState) -> str:
    code = requeue.show_job(state.job).get("ExitCode", "")
    return f", exit code {code}" if code else ""


def ask_schedulers(rows: list[RunSummary]) -> None:
    """Update the rows of runs that Slurm (or its stand-in) has: the record cannot show that a job is gone.

    The rows stay as recorded if the scheduler does not answer.

    Args:
        rows: of the index; replaced in place.
    """
    scheduled = {row.id: at for at, row in enumerate(rows) if is_scheduled(row)}
    if not scheduled:
        return
    try:
        going = reconcile(Run(rows[at].dir) for at in scheduled.values())
    except RegimenError:
        return
    for run_id, at in scheduled.items():
        fresh = read(rows[at].path)
        if fresh is not None:
            rows[at] = fresh
            judge([fresh])
        if fresh is not None and fresh.status == Status.LOST and run_id in going:  # its node is gone: it was requeued
            fresh.status = Status.QUEUED
