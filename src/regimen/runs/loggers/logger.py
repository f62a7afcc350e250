"""Protocol of loggers, which receive metrics from `regimen.runs.loggers.forward`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

from regimen.system import host

if TYPE_CHECKING:
    from regimen.runs.run import Run

Row = dict[str, Any]
"""A line of metrics.jsonl: `step`, `time_s`, and value by metric name, None where it was not finite."""


class Logger(Protocol):
    """Receives the metrics of one run, in the forwarding process; any exception switches it off.

    `X(cfg, run)` is made of the dataclass `XCfg` of the same module, which may define `problems(config)`.
    """

    def open(self) -> None:
        """Connect, and find what an earlier attempt at the run has left there."""
        ...

    def rewind(self, step: int | None) -> None:
        """Drop the rows after `step` if possible; all rows up to it follow, and fill gaps.

        Args:
            step: the checkpoint's step; None where nothing is known to be void.
        """
        ...

    def write(self, rows: list[Row]) -> None:
        """Take rows, oldest first; those it has already, it leaves out."""
        ...

    def close(self, status: str, headline: dict[str, float]) -> None:
        """Say how the run ended and wait until all is sent.

        Args:
            status: of the run.
            headline: its few figures, empty where it has none.
        """
        ...


def values(row: Row) -> dict[str, float]:
    """Return the finite metrics of a row."""
    return {name: v for name, v in row.items() if name not in ("step", "time_s") and v is not None}


def about(run: Run) -> dict[str, Any]:
    """Return what a tracker shows of a run beside its metrics: text by name."""
    record = run.record
    known = {
        "run": run.id,
        "dir": str(run.dir),
        "name": record.name,
        **{group: record.choices.get(group) for group in ("stage", "task", "agent", "sim")},
        "seed": record.seed,
        "overrides": " ".join(record.overrides),
        "parents": " ".join(record.parents),
        "tags": " ".join(record.tags),
        "sweep": record.sweep,
        "commit": record.git.commit if record.git else None,
    }
    return {name: str(value) for name, value in known.items() if value not in (None, "")}


def not_installed(config: dict[str, Any], extra: str, *modules: str) -> list[str]:
    """Return a line if the Python that works on the run lacks a package of a chosen logger.

    Args:
        config: the whole configuration, plain data.
        extra: of this project, that installs them.
        modules: that must be importable.
    """
    python = host.interpreter(config)
    if python == sys.executable:
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
    else:
        missing = _missing_in(python, modules)
    if not missing:
        return []
    return [f"{', '.join(missing)} not installed in {python}. Type: {python} -m pip install -e '.[{extra}]'"]


def _missing_in(python: str, modules: tuple[str, ...]) -> list[str]:
    code = "import sys; from importlib.util import find_spec; print(*(m for m in sys.argv[1:] if not find_spec(m)))"
    try:
        done = subprocess.run([python, "-c", code, *modules], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []  # preflight says what is wrong with that interpreter
    return done.stdout.split()
