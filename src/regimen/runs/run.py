"""The run: one execution of one stage, whose state is the files of one directory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from regimen.config.yaml_io import parse_yaml
from regimen.runs.metrics import MetricSink, MetricsLog
from regimen.runs.record import FILE, RecordError, RunRecord, read_record
from regimen.runs.record_parts import Artifact
from regimen.runs.status import Status
from regimen.system import distributed, files, json_lines
from regimen.system.errors import RunReferenceError, StopRequested

PROGRESS_INTERVAL_S = 0.5


class Run:
    """A run directory, seen from the supervisor or from the worker.

    Attributes:
        dir: the directory, absolute.
        id: its name, unique.
        stop_signal: number of the signal that asked the work to stop, or None. Set by the worker's handlers.
        loggers: receivers of metrics beside TensorBoard; empty unless the worker assigns some.
        leads: whether this process keeps the record; false in all workers of a run but the first.
    """

    leads = True

    def __init__(self, folder: Path) -> None:
        """Args: folder: an existing run directory; see `create_run_dir` and `Run.open`."""
        self.dir = folder.resolve()
        self.id: str = self.dir.name
        self.stop_signal: int | None = None
        self.loggers: list[MetricSink] = []
        self._metrics = MetricsLog(self.dir)
        self._progress: dict[str, Any] = {}
        self._progress_due = 0.0

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open an existing run, to work in it, resume it or read it.

        Raises:
            RunReferenceError: there is no whole run at `folder`.
        """
        if files.read_json(folder / FILE) is None or not (folder / "config.yaml").exists():
            raise RunReferenceError(
                f"{folder} is not a run: it has no readable run.json and config.yaml. "
                "Expected a run directory, such as one of outputs/* or multirun/*/*."
            )
        return cls(folder)

    @property
    def config_path(self) -> Path:
        """File of the frozen configuration."""
        return self.dir / "config.yaml"

    @property
    def config(self) -> dict[str, Any]:
        """The frozen configuration as plain data, read at each access; `structured.load_config` returns it typed.

        Raises:
            RunReferenceError: its file is missing, no mapping in YAML, or cannot be read.
        """
        try:
            config = parse_yaml(files.read_bytes(self.config_path).decode()) or {}
            if not isinstance(config, dict):
                raise ValueError(f"it holds a {type(config).__name__} instead of settings")
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            why = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise RunReferenceError(f"{os.path.relpath(self.config_path)} cannot be read: {why}.") from error
        return config

    @property
    def logs(self) -> Path:
        """Folder of the worker's output and of its last error."""
        return self.dir / "logs"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints; absent before the first one."""
        return self.dir / "checkpoints"

    @property
    def nan_dump(self) -> Path:
        """File of the steps before a value that was not finite; absent in runs without one."""
        return self.dir / "nan_dump.npz"

    @property
    def reserve(self) -> Path:
        """File whose space is given up on a full disk, so that the record can be completed."""
        return self.dir / ".reserve"

    @property
    def record(self) -> RunRecord:
        """The content of run.json, read at each access; see `record.read_record` for a directory that may be no run.

        Raises:
            RecordError: there is no run.json, or it cannot be read.
        """
        data = files.read_json(self.dir / FILE)
        if data is None:
            raise RecordError("expected one JSON object")
        return RunRecord.from_dict(data)

    @property
    def status(self) -> Status:
        """As recorded; `unreadable` without a record that can be read."""
        record = read_record(self.dir)
        return Status.UNREADABLE if record is None else record.status

    def change(self, alter: Callable[[RunRecord], object]) -> RunRecord:
        """Alter the record and write it atomically, while no one else may write; return it.

        Args:
            alter: changes the record that it is given.

        Raises:
            RecordError: there is no run.json, or it cannot be read.
        """
        with files.locked(self.dir / ".lock"):
            record = self.record
            alter(record)
            files.write_json(self.dir / FILE, record.to_dict(), self.reserve)
        return record

    def warn(self, text: str) -> None:
        """Print a warning and keep it in the record.

        Args:
            text: one line.
        """
        print(f"warning: {text}", flush=True)
        self.change(lambda record: record.warnings.append(text))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write scalars to TensorBoard, metrics.jsonl and the chosen loggers.

        Args:
            step: environment steps per env so far.
            metrics: name -> value.
        """
        self._metrics.write(step, metrics)
        for logger in self.loggers:
            logger.write(step, metrics)

    def metrics(self) -> list[dict[str, Any]]:
        """Return all rows logged so far: `step`, `time_s` and the metrics; for learning curves."""
        return self._metrics.rows()

    def rewind(self, step: int) -> None:
        """Remove metrics after `step`, because the work continues from there (-1: from the beginning)."""
        self._metrics.rewind(step)
        for logger in self.loggers:
            logger.rewind(step)

    def close_loggers(self, status: Status) -> None:
        """Have the loggers receive what is left and the end of the run; bounded in time.

        Args:
            status: `finished`, `failed`, `killed`, `preempted` or `diverged`.
        """
        for logger in self.loggers:
            logger.close(status)

    def progress(self, **fields: Any) -> None:
        """Report progress to the supervisor; written at most every half second.

        Args:
            fields: some of iteration, iterations, samples, samples_per_s, return_mean, episode_length, eta_s, note.
        """
        self._progress.update(fields)
        if time.monotonic() >= self._progress_due:
            self._flush_progress()

    def check_stop(self, step: int, save: Callable[[], Any]) -> None:
        """Stop here if a signal asked for it, after saving.

        Args:
            step: environment steps per env so far.
            save: writes the checkpoint of this very step.

        Raises:
            StopRequested: a signal had come; the checkpoint is written.
        """
        signal = distributed.sync_stop_signal(self.stop_signal)
        if signal is not None:
            save()
            raise StopRequested(signal, step)

    def artifact(self, path: Path, kind: str) -> None:
        """Name a file of this run worth keeping; its SHA-256 is recorded when the run ends.

        Args:
            path: file inside the run directory.
            kind: `checkpoint`, `dataset`, `figure`, `video`, `table`, `judgements`, `page`, `motion`, `policy`,
                `NaN dump`.
        """
        row = {"path": str(path.resolve().relative_to(self.dir)), "kind": kind}
        with files.open_own(self.logs / "artifacts.jsonl", "a") as file:
            file.write("\n" + json.dumps(row) + "\n")  # a line cut short by a crash spoils no other

    def draw(self, name: str, draw: Callable[[Path], object]) -> None:
        """Draw a figure and name it; one that cannot be drawn is a warning, because no result depends on it.

        Args:
            name: of the file in `figures/`, such as `evaluation.png`.
            draw: writes the file that it is given, or none if there is nothing to draw.
        """
        path = self.dir / "figures" / name
        try:
            path.parent.mkdir(exist_ok=True)
            draw(path)
        except Exception as error:
            self.warn(f"figures/{name} was not drawn: {type(error).__name__}: {error}")
        else:
            if path.is_file():
                self.artifact(path, "figure")

    def artifacts(self) -> list[Artifact]:
        """Return the named files that exist, with sizes and checksums."""
        rows = json_lines.rows(self.logs / "artifacts.jsonl")
        kinds = {row["path"]: row["kind"] for row in rows if (self.dir / row["path"]).is_file()}
        return [
            Artifact(path, kind, file.stat().st_size, files.sha256(file))
            for path, kind in sorted(kinds.items())
            for file in [self.dir / path]
        ]

    def finish(self, headline: dict[str, float], result: dict[str, Any]) -> None:
        """Declare the work done: without this call an ended worker counts as failed.

        Args:
            headline: the few figures shown in lists of runs.
            result: everything worth reading later; written to result.json together with the headline.
        """
        self._flush_progress()
        files.write_json(self.dir / "result.json", {"headline": headline, **result}, self.reserve)

    def write_error(self, error: dict[str, Any]) -> None:
        """Leave the worker's account of its end for the supervisor, even on a full disk."""
        files.write_json(self.logs / "error.json", error, self.reserve)

    def _flush_progress(self) -> None:
        self._progress_due = time.monotonic() + PROGRESS_INTERVAL_S
        try:
            files.write_json(self.dir / "progress.json", self._progress, durable=False)
        except OSError as error:  # a display is no reason to end the work; the next checkpoint is
            if not files.is_no_space(error):
                raise
