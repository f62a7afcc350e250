"""Metrics in Trackio: a database on this machine that `trackio show` displays, without an account and a network."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regimen.runs.loggers.logger import Row
    from regimen.runs.run import Run

OFFLINE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Variables that would send the metrics to another machine."""


@dataclass
class TrackioRunCfg:
    """One Trackio run for each run, with its id as name, also after a resume.

    Attributes:
        project: Trackio project, which is one database.
        folder: of the databases; null: that of Trackio, `TRACKIO_DIR` or `~/.cache/huggingface/trackio`.
    """

    _target_: str = "regimen.runs.loggers.trackio_run.TrackioRun"
    project: str = "regimen"
    folder: str | None = None

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with the settings, and whether Trackio is missing."""
        from regimen.runs.loggers.logger import not_installed

        lines = not_installed(config, "trackio", "trackio")
        if not self.project or not all(c.isalnum() or c in "-_ ." for c in self.project):
            lines.append(f"project={self.project}: expected letters, digits, spaces, `-`, `_` or `.`.")
        return lines


class TrackioRun:
    """Configuration, metrics by step, and the headline as the last row.

    Trackio keeps every row that it was sent, so steps that it has are not sent again: a resumed training repeats them
    bit for bit.
    """

    def __init__(self, cfg: TrackioRunCfg, run: Run) -> None:
        """Args: cfg: where to; run: what is logged."""
        self._cfg, self._run = cfg, run
        self._held: set[int] = set()

    def open(self) -> None:
        """Open the database, and find the steps of an earlier attempt."""
        from regimen.runs.loggers.logger import about

        os.environ.update(OFFLINE)
        for name in REMOTE:
            os.environ.pop(name, None)
        if self._cfg.folder is not None:
            os.environ["TRACKIO_DIR"] = os.path.abspath(os.path.expanduser(self._cfg.folder))
        trackio: Any = importlib.import_module("trackio")
        storage: Any = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
        project, facts = self._cfg.project, about(self._run)
        self._held = {
            int(row["step"]) for row in storage.get_logs(project, self._run.id) if row.get("step") is not None
        }
        self._trackio = trackio.init(
            project=project,
            name=self._run.id,
            group=facts.get("sweep") or facts.get("task"),
            config={**self._run.config, "run": facts},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def rewind(self, step: int | None) -> None:
        """Trackio keeps what it has; the rows that are missing follow."""

    def write(self, rows: list[Row]) -> None:
        """Send what Trackio does not have yet."""
        from regimen.runs.loggers.logger import values

        for row in rows:
            if row["step"] not in self._held:
                self._held.add(row["step"])
                self._trackio.log(values(row), step=row["step"])

    def close(self, status: str, headline: dict[str, float]) -> None:
        """Add headline and status at the step after the last, and wait until all is in the database."""
        if headline and status == "finished":
            last = max(self._held, default=0)
            self._trackio.log({f"headline/{name}": value for name, value in headline.items()}, step=last + 1)
        self._trackio.finish()
