"""The supervisor: starts the worker of a run, passes signals on, shows its output, and records how it ended.

No process manager does this: the worker inherits the lock of the run, its exit code and signal are judged against what
it wrote, and the record must be right after a kill of either process.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO

from regimen.display.console import Screen, print_in_any_encoding
from regimen.display.formatting import duration, visible
from regimen.runs import code_snapshot, create, inputs, outcome, resume_check, signature, worker_group
from regimen.runs.lock import heartbeat, heartbeats, hold_lock
from regimen.runs.record import FILE, Outcome, RecordError, RunRecord
from regimen.runs.record_parts import RunError, Signature
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.timeouts import HEARTBEAT_S, STUCK_S
from regimen.system import files, host, signals
from regimen.system.errors import CheckpointError, PreflightError, RegimenError, RunReferenceError
from regimen.system.git import repository_state

POLL_S = 0.1
MEMORY_INTERVAL_S = 1.0
SUPERVISED = "REGIMEN_SUPERVISED"
"""Set in the worker's environment to the descriptor of the run's lock: its stdin ends when the supervisor does."""


def supervise(run: Run) -> int:
    """Work on `run` until it ends, resuming it if it was started before; return the exit code.

    Must be called from the main thread, because it handles signals.

    Args:
        run: of a directory made by `create_run_dir`, or opened by `Run.open`.
    """
    print_in_any_encoding()
    screen = Screen(run.dir)
    if _is_finished(run, screen):
        return 0
    try:
        sections = {name for name, section in run.config.items() if isinstance(section, dict)}
        if missing := sorted({"env", "hardware", "stage"} - sections):
            where = os.path.relpath(run.config_path)
            raise RunReferenceError(f"{where} was cut or damaged: it has no {', '.join(missing)}. Launch a new run.")
        with hold_lock(run) as lock:
            if _is_finished(run, screen):  # by the process that held the lock until now
                return 0
            record = run.record
            if record.supervisor is not None and record.status != Status.QUEUED and not record.has_live_job:
                resume_check.require_resumable(run)  # a job of a scheduler records its refusal instead
            return _Supervisor(run, screen, lock).run_worker()
    except RegimenError as error:
        screen.line(str(error))
        return outcome.EXIT_BAD_INPUT


def _is_finished(run: Run, screen: Screen) -> bool:
    finished = run.status == Status.FINISHED
    if finished:
        screen.line(f"finished already: {os.path.relpath(run.dir)} has nothing left to do")
    return finished


class _Supervisor:
    """One attempt at a run."""

    def __init__(self, run: Run, screen: Screen, lock: IO[str]) -> None:
        self.run = run
        self.screen = screen
        self.lock = lock
        self.worker: subprocess.Popen[bytes] | None = None
        self.received: list[int] = []
        self.reads_inputs = False
        self.asked_kill = ""
        self.record: RunRecord | None = None
        self.peak_rss = 0
        self.cpu_s = 0.0
        self.before = run.record
        self.available, self.oom_kills = host.memory_available(), host.oom_kills()
        self.started, self.started_at = time.monotonic(), time.time()

    def run_worker(self) -> int:
        """Start the worker, wait for it, write the record, and print the last line."""
        with signals.handled(self._on_signal):
            self._begin()
            try:
                end = self._refused_inputs() or self._stopped_before() or self._work()
            except BaseException as error:
                self._kill_group()
                self._record(
                    Outcome(Status.FAILED, outcome.EXIT_FAILED, f"supervisor: {type(error).__name__}: {error}")
                )
                raise
            self._kill_group()
            self._record(end)
        return end.exit_code

    def _begin(self) -> None:
        """Renew what the attempt needs; a run worked on before becomes a resumed one."""
        try:
            files.reserve_space(self.run.reserve)
        except OSError as error:
            raise PreflightError(f"Cannot continue {self.run.id}: {files.no_space_message(self.run.dir)}.") from error
        for stale in ("logs/error.json", "result.json", "progress.json"):
            (self.run.dir / stale).unlink(missing_ok=True)
        this, where = host.process(os.getpid()), os.path.relpath(self.run.dir)
        if self.before.supervisor is None:
            machine = host.host()
            self.record = self.run.change(lambda record: record.start(this, machine))
            self.screen.line(f"started: {where}")
            return
        if self.before.code and not Path(self.before.code).is_dir():
            self.before.code = str(code_snapshot.take(self.run.config))
            self.run.change(lambda record: setattr(record, "code", self.before.code))
            self.screen.line(
                "warning: the copy of the code that it worked from is gone; it continues with the present code"
            )
        git = self.before.git if self.before.code else repository_state(Path(__file__).parent).state
        signature_ = self._signature()
        self.record = self.run.change(lambda record: record.resume(this, git, signature_))
        self.screen.line(f"resumed: {where}")

    def _signature(self) -> Signature:
        """Return the hashes of a resumed run, whose checkpoint depends on the code of earlier attempts."""
        now = signature.code_signature(self.run.config, self.before.code)
        begun = (self.run.checkpoints / "last.pt").exists()
        return replace(
            self.before.signature, code=signature.continued(self.before.signature.code, now) if begun else now
        )

    def _require_code(self) -> None:
        """Raise PreflightError if the copy of the code is gone that a run was queued with."""
        code = self.run.record.code
        if code and not Path(code).is_dir():
            here = os.path.relpath(self.run.dir)
            raise PreflightError(
                f"The copy of its code is gone: {code}. Launch the run again, or let it work from the present code: "
                f"python launch.py resume={here}"
            )

    def _refused_inputs(self) -> Outcome | None:
        """Resolve and verify all inputs; a resumed training does not read its initial policy again."""
        try:
            self._require_code()
            with heartbeats(self.run), suppress(signals.Interrupted):
                resolve_pending(self.run)
                self._verify_inputs()
        except RegimenError as error:
            details = RunError(type(error).__name__, str(error))
            reason = textwrap.shorten(str(error), outcome.REASON_LENGTH, placeholder=" …")
            return Outcome(Status.FAILED, outcome.EXIT_BAD_INPUT, reason, error=details)
        return None

    def _verify_inputs(self) -> None:
        """Compare the checksums of all inputs, which may take minutes; a signal interrupts it."""
        try:
            self.reads_inputs = True
            inputs.require_unchanged(self.run, except_for=inputs.not_read_again(self.run))
        finally:
            self.reads_inputs = False

    def _stopped_before(self) -> Outcome | None:
        """Return the end of an attempt that a signal stops before its worker is started."""
        if not self.received:
            return None
        number = self.received[0]
        return outcome.signalled(number, f"stopped by {signals.signal_name(number)} before the worker was started")

    def _work(self) -> Outcome:
        if not worker_group.on_one_node(self.run):
            return self._supervise_worker(None)
        with tempfile.TemporaryDirectory(prefix="regimen-", ignore_cleanup_errors=True) as folder:
            return self._supervise_worker(Path(folder))

    def _supervise_worker(self, meeting_place: Path | None) -> Outcome:
        """Start the worker or several, wait for the end and judge it; see `worker_group` for `meeting_place`."""
        try:
            self.worker = _start_worker(self.run, self.lock.fileno(), meeting_place)
        except OSError as error:
            message = f"cannot start the worker: {error}. Set hardware.interpreters.<sim> to a Python that exists."
            return Outcome(Status.FAILED, outcome.EXIT_BAD_INPUT, message, error=RunError("OSError", message))
        for number in self.received:  # signals that came while it was being started
            signals.send(self.worker, number)
        returncode = self._wait(self.worker)
        memory = f"peak {self.peak_rss / 2**30:.2f} GiB seen, {self.available / 2**30:.2f} GiB available at the start"
        now = host.oom_kills()
        out_of_memory = now > self.oom_kills if now is not None and self.oom_kills is not None else None
        return self._keep_status(outcome.judge(self.run, returncode, memory, self.asked_kill, out_of_memory))

    def _keep_status(self, end: Outcome) -> Outcome:
        """Return the earlier status for an attempt whose env or agent refused the checkpoint: nothing was done."""
        last = self.run.checkpoints / "last.pt"
        refused = end.error is not None and end.error.type == CheckpointError.__name__
        worked = last.exists() and last.stat().st_mtime > self.started_at
        if not refused or worked or self.before.supervisor is None or not self.before.status.is_resumable:
            return end
        return replace(end, status=self.before.status, exit_code=outcome.EXIT_BAD_INPUT, signal=self.before.signal)

    def _wait(self, worker: subprocess.Popen[bytes]) -> int:
        sample_due = beat_due = 0.0
        signs, last_sign = None, time.monotonic()
        while True:
            pid, status, usage = os.wait4(worker.pid, os.WNOHANG)
            if pid:
                worker.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_s = usage.ru_utime + usage.ru_stime
                self.peak_rss = max(self.peak_rss, host.peak_rss(usage))
                return worker.returncode
            if time.monotonic() >= sample_due:
                self.peak_rss = max(self.peak_rss, host.tree_rss(worker.pid))
                sample_due = time.monotonic() + MEMORY_INTERVAL_S
                if self.received and not self.asked_kill:
                    if signs is None:
                        limit = f"it is killed after {duration(STUCK_S)} without a sign of work"
                        self.screen.line(f"stopping: the worker saves a checkpoint; {limit}")
                    if signs != (now := _signs_of_work(self.run)):
                        signs, last_sign = now, time.monotonic()
                    elif time.monotonic() - last_sign > STUCK_S:
                        name = signals.signal_name(self.received[0])
                        self.asked_kill = f"no sign of work for {duration(STUCK_S)} after {name}"
                        os.killpg(worker.pid, signal.SIGKILL)
            if time.monotonic() >= beat_due:
                heartbeat(self.run)
                beat_due = time.monotonic() + HEARTBEAT_S
            self.screen.refresh()
            time.sleep(POLL_S)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Forward a signal once; a second Ctrl-C insists with SIGTERM, a third kills."""
        again = self.received.count(number)
        self.received.append(number)
        if number == signal.SIGINT and again:
            number = signal.SIGTERM if again == 1 else signal.SIGKILL
            self.asked_kill = "killed at your request" if number == signal.SIGKILL else ""
        elif again:
            return
        if self.worker is not None:
            signals.send(self.worker, number)
        elif self.reads_inputs:
            self.reads_inputs = False
            raise signals.Interrupted(number)

    def _kill_group(self) -> None:
        """End what the worker may have left running."""
        if self.worker is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.worker.pid, signal.SIGKILL)
        if self.worker.returncode is None:
            self.worker.wait()
        if self.worker.stdin:
            self.worker.stdin.close()

    def _record(self, end: Outcome) -> None:
        """Write the record before the screen is touched, which may be gone."""
        wall_s = time.monotonic() - self.started

        def add_used(record: RunRecord) -> None:
            record.wall_s = round(self.before.wall_s + wall_s, 3)
            record.cpu_s = round(self.before.cpu_s + self.cpu_s, 3)
            record.peak_memory_gib = round(max(self.before.peak_memory_gib, self.peak_rss / 2**30), 3)

        lost = ""
        try:
            outcome.record_end(self.run, end, add_used)
        except (OSError, RecordError) as error:
            lost = self._write_from_memory(end, add_used, error)
        self.screen.close()
        self.screen.line(visible(_last_line(self.run, end, wall_s, lost)))

    def _write_from_memory(self, end: Outcome, add_used: Callable[[RunRecord], None], error: Exception) -> str:
        """Write the record kept in memory, because the file is lost; return what could not be written."""
        path = self.run.dir / FILE
        if not self.run.dir.is_dir():
            return "its directory was removed meanwhile, and nothing of it is recorded"
        if self.record is None or (isinstance(error, OSError) and path.exists()):
            return f"the end could not be recorded: {error}"
        self.record.end(end, (files.read_json(self.run.dir / "result.json") or {}).get("headline", {}))
        add_used(self.record)
        try:
            files.write_json(path, self.record.to_dict(), self.run.reserve)
        except OSError as again:
            return f"the end could not be recorded: {again}"
        return f"its {FILE} was lost meanwhile, and is written again"


def _signs_of_work(run: Run) -> list[int]:
    """Return the times at which a worker last wrote its progress, metrics, output and checkpoints."""
    paths = [run.dir / "progress.json", run.dir / "metrics.jsonl", run.logs / "worker.log", run.checkpoints]
    with suppress(OSError):
        paths += run.checkpoints.iterdir()
    times = []
    for path in paths:
        with suppress(OSError):
            times.append(path.stat().st_mtime_ns)
    return sorted(times)


def _last_line(run: Run, end: Outcome, wall_s: float, lost: str) -> str:
    headline, command = "", ""
    evaluation = (files.read_json(run.dir / "result.json") or {}).get("evaluation")
    beside = [evaluation.get(key) for key in ("stopped", "problem")] if isinstance(evaluation, dict) else []
    with suppress(OSError, RegimenError, ValueError):  # of files that were removed or damaged meanwhile
        figures = run.record.headline.items()
        headline = ", ".join(f"{name} {value:.4g}" for name, value in figures if value is not None)
        command = outcome.next_command(run, end.status, end.exit_code)
    detail = "; ".join(
        filter(None, [end.reason or headline, *(text for text in beside if isinstance(text, str)), lost])
    )
    parts = [
        f"{end.status} (exit code {end.exit_code}): {os.path.relpath(run.dir)} after {wall_s:.1f} s",
        f" — {detail}" if detail else "",
        f" — next: {command}" if command else "",
    ]
    return "".join(parts)


def _start_worker(run: Run, lock: int, meeting_place: Path | None) -> subprocess.Popen[bytes]:
    """Start the worker in a session of its own, its output appended to logs/worker.log.

    It inherits the descriptor `lock`, so that the run is not given to another while either process exists.
    """
    record = run.record
    env = worker_group.inherited_environment(record) | {SUPERVISED: str(lock), "PYTHONUNBUFFERED": "1"}
    env |= worker_group.environment(meeting_place)
    env["PYTHONIOENCODING"] = "utf-8"  # of worker.log
    if sys.stdout.isatty():
        env["COLUMNS"] = str(shutil.get_terminal_size().columns)  # its output is shown there
    source = files.PACKAGE.parent
    is_checkout = source.name not in ("site-packages", "dist-packages")  # which other interpreters do not have
    if record.code is None and is_checkout:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), env.get("PYTHONPATH")]))
    with files.open_own(run.logs / "worker.log", "ab") as log:
        return subprocess.Popen(
            worker_group.command(run, meeting_place),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=env,
            pass_fds=[lock],
            start_new_session=True,
        )


def main() -> int:
    """Run `python -m regimen.runs.supervisor <run directory>`."""
    if len(sys.argv) != 2:
        print("usage: python -m regimen.runs.supervisor <run directory>")
        return outcome.EXIT_BAD_INPUT
    try:
        run = Run.open(Path(sys.argv[1]))
    except RegimenError as error:
        print(error)
        return outcome.EXIT_BAD_INPUT
    return supervise(run)


def resolve_pending(run: Run) -> None:
    """Resolve pending references to files; update config.yaml and run.json.

    Args:
        run: about to start; its parents have finished.

    Raises:
        RunReferenceError: a parent did not leave what is needed.
    """
    pending = run.record.pending
    if not pending:
        return
    config = run.config
    paths = {name: inputs.resolve(name, reference) for name, reference in pending.items()}
    for name, path in paths.items():
        inputs.put(config, name, path)
    entries = inputs.read(paths, pending)
    made_by = inputs.agent_of(paths["policy"]) if "policy" in paths and inputs.agent_follows_policy(config) else None
    if made_by is not None:
        config["choices"]["agent"], config["agent"] = made_by
    create.freeze(run.dir, config)

    def alter(record: RunRecord) -> None:
        record.inputs |= entries
        record.choices = config["choices"]
        record.pending = {}
        record.signature = create.sign(config, record.inputs, {}, record.code)

    run.change(alter)


if __name__ == "__main__":
    sys.exit(main())
