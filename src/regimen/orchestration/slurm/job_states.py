"""Where jobs are, asked of the schedulers in one go; `sacct` is not needed."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from regimen.display.formatting import duration
from regimen.system import host
from regimen.system.errors import PreflightError

WAITING = frozenset(("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"))

LIVE = WAITING | {
    *("CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"),
}
"""States of a job that is still to do something."""

FIELDS = ("%i", "%T", "%N", "%M", "%l", "%S", "%r")
PATIENCE_S = 60.0

REASONS = {
    "None": "",
    "Priority": "others are before it",
    "Resources": "waits for free resources",
    "BeginTime": "starts at {start}",
    "Dependency": "waits for another job",
    "DependencyNeverSatisfied": "a job it depends on failed",
    "JobArrayTaskLimit": "hardware.submitit.array_parallelism jobs of its array run already",
    "JobHeldUser": "held; release it with `scontrol release`",
    "JobHeldAdmin": "held by an administrator",
    "JobLaunchFailure": "the node could not start it",
    "launch failed requeued held": "the node could not start it; held, release it with `scontrol release`",
    "NodeDown": "its node is down",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is closed",
    "PartitionTimeLimit": "asks for more time than the partition gives",
    "PartitionNodeLimit": "asks for more nodes than the partition gives",
    "PartitionConfig": "asks for what the partition does not give",
    "Reservation": "waits for a reservation",
    "ReqNodeNotAvail": "a node it needs is not available",
    "Licenses": "waits for a licence",
    "InvalidAccount": "the account is not valid",
    "InvalidQOS": "the QOS is not valid",
    "TimeLimit": "its time was up",
    "NonZeroExitCode": "it ended with an error",
    "BadConstraints": "no node has what it asks for",
}
"""What Slurm says of a job that waits -> in plain words."""

LIMITS = {"QOSMax": "a limit of the QOS", "AssocMax": "a limit of the account", "AssocGrp": "a limit of the group"}
LIMITS |= {"QOSGrp": "a limit of the QOS for all its users", "MaxJobs": "a limit on jobs"}


@dataclass
class JobState:
    """One job.

    Attributes:
        job: its name, such as `12` or `12_3`.
        state: in Slurm's words, such as RUNNING.
        node: where it runs.
        elapsed, limit: as Slurm writes times, such as `2:05` and `1:00:00`.
        reason: why it waits or ended, in plain words.
        code: the scheduler's own word for that.
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
        """Whether it waits or runs."""
        return self.state in LIVE

    @property
    def waits(self) -> bool:
        """Whether it does not run yet, or not now."""
        return self.state in WAITING


def of(queues: Iterable[dict[str, Any]]) -> dict[str, JobState]:
    """Return job -> state of runs by their `queue` records; a job that its scheduler does not know any more is absent.

    Raises:
        PreflightError: Slurm does not answer.
    """
    found: dict[str, JobState] = {}
    slurm = []
    for queue in queues:
        if queue["kind"] == "slurm":
            slurm.append(queue["job"])
        elif queue["kind"] == "submitit_local" and (state := _process(queue)):
            found[queue["job"]] = state
    return found | (states(slurm) if slurm else {})


def states(jobs: Iterable[str]) -> dict[str, JobState]:
    """Return job -> state for those jobs of Slurm that it still knows: it forgets them minutes after their end.

    Args:
        jobs: such as `12` or `12_3`.

    Raises:
        PreflightError: Slurm does not answer.
    """
    wanted = set(jobs)
    if not wanted:
        return {}
    # Not `--jobs`: a forgotten job would be an error.
    chosen = ["--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
    lines = ask(["squeue", *chosen, f"--format={'|'.join(FIELDS)}"]).splitlines()
    rows = [_parse(line) for line in lines if line.count("|") >= len(FIELDS) - 1]
    return {row.job: row for row in rows if row.job in wanted}


def ask(command: list[str]) -> str:
    """Return what a command of Slurm prints.

    Raises:
        PreflightError: it fails; the message holds what it said.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    except FileNotFoundError:
        raise PreflightError(f"There is no {command[0]} on this machine: ask where Slurm's commands are.") from None
    except subprocess.TimeoutExpired:
        raise PreflightError(f"Slurm does not answer: {command[0]} said nothing for {PATIENCE_S:.0f} s.") from None
    if done.returncode:
        raise PreflightError(f"{command[0]} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def plain_reason(code: str, start: str = "") -> str:
    """Return in plain words why a job waits.

    Args:
        code: Slurm's word, such as `Resources`.
        start: when it is expected to start, ISO.
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
        reason = "Slurm has not looked at it yet"
    return JobState(job.strip(), state, node, elapsed, limit, reason, code)


def _process(queue: dict[str, Any]) -> JobState | None:
    """Return the state of a job of this machine, by its own process or by the one that starts it."""
    process = queue.get("process")
    if process and host.is_alive(process) is not False:
        return JobState(queue["job"], "RUNNING", node=process["host"], elapsed=duration(_age(process), "clock"))
    if host.is_alive(queue.get("starter")) is False:
        return None
    return JobState(queue["job"], "PENDING", reason="hardware.max_jobs run already")


def _age(process: dict[str, Any]) -> float:
    """Return the seconds since a process of this machine started, 0 for one elsewhere."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - (process.get("start") or 0) / os.sysconf("SC_CLK_TCK"))
