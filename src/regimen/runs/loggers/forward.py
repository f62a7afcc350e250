"""`python -m regimen.runs.loggers.forward <run directory>`: forward metrics.jsonl to the loggers of the run.

Commands are lines of JSON on stdin: `{"follow": step}` (drop later rows, then follow the file from its
beginning) and `{"close": status}`. The end of stdin without it is the end of the worker: the present rows are forwarded
without a final status, because the run may be resumed.
"""

from __future__ import annotations

import importlib
import json
import queue
import signal
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regimen.runs.loggers.logger import Logger, Row
from regimen.runs.run import Run
from regimen.system import files, json_lines, signals

INTERVAL_S = 0.5
"""Time between two looks at metrics.jsonl; what was logged in between is sent together."""


def main() -> int:
    """Forward until the command to close; return the exit code."""
    for number in signals.FORWARDED:  # meant for the worker, which sends a command
        signal.signal(number, signal.SIG_IGN)
    run = Run.open(Path(sys.argv[1]))
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    with files.locked(run.logs / ".forward"):  # an attempt that was killed may still forward
        _forward(run, commands)
    return 0


def _listen(commands: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    commands.put({"close": None})


def _forward(run: Run, commands: queue.SimpleQueue[dict[str, Any]]) -> None:
    chosen = run.config["logger"]
    outlets = [_Outlet(name, cfg, run) for name, cfg in chosen.items()]
    tail: Tail | None = None
    while True:
        try:
            command = commands.get(timeout=INTERVAL_S)
        except queue.Empty:
            command = {}
        if "follow" in command:
            tail = Tail(run.dir / "metrics.jsonl")
            for outlet in outlets:
                outlet.call("rewind", command["follow"])
        rows = tail.read() if tail else []
        for outlet in outlets:
            if rows:
                outlet.call("write", rows)
            if command.get("close"):
                headline = (files.read_json(run.dir / "result.json") or {}).get("headline", {})
                outlet.call("close", command["close"], headline)
        if "close" in command:
            return


class Tail:
    """The rows of a growing metrics.jsonl, each returned once."""

    def __init__(self, path: Path) -> None:
        """Args: path: the file, which may not exist yet."""
        self._path = path
        self._offset = 0

    def read(self) -> list[Row]:
        """Return the rows that are new since the last call; a line still being written is left for the next."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, end, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(end)
        return [row for line in whole.splitlines() if (row := json_lines.parse(line)) is not None]


class _Outlet:
    """A logger that is switched off, with one warning, by its first failure."""

    def __init__(self, name: str, cfg: dict[str, Any], run: Run) -> None:
        self._name, self._run = name, run
        self._logger: Logger | None = None
        self._guarded("start", lambda: self._open(cfg))

    def call(self, verb: str, *arguments: Any) -> None:
        """Call a method of the logger, if it is still on."""
        if self._logger is not None:
            self._guarded(verb, lambda: getattr(self._logger, verb)(*arguments))

    def _open(self, cfg: dict[str, Any]) -> None:
        from regimen.config.structured import build

        module, _, name = cfg["_target_"].rpartition(".")
        there = importlib.import_module(module)
        logger: Logger = getattr(there, name)(build(getattr(there, f"{name}Cfg"), cfg), self._run)
        logger.open()
        self._logger = logger

    def _guarded(self, verb: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._logger = None
            why = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" …")
            self._run.warn(f"logger {self._name} is off, it failed to {verb}: {why}; metrics.jsonl has every metric")


if __name__ == "__main__":
    sys.exit(main())
