"""Outcome of a run, judged from the files of the worker: status, reason and exit code."""

from __future__ import annotations

import os
import re
import shlex
import signal
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from regimen.config import static_types
from regimen.runs import resume_check, worker_group
from regimen.runs.record import Outcome, RunRecord, read_record
from regimen.runs.record_parts import RunError
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files, signals
from regimen.system.errors import ConfigError

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_DIVERGED = 3

BAD_INPUT = (
    "ConfigError",
    "RunReferenceError",
    "ReferenceError_",  # the name of RunReferenceError in records of version 0.1
    "PreflightError",
    "IOMismatchError",
    "EnvContractError",
)
"""Errors of the user's input."""

NO_RESULT = "NoResult"
"""Kind of the failure of a worker that ended without a word."""

TASK_SETTINGS = re.compile(r"[+~]*(experiment=|sim[=.]|env\.(?!num_envs=)|hardware\.interpreters\.)")
"""Beginnings of arguments that belong to the task of a run, and so to the evaluation of what was trained in it."""

LAST_LINES = 20
REASON_LENGTH = 240


def judge(
    run: Run, returncode: int, memory: str = "", asked_kill: str = "", out_of_memory: bool | None = None
) -> Outcome:
    """Return how the worker of `run` ended.

    Args:
        run: its directory; the worker's `result.json` and `logs/error.json` are the evidence.
        returncode: of the worker, negative for a signal.
        memory: a clause on the memory seen and available, for a SIGKILL.
        asked_kill: why the supervisor sent SIGKILL, empty if it did not.
        out_of_memory: whether the kernel counted a process killed because memory ran out meanwhile; None: unknown.
    """
    error = files.read_json(run.logs / "error.json")
    if (run.dir / "result.json").exists():  # of this attempt: an earlier one is removed at the start
        return Outcome(Status.FINISHED, 0, _afterwards(returncode, error))
    if error and (lost := _of_lost_worker(run, error, memory, out_of_memory)):
        return lost
    if error:  # of this attempt too: a crash or a kill after it cannot change why the work ended
        end = _stopped(run, error) if error["kind"] == "StopRequested" else _failed(run, error)
        if returncode >= 0:
            return end
        how = ": ".join(filter(None, [signals.signal_name(-returncode), asked_kill]))
        return replace(end, reason=f"{end.reason.rstrip('.')}; the worker then ended with {how}")
    if returncode < 0:
        return _ended_by(run, -returncode, _sigkill_reason(memory, asked_kill, out_of_memory))
    why = "something called exit in the middle of the work"
    if returncode:
        why = next(iter(last_lines(run.logs / "worker.log", 1)), "no output")
    if out_of_memory:  # of a worker among several, whose launcher only says that one is gone
        why = f"out of memory, by the kernel's count of killed processes; {memory}"
    message = f"the worker ended with exit code {returncode} without a result: {why}"
    return _failed(run, {"kind": NO_RESULT, "message": message})


def signalled(number: int, reason: str = "") -> Outcome:
    """Return the outcome of what a signal ended: SIGUSR2 announces a preemption."""
    status = Status.PREEMPTED if number == signal.SIGUSR2 else Status.KILLED
    return Outcome(status, signals.exit_code(number), reason, number)


def record_end(run: Run, end: Outcome, used: Callable[[RunRecord], None] = lambda record: None) -> None:
    """Write into run.json how the run ended, then the hashes of its files, which cannot change that.

    Args:
        run: the run.
        end: how it ended.
        used: adds the time and the memory that the attempt used.
    """
    result = files.read_json(run.dir / "result.json") or {}

    def alter(record: RunRecord) -> None:
        record.end(end, result.get("headline", {}))
        used(record)

    run.change(alter)
    with suppress(OSError):
        record_artifacts(run)


def record_artifacts(run: Run) -> None:
    """Record sizes and checksums of the files that an ended run names, and give up its reserved space."""
    artifacts = run.artifacts()
    run.change(lambda record: setattr(record, "artifacts", artifacts))
    run.reserve.unlink(missing_ok=True)


def last_lines(path: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last lines of a text file, or none where there is no file."""
    try:
        with files.open_regular(path) as file:
            file.seek(max(0, path.stat().st_size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def next_command(run: Run, status: Status, exit_code: int) -> str:
    """Return what to type next, by how the run ended; empty if nothing in particular.

    Args:
        run: the run.
        status: how it ended.
        exit_code: distinguishes bad input from other failures.
    """
    record = run.record
    name = shlex.quote(run.id if run.dir.parent == Path("outputs").resolve() else os.path.relpath(run.dir))
    has_checkpoint = (run.checkpoints / "last.pt").exists()
    if status == Status.FINISHED:
        task, agent = record.choices.get("task"), record.choices.get("agent", "")
        if not has_checkpoint or not task:
            return ""
        stage, made = "evaluate", "policy"
        if record.stage == "distill":
            watches = f"agent={shlex.quote(agent)} policy=<its policy> estimator"
            acts = _agent_has(run, "load_policy")
            made = "policy" if acts else watches
            clones = static_types.class_variable(run.config.get("agent") or {}, "DATA") == ".h5"
            stage = "in_context" if acts and not clones else "evaluate"
            if _agent_has(run, "load_encoder"):
                stage, made = "train", "agent=rlpd agent.observations=[policy] encoder"
        return f"python launch.py stage={stage} {_task_of(run, task)} {made}={name}"
    if status == Status.DIVERGED and run.nan_dump.exists():
        return f"regimen replay {name} nan"
    if status == Status.DIVERGED:
        return f"read {os.path.relpath(run.logs / 'worker.log')}, change the settings and launch again"
    if record.supervisor is not None and any(resume_check.refusals(run, read_all=False)):
        return resume_check.alternative(run)
    if exit_code == EXIT_BAD_INPUT:
        return "correct the command and launch again"
    return f"python launch.py resume={name}"


def naming(task: str, env: Mapping[str, Any]) -> str:
    """Return the arguments that choose a task: its option, and of a task of Gymnasium its name there.

    Args:
        task: the option.
        env: its configuration.
    """
    return f"task={shlex.quote(task)}" + (f" env.id={shlex.quote(env['id'])}" if "id" in env else "")


def _task_of(run: Run, task: str) -> str:
    """Return the arguments that open the task as the run has it: its name, and what was typed about it."""
    record = run.record
    folders = [value for flag, value in pairwise(record.argv) if flag in ("--config-dir", "-cd")]
    typed = {text: text.partition("=")[0] for text in record.overrides if TASK_SETTINGS.match(text)}
    words = [word for folder in folders for word in ("--config-dir", folder)]
    words += [text for text, key in typed.items() if key == "experiment"]
    more = [text for text, key in typed.items() if key not in ("experiment", "env.id")]
    return " ".join([*map(shlex.quote, words), naming(task, run.config.get("env") or {}), *map(shlex.quote, more)])


def _agent_has(run: Run, method: str) -> bool:
    """Whether the class of the run's agent has a method, by which it is known what was distilled."""
    agent = run.config.get("agent") or {}
    with suppress(ConfigError):
        return "_target_" in agent and method in static_types.methods(agent["_target_"])
    return False


def _afterwards(returncode: int, error: dict[str, Any] | None) -> str:
    """Return a warning on how the worker ended once its result was written, or nothing if it ended well."""
    how = f"exit code {returncode}" if returncode > 0 else ""
    if returncode < 0:
        how = signals.signal_name(-returncode)
    elif error:
        how = textwrap.shorten(f"{error['kind']}: {error['message']}", REASON_LENGTH, placeholder=" …")
    return f"warning: the result is whole, but the worker ended with {how}" if how else ""


def _stopped(run: Run, error: dict[str, Any]) -> Outcome:
    number = int(error["signal"])
    reason = f"stopped by {signals.signal_name(number)}, checkpoint saved at step {error['step']}"
    if not (run.checkpoints / "last.pt").exists():
        reason = f"stopped by {signals.signal_name(number)} at step {error['step']}"
    return signalled(number, reason)


def _sigkill_reason(memory: str, asked: str, out_of_memory: bool | None) -> str:
    if asked:
        return f"{asked} (SIGKILL)"
    if out_of_memory:
        return f"out of memory: the kernel ended the worker (SIGKILL); {memory}"
    if out_of_memory is None:
        return f"SIGKILL, out of memory or by another process: the kernel keeps no count; {memory}"
    return "SIGKILL by another process: the kernel counts no kill because of memory"


def _ended_by(run: Run, number: int, sigkill_reason: str) -> Outcome:
    name = signals.signal_name(number)
    if number == signal.SIGKILL:
        reason = sigkill_reason
    elif number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT):
        what = {"SIGSEGV": "segmentation fault", "SIGABRT": "aborted by native code"}.get(name, "crash in native code")
        reason = f"{what} ({name}){_crash_site(last_lines(run.logs / 'worker.log', 400))}"
    else:
        reason = f"ended by {name} before a checkpoint of this moment could be saved"
    outcome = signalled(number, reason)
    outcome.error = RunError(name, reason, last_lines(run.logs / "worker.log"))
    return outcome


def _of_lost_worker(run: Run, error: dict[str, Any], memory: str, out_of_memory: bool | None) -> Outcome | None:
    """Return the end of the worker whose loss made another one fail in a collective, None if there is none."""
    if not worker_group.failed_in_collective(error):
        return None
    lost = worker_group.lost_worker(error, last_lines(run.logs / "worker.log", 400))
    if lost is None and not out_of_memory:
        return None
    rank, number = lost or ("unknown", signal.SIGKILL)
    end = _ended_by(run, number, _sigkill_reason(memory, "", out_of_memory))
    end.reason = f"the worker of rank {rank} ended first: {end.reason}"
    message = f"{end.reason}. Then rank {error['rank']} failed: {error['kind']}: {error['message']}"
    end.error = RunError(signals.signal_name(number), message, last_lines(run.logs / "worker.log"))
    return end


def _crash_site(lines: list[str]) -> str:
    """Return where the faulthandler saw the crashing thread, as ` at File "…", line … in …`, or nothing."""
    starts = [index for index, line in enumerate(lines) if line.startswith("Current thread")]
    frames = [line.strip() for line in lines[starts[-1] + 1 :][:1] if line.startswith("  File")] if starts else []
    return f" at {frames[0]}" if frames else ""


def _failed(run: Run, error: dict[str, Any]) -> Outcome:
    kind, message = error["kind"], error["message"]
    details = RunError(kind, message, last_lines(run.logs / "worker.log"))
    short = textwrap.shorten(message, REASON_LENGTH, placeholder=" …")
    if kind == "DivergedError":
        return Outcome(Status.DIVERGED, EXIT_DIVERGED, short, error=details)
    reason = short if kind == NO_RESULT else ": ".join(filter(None, [kind.removesuffix("_"), short]))
    code = EXIT_BAD_INPUT if kind in BAD_INPUT and not error.get("no_space") else EXIT_FAILED
    return Outcome(Status.FAILED, code, reason, error=details)


@contextmanager
def not_started(run: Run) -> Iterator[None]:
    """Record an error that ends a launch before a supervisor works on the run; raise it again.

    Args:
        run: created or reopened, and not started yet.
    """
    try:
        yield
    except BaseException as error:
        end = Outcome(Status.FAILED, EXIT_FAILED, f"not started: {error}")
        if isinstance(error, signals.Interrupted):
            end = signalled(error.number, f"not started: {signals.signal_name(error.number)} came first")
        record = read_record(run.dir)
        if record is not None and record.supervisor is None:
            with suppress(OSError):
                record_end(run, end)
        raise
