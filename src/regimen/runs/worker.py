"""The worker: `python -m regimen.runs.worker <run directory>` does the work that the frozen config.yaml describes.

It reads nothing else, says how it ended in `result.json` or `logs/error.json`, and leaves judging to the supervisor.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from regimen.runs import outcome, worker_group
from regimen.runs.files_read import record_files_read
from regimen.runs.record import RecordError
from regimen.runs.run import Run
from regimen.runs.timeouts import ORPHAN_GRACE_S
from regimen.system import distributed, files, host, signals
from regimen.system.errors import DivergedError, RegimenError, StopRequested
from regimen.system.seeding import own_seed, seed_all
from regimen.system.torch_import import postpone_compiler

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> int:
    """Work on the run named on the command line; return the exit code."""
    faulthandler.enable()
    began = time.monotonic()
    try:
        run = worker_group.open_run(Path(sys.argv[1]))
    except (IndexError, RegimenError) as error:
        print(f"usage: python -m regimen.runs.worker <run directory>\n{error}", file=sys.stderr)
        return outcome.EXIT_BAD_INPUT
    record_models = record_files_read(run) if run.leads else None
    _handle_signals(run)
    watch = _SupervisorWatch(run) if _is_supervised() else None
    code = _account(run, record_models)
    if watch and watch.orphaned and run.leads:
        worked_s = time.monotonic() - began
        end = outcome.judge(run, code)
        if watch.stopped_work and end.reason.startswith("stopped by "):  # a signal of this process, and of no other
            after = end.reason.partition("SIGTERM")[2].lstrip(", ")
            end = replace(end, signal=None, reason=f"the supervisor was killed, and the work stopped {after}")
        outcome.record_end(
            run,
            end,
            lambda record: setattr(record, "wall_s", round(record.wall_s + worked_s, 3)),
        )
    return code


def _is_supervised() -> bool:
    """Return whether a supervisor started this process; keep the run's lock from the processes it starts itself."""
    lock = os.environ.pop("REGIMEN_SUPERVISED", None)
    if lock and distributed.world_size() == 1:  # between several workers and the supervisor stands torch's launcher
        os.set_inheritable(int(lock), False)
    return bool(lock) or distributed.world_size() > 1


def _account(run: Run, record_models: Callable[[], None] | None) -> int:
    """Work, and turn whatever ends it into `logs/error.json` and an exit code."""
    try:
        _work(run, record_models)
    except Exception as error:
        _record_gpu_memory(run)
        account = _describe(run, error)
        _print_error(error, account)
        _keep_dump(run, error)
        worker_group.write_error(run, account)
        distributed.destroy_process_group()  # after the record: the loss of this worker fails the others
        end = outcome.judge(run, outcome.EXIT_FAILED)
        run.close_loggers(end.status)
        return end.exit_code
    _record_gpu_memory(run)
    distributed.destroy_process_group()
    run.close_loggers(outcome.judge(run, 0).status)
    return 0


def _work(run: Run, record_models: Callable[[], None] | None) -> None:
    """Set up the process before anything heavy is imported, then call the stage."""
    if run.leads:
        _record_software(run)
    set_threads((run.config.get("hardware") or {}).get("threads"))
    from regimen.config.structured import load_config
    from regimen.config.targets import resolve
    from regimen.runs.loggers.forwarder import open_loggers

    postpone_compiler()
    config = load_config(run.config_path)
    seed_all(own_seed(config.seed))
    if run.leads:
        run.nan_dump.unlink(missing_ok=True)  # of an earlier attempt
        run.loggers = open_loggers(config.logger, run)
    if getattr(config.sim, "MUJOCO", False):
        keep_mujoco_log(run.logs / "mujoco.txt")
    if record_models:
        record_models()
    distributed.init_process_group(config.hardware.device)
    resolve(config.stage._target_)(config.stage)(run, config)


def _record_software(run: Run) -> None:
    """Record interpreter and packages of this process; warn if a resumed run has others, or another commit."""
    versions = host.versions()
    with suppress(OSError, RecordError):  # a full disk, or a record that was removed: the end is recorded without it
        attempts = run.change(lambda record: record.work(sys.executable, versions)).attempts
        if len(attempts) > 1 and (differences := host.differences(*attempts[-2:])):
            print(f"warning: the code is not that of the last attempt: {', '.join(differences)}", flush=True)


def set_threads(threads: int | None) -> None:
    """Limit the threads of numerical libraries, and how long an idle one spins before it sleeps.

    Measured with PPO on h1_flat, 2 cores: GNU OpenMP's default spin is as fast as this on a quiet machine and collapses
    on a busy one; OMP_WAIT_POLICY=passive costs a quarter of the speed on a quiet one.
    """
    for name in THREAD_VARIABLES:
        if threads is not None:
            os.environ[name] = str(threads)
        else:
            os.environ.setdefault(name, str(host.cores()))
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def keep_mujoco_log(path: Path) -> None:
    """Have MuJoCo write its warnings to `path` instead of MUJOCO_LOG.TXT in the working directory."""
    import mujoco

    log = mujoco.MjLogConfig.get()
    log.logfile = str(path)
    mujoco.MjLogConfig.set(log)


def _handle_signals(run: Run) -> None:
    """Turn the first signal into a request to stop; SIGTERM after SIGINT (a second Ctrl-C) ends at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if run.stop_signal is None:
            run.stop_signal = number
        elif run.stop_signal == signal.SIGINT and number == signal.SIGTERM:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in signals.FORWARDED:
        signal.signal(number, on_signal)


class _SupervisorWatch:
    """Waits for the end of stdin, which is the end of the supervisor, then asks the work to stop.

    Attributes:
        orphaned: whether the supervisor has vanished.
        stopped_work: whether the work was asked to stop for that, not by a signal from outside.
    """

    def __init__(self, run: Run) -> None:
        self.orphaned = self.stopped_work = False
        self._run = run
        self._pipe = os.dup(0)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        threading.Thread(target=self._wait, name="supervisor-watch", daemon=True).start()

    def _wait(self) -> None:
        signal.pthread_sigmask(
            signal.SIG_BLOCK, signals.FORWARDED
        )  # they must wake the main thread, where they are handled
        while os.read(self._pipe, 1):
            pass
        self.orphaned = True
        if self._run.stop_signal is None:
            self.stopped_work = True
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_GRACE_S)
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _describe(run: Run, error: Exception) -> dict[str, Any]:
    no_space = files.is_no_space(error)
    message = str(error)
    if no_space and not isinstance(error, RegimenError):
        message = f"{files.no_space_message(run.dir)}. Free some space, then resume."
    account = {"kind": type(error).__name__, "message": message, "no_space": no_space}
    if isinstance(error, StopRequested):
        return {**account, "signal": error.signal, "step": error.step}
    return {**account, "traceback": "".join(traceback.format_exception(error))}


def _keep_dump(run: Run, error: Exception) -> None:
    """Write what an environment kept of the steps before a value that is not finite."""
    if not isinstance(error, DivergedError) or error.dump is None:
        return
    try:
        error.dump.write(run.nan_dump, run.id)
        run.artifact(run.nan_dump, "NaN dump")
    except OSError as failure:
        print(f"warning: the NaN dump was not written: {failure}", file=sys.stderr)


def _record_gpu_memory(run: Run) -> None:
    """Record the most GPU memory that torch reserved in this process, if it used a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not run.leads or not torch.cuda.is_initialized():
        return
    peak = round(torch.cuda.max_memory_reserved() / 2**30, 3)
    with suppress(OSError, RecordError):  # a full disk, or a record that was removed: the end is recorded without it
        run.change(lambda record: setattr(record, "peak_gpu_gib", max(record.peak_gpu_gib or 0.0, peak)))


def _print_error(error: Exception, account: dict[str, Any]) -> None:
    """Show the error: a message written for the user as it is, anything else with its traceback."""
    if isinstance(error, StopRequested):
        return  # the supervisor reports it in its last line
    if isinstance(error, RegimenError):
        text = f"{type(error).__name__.removesuffix('_')}: {error}\n"
    else:
        text = account["traceback"]
    try:
        sys.stderr.write(text)
    except OSError:  # a full disk: the same words are in error.json
        return


if __name__ == "__main__":
    distributed.exit_process(main())
