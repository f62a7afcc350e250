"""The scalars of a run: one line of `metrics.jsonl` and one TensorBoard event per call, rewindable on resume.

TensorBoard's own record writer encodes the events, but the file is opened and closed here for each of them:
`SummaryWriter` buffers in a thread, and what it holds is lost when a worker is killed with SIGKILL.
"""

from __future__ import annotations

import json
import math
import socket
import time
from pathlib import Path
from typing import Any, Protocol

from regimen.system import json_lines
from regimen.system.files import open_own, plain, write_atomic


class MetricSink(Protocol):
    """Receiver of the scalars of a run beside `MetricsLog`; called by the one worker that writes the run's files."""

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Receive the metrics of one step, after they stand in metrics.jsonl.

        Args:
            step: environment steps per env so far.
            metrics: name -> value.
        """
        ...

    def rewind(self, step: int) -> None:
        """Drop everything after `step`, after metrics.jsonl was rewound to it.

        Args:
            step: the checkpoint's step; -1 for a run from the beginning.
        """
        ...

    def close(self, status: str) -> None:
        """Finish within bounded time.

        Args:
            status: `finished`, `failed`, `killed`, `preempted` or `diverged`.
        """
        ...


class MetricsLog:
    """Writer of the scalars under a run directory; nothing is opened before the first `write`."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: the run directory."""
        self.path = folder / "metrics.jsonl"
        self._events = EventFiles(folder / "tb")
        self._start = time.monotonic()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Append the metrics of one step, visible to readers at once.

        Args:
            step: environment steps per env so far.
            metrics: name -> value; a non-finite value is kept as null in the file and as it is in TensorBoard.
        """
        values = {name: float(value) for name, value in metrics.items()}
        row = {"step": int(step), "time_s": round(time.monotonic() - self._start, 3), **plain(values)}
        with open_own(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")
        self._events.write(int(step), values)

    def rewind(self, step: int) -> None:
        """Remove the rows after `step`: a resumed run writes those steps again.

        Args:
            step: the checkpoint's step; its own row is kept.
        """
        if self.path.exists():
            kept = (line.rstrip(b"\n") + b"\n" for line in json_lines.lines(self.path) if _step_of(line) <= step)
            write_atomic(self.path, kept)
        self._events.rewind(step)

    def rows(self) -> list[dict[str, Any]]:
        """Return what was written so far, oldest first; empty before the first `write`."""
        return [row for row in json_lines.rows(self.path) if json_lines.number_of(row, "step") is not None]


class EventFiles:
    """Writer of scalars for TensorBoard in a folder of its own; nothing is opened before the first `write`."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: receives the event files; made at the first `write`, below an existing one."""
        self._folder = folder
        self._file: Path | None = None
        self._purge_step: int | None = None

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append the scalars of one step, visible to readers at once.

        Args:
            step: environment steps per env so far.
            values: name -> value.
        """
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        if self._file is None:
            self._begin()
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        self._append(Event(wall_time=time.time(), step=step, summary=summary))

    def rewind(self, step: int) -> None:
        """Have TensorBoard drop everything after `step` with the next `write`, which begins a new file."""
        self._purge_step = step + 1
        self._file = None

    def _begin(self) -> None:
        """Begin a new file; after a rewind it makes TensorBoard drop later steps of earlier files."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self._folder.mkdir(exist_ok=True)
        self._file = self._folder / f"events.out.tfevents.{time.time_ns() / 1e9:.6f}.{socket.gethostname()}"
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if self._purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=time.time(), step=self._purge_step, session_log=start))

    def _append(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        assert self._file is not None
        with open_own(self._file, "ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def _step_of(line: bytes) -> float:
    """Return the step of a row; infinite for a line that is damaged or cut."""
    step = json_lines.number_of(json_lines.parse(line) or {}, "step")
    return math.inf if step is None else step
