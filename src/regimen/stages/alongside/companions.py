"""The companions of a training: given its checkpoints, started and ended with it, started again where they died."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.runs import checkpoint, judgements
from regimen.stages.alongside import waiting
from regimen.system import files, host, signals
from regimen.system.errors import StopRequested

if TYPE_CHECKING:
    from regimen.display.intervals import Figure
    from regimen.runs.run import Run

MODULE = "regimen.stages.alongside.companion"

FAILURES = 3
"""Ends in a row of one companion without a judgement, after which it is not started again."""

POLL_S = 0.1
OF_A_GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK")
"""Variables of a worker among several, which a companion is not."""


@contextmanager
def companions_of(run: Run, every: int | None) -> Iterator[Companions | None]:
    """Start the evaluation alongside a training, and end it with the training; yield None where there is none.

    Args:
        run: of the training; only the worker that writes the record starts any.
        every: env steps per env between two evaluated checkpoints; None: none is evaluated.
    """
    if every is None or not run.leads:
        yield None
        return
    companions = Companions(run)
    try:
        companions.start()
        yield companions
    finally:
        companions.stop()


class Companions:
    """The companions of a training, one for each simulator; in the worker that writes the record.

    A companion that fails leaves the training alone: the failure is a warning in the record.

    Attributes:
        problem: why an evaluation ended before the training, for its last line; None while all work.
    """

    def __init__(self, run: Run) -> None:
        """Start nothing yet.

        Args:
            run: of the training.
        """
        self.problem: str | None = None
        self._run, self._config = run, run.config
        self._cfg: dict[str, Any] = self._config["stage"]["evaluation"]
        criterion = judgements.criterion(self._config)
        assert criterion is not None
        self._criterion = criterion
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._failures: dict[str, int] = {}
        self._judged: dict[str, int] = {}

    def start(self) -> None:
        """Start all companions; checkpoints that wait since an earlier attempt are evaluated first."""
        for sim in waiting.sims_of(self._config):
            waiting.folder(self._run, sim).mkdir(parents=True, exist_ok=True)
            self._failures[sim] = 0
            self._start(sim)

    def links(self, step: int, before: int) -> list[Path]:
        """Return the names under which the checkpoint of `step` waits; none if it is not to be evaluated.

        Args:
            step: env steps per env.
            before: those of the checkpoint before it.
        """
        every = int(self._cfg["every"])
        if step // every == before // every:
            return []
        return [waiting.file_of(self._run, sim, step) for sim in self._processes]

    def stop_reason(self) -> str | None:
        """Return why the training ends before its last step; None if it does not."""
        return self._criterion.stop_reason(judgements.read(self._run.dir, waiting.sims_of(self._config)[0]))

    def watch(self) -> None:
        """Start a companion that died again; record one that failed."""
        for sim, process in list(self._processes.items()):
            if process.poll() is not None and self._run.stop_signal is None:
                self._handle_end(sim, process)

    def finish(self, step: int) -> None:
        """Have the last checkpoint evaluated as well, and wait until none waits.

        Args:
            step: env steps per env of the training.

        Raises:
            StopRequested: a signal came; what waits is evaluated after a resume.
        """
        last = checkpoint.newest(self._run.checkpoints)
        for sim in self._processes if last is not None else ():
            judged = [row.step for row in judgements.read(self._run.dir, sim)]
            assert last is not None
            if waiting.step_of(last) not in judged:
                checkpoint.point(waiting.file_of(self._run, sim, waiting.step_of(last)), last)
        for process in self._processes.values():
            _send_finish(process)
        while True:
            self._restart_the_dead()
            running = [sim for sim, process in self._processes.items() if process.poll() is None]
            if not running:
                break
            left = sum(len(waiting.checkpoints(self._run, sim)) for sim in running)
            what = f"the last {left} checkpoints" if left > 1 else "the last checkpoint"
            self._run.progress(note=f"evaluating {what}")
            if self._run.stop_signal is not None:
                raise StopRequested(self._run.stop_signal, step)
            time.sleep(POLL_S)
        self._run.progress(note=None)
        self._run.artifact(self._run.dir / judgements.FILE, "judgements")
        shutil.rmtree(self._run.dir / waiting.FOLDER, ignore_errors=True)  # what an evaluation that failed left

    def stop(self) -> None:
        """End all companions, whatever they do."""
        for process in self._processes.values():
            _close_stdin(process)
        for process in self._processes.values():
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = {}

    def result(self, stopped: str | None) -> dict[str, Any]:
        """Return the entry `evaluation` of result.json.

        Args:
            stopped: why the training ended before its last step, if it did.
        """
        rows = judgements.read(self._run.dir)
        own = [row for row in rows if row.sim == waiting.sims_of(self._config)[0]]
        best = self._criterion.best(own)
        figure = best.overall(self._criterion.metric) if best is not None else None
        return {
            "metric": self._criterion.metric,
            "judgements": {sim: sum(row.sim == sim for row in rows) for sim in waiting.sims_of(self._config)},
            "best": None if best is None or figure is None else {"step": best.step, **figure.to_dict()},
            "stopped": stopped,
            "problem": self.problem,
        }

    def headline(self) -> dict[str, float]:
        """Return the headline figure of the best checkpoint, `judged_<metric>`; empty without one."""
        best = self._criterion.best(judgements.read(self._run.dir, waiting.sims_of(self._config)[0]))
        figure = best.overall(self._criterion.metric) if best is not None else None
        return {} if figure is None else {f"judged_{self._criterion.metric}": figure.value}

    def curves(self) -> dict[str, dict[str, list[tuple[int, Figure]]]]:
        """Return metric -> simulator -> steps with the figure over all commands, that of the criterion first."""
        return judgements.curves(judgements.read(self._run.dir), self._criterion.metric)

    def _restart_the_dead(self) -> None:
        """Start companions again that died while the training waits for them."""
        for sim, process in list(self._processes.items()):
            if process.poll() not in (None, 0):
                self._handle_end(sim, process)
                if sim in self._processes:
                    _send_finish(self._processes[sim])

    def _handle_end(self, sim: str, process: subprocess.Popen[bytes]) -> None:
        code = process.returncode
        _close_stdin(process)
        account = files.read_json(waiting.account(self._run, sim))
        judged = len(judgements.read(self._run.dir, sim))
        self._failures[sim] = 1 if judged > self._judged[sim] else self._failures[sim] + 1
        how = signals.signal_name(-code) if code < 0 else f"exit code {code}"
        if account is None and self._failures[sim] < FAILURES:
            self._run.warn(f"the evaluation in {sim} ended with {how}, and was started again")
            self._start(sim)
            return
        why = f"{account.get('error')}: {account.get('message')}" if account is not None else f"with {how}, repeatedly"
        self.problem = f"the evaluation in {sim} failed: {' '.join(why.split())}"
        self._run.warn(f"{self.problem} (logs/{waiting.log_name(sim)}.log); the training continues without it")
        del self._processes[sim]

    def _start(self, sim: str) -> None:
        run, config = self._run, waiting.config_in(self._config, sim)
        waiting.account(run, sim).unlink(missing_ok=True)
        self._judged[sim] = len(judgements.read(run.dir, sim))
        command = [host.interpreter(config), "-m", MODULE, str(run.dir), sim]
        env = {name: value for name, value in os.environ.items() if name not in OF_A_GROUP}
        with files.open_own(run.logs / f"{waiting.log_name(sim)}.log", "ab") as log:
            try:
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env)
            except OSError as error:
                self.problem = f"the evaluation in {sim} cannot be started: {error}"
                run.warn(f"{self.problem}; the training continues without it")
                self._processes.pop(sim, None)
                return
        self._processes[sim] = process


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _send_finish(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):  # it has ended
            process.stdin.write(waiting.FINISH + b"\n")
            process.stdin.flush()
