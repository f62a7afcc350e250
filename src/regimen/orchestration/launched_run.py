"""A run started from Python: its record, and the supervisor that works on it meanwhile."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from regimen.display.console import say
from regimen.orchestration import repeated_run
from regimen.orchestration.supervisor_pool import SupervisorPool
from regimen.runs import code_snapshot
from regimen.runs.history.run_view import RunView, open_view_dir
from regimen.runs.outcome import not_started
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.supervisor import supervise
from regimen.system.errors import ConfigError, RegimenError, raise_if_any
from regimen.system.secrets import redacted

POLL_S = 0.2


class LaunchedRun(Run):
    """A run that was started from Python.

    Its supervisor is a separate process: the run continues when the process that started it ends, and
    `regimen.open_run(run.id)` finds it again.
    """

    def __init__(self, folder: Path, supervisors: SupervisorPool | None = None) -> None:
        """Args: folder: an existing run directory; supervisors: where that of this run belongs, by default its own."""
        super().__init__(folder)
        self._supervisors = supervisors or SupervisorPool()

    def start(self) -> None:
        """Start the supervisor and return; what it prints goes to logs/supervisor.log."""
        self._supervisors.start(self)

    @property
    def is_open(self) -> bool:
        """Whether the run works or waits for its turn, or its supervisor has not ended yet."""
        for _ in self._supervisors.ended():  # corrects the record of a supervisor that could not write it
            pass
        return self.id in self._supervisors.running or self.view().status.is_open

    def view(self) -> RunView:
        """Return the run as its files describe it now: status, progress, metrics, result."""
        return open_view_dir(self.dir)

    def wait(self, timeout_s: float | None = None) -> Status:
        """Wait until the run has ended; return its status, such as `finished` or `failed`.

        Ctrl-C ends the waiting, not the run.

        Args:
            timeout_s: longest wait in seconds; None waits without a limit.

        Raises:
            TimeoutError: the run is still open.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self.is_open:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"run {self.id} is still {self.status} after {timeout_s:g} s")
            time.sleep(POLL_S)
        return self.view().status

    def stop(self) -> None:
        """Ask the work to save a checkpoint and to end, as Ctrl-C does: `wait` returns when it has.

        Raises:
            RegimenError: the run belongs to a scheduler, or to another process.
        """
        if not self.is_open:
            return
        if self.id not in self._supervisors.running:
            raise RegimenError(
                f"Run {self.id} is not worked on by this process. Stop it with: regimen cancel {self.id}"
            )
        self._supervisors.on_signal(signal.SIGINT)


def launch(arguments: Sequence[str], root: Path, config_dirs: Sequence[Path], wait: bool) -> LaunchedRun:
    """Start one run, as `regimen launch` does; see `regimen.launch`.

    Args:
        arguments: `key=value`, without sweeps.
        root: folder of the runs.
        config_dirs: folders of options beside those of the current folder.
        wait: whether to return when the run has ended.

    Raises:
        ConfigError: the configuration is wrong, or this machine cannot do it; nothing was started.
        PreflightError: the run directory cannot be made.
    """
    from regimen.config.compose import compose  # Hydra, which a look at a run does not need
    from regimen.config.groups import config_home
    from regimen.orchestration.new_run import check_scheduler, create_run
    from regimen.orchestration.preflight import preflight

    composed = compose(list(arguments), [config_home(), *config_dirs])
    if composed.config.dry_run:
        raise ConfigError("dry_run=true starts no run: regimen.compose checks a configuration without starting it.")
    report = preflight(composed, root)
    check_scheduler([composed])
    for line in dict.fromkeys(report.warnings):
        say(f"warning: {line}")
    scheduled = composed.config.hardware.scheduler
    status, code = Status.RUNNING, None
    if scheduled:
        status, code = Status.QUEUED, str(code_snapshot.take(composed.plain))
    run = LaunchedRun(create_run(composed, root, report, status=status, code=code).dir)
    argv = ["launch.py", *map(redacted, composed.overrides)]
    run.change(lambda record: setattr(record, "argv", argv))
    with not_started(run):
        if scheduled:
            _submit(run, wait)
        elif not wait:
            run.start()
        elif threading.current_thread() is threading.main_thread():
            supervise(run)
        else:  # where signals cannot be handled
            run.start()
            run.wait()
    return run


def _submit(run: LaunchedRun, wait: bool) -> None:
    """Give a run to its scheduler, and wait for its end if asked."""
    from regimen.orchestration.slurm import submit
    from regimen.orchestration.slurm.wait import wait as wait_for

    submit.submit([run])
    if wait:
        wait_for([run])


def start_again(run: RunView, supervisors: SupervisorPool | None = None) -> LaunchedRun:
    """Repeat a run as `regimen rerun` does, in the background or on its scheduler; return the new run.

    Args:
        run: the original; `repeated_run.cautions` has the reasons why its result may differ.
        supervisors: where that of the new run belongs, by default its own.

    Raises:
        RunReferenceError: it cannot be repeated.
    """
    for _ in repeated_run.cautions(run):
        pass  # raises where an input is gone
    scheduled = repeated_run.is_scheduled(run.config)
    if scheduled:
        from regimen.orchestration.slurm.submit import check, submit

        raise_if_any(check([run.config]))
    again = LaunchedRun(repeated_run.create(run, ["regimen", "rerun", run.id]).dir, supervisors)
    with not_started(again):
        if scheduled:
            submit([again])
        else:
            again.start()
    return again
