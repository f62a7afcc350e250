"""One run as the views see it: its record, its configuration, and whether the files it names are still the same."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from regimen.config.yaml_io import flatten
from regimen.runs import inputs, judgements
from regimen.runs.index import liveness
from regimen.runs.index.summary import RunSummary, summary
from regimen.runs.judgements import Criterion, Judgement
from regimen.runs.metrics import MetricsLog
from regimen.runs.record import FILE, RecordError, RunRecord
from regimen.runs.record_parts import InputEntry
from regimen.runs.references import resolve_run
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.errors import RunReferenceError

UNCHANGED, CHANGED, GONE = "unchanged", "CHANGED since", "gone"


@dataclass(frozen=True)
class RunView:
    """A run that is looked at, not worked on.

    Attributes:
        dir: its directory, absolute.
        record: the content of run.json.
    """

    dir: Path
    record: RunRecord

    @property
    def id(self) -> str:
        """The name of its directory."""
        return self.dir.name

    @cached_property
    def row(self) -> RunSummary:
        """Its summary in a list of runs."""
        row = summary(self.id, str(self.dir), self.record)
        liveness.judge([row])
        return row

    @property
    def status(self) -> Status:
        """The recorded status, or `lost` for a run recorded as `running` that no process works on."""
        return self.row.status

    @property
    def choices(self) -> dict[str, str]:
        """Group -> option, such as task -> reach."""
        return self.record.choices

    @property
    def inputs(self) -> dict[str, InputEntry]:
        """Name -> file that it read."""
        return self.record.inputs

    @property
    def headline(self) -> dict[str, float | None]:
        """Its few headline figures."""
        return self.record.headline

    @property
    def where(self) -> str:
        """Its directory, relative to the current one."""
        return os.path.relpath(self.dir)

    @property
    def label(self) -> str:
        """Its name, if it has one, and its id."""
        return f"{self.record.name} ({self.id})" if self.record.name else self.id

    @cached_property
    def config(self) -> dict[str, Any]:
        """The frozen configuration; empty where its file is missing or cannot be read."""
        with suppress(RunReferenceError):
            return Run(self.dir).config
        return {}

    @property
    def progress(self) -> dict[str, Any]:
        """How far the work is, such as `iteration`, `iterations`, `samples`, `eta_s`; a stage reports some of them."""
        return files.read_json(self.dir / "progress.json") or {}

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json; empty before the run has finished."""
        return files.read_json(self.dir / "result.json") or {}

    def metrics(self) -> list[dict[str, Any]]:
        """Return all rows logged so far: `step` (env steps per env), `time_s` and the metrics by name."""
        return MetricsLog(self.dir).rows()

    def judgements(self) -> list[Judgement]:
        """Return the evaluations of the checkpoints of a training that was evaluated alongside, by step."""
        return judgements.read(self.dir)

    @property
    def criterion(self) -> Criterion | None:
        """The figure by which these checkpoints are compared; None for a run without such an evaluation."""
        return judgements.criterion(self.config)

    @property
    def patch(self) -> bytes:
        """The changes that were not committed, empty where there were none."""
        with suppress(OSError):
            return files.read_bytes(self.dir / "code.patch")
        return b""

    def input_state(self, name: str, read_all: bool = False) -> str:
        """Return the state of an input since this run read it: `UNCHANGED`, `CHANGED`, `GONE`, or why it is unclear.

        Args:
            name: of the input.
            read_all: read large files, too.
        """
        entry = self.inputs[name]
        return file_state(Path(entry.path), entry.sha256, self.record.started, read_all)


def open_view(reference: str) -> RunView:
    """Return the run that a reference names.

    Raises:
        RunReferenceError: no run or several runs are meant, or its record cannot be read.
    """
    return open_view_dir(resolve_run(reference))


def open_view_dir(folder: Path) -> RunView:
    """Return the run in a directory.

    Raises:
        RunReferenceError: its record cannot be read.
    """
    try:
        return RunView(folder.resolve(), Run(folder).record)
    except RecordError as error:
        raise RunReferenceError(
            f"The record {os.path.relpath(folder / FILE)} cannot be read: {error}. "
            "Its other files are whole: look into config.yaml, logs/ and checkpoints/."
        ) from error


def file_state(path: Path, sha256: str | None, since: str | None, read_all: bool = False) -> str:
    """Return how a file stands to its recorded checksum.

    Args:
        path: the file.
        sha256: as recorded, if it was.
        since: time of the record, ISO; decides for a large file that is not read.
        read_all: read large files, too.
    """
    try:
        path.stat()
        if not sha256:
            return "there, no checksum recorded"
        if inputs.is_large(path) and not read_all:
            older = since is not None and not inputs.written_since(path, since)
            return "not written since, not read (--verify reads it)" if older else "written since, --verify reads it"
        return UNCHANGED if files.remembered_sha256(path) == sha256 else CHANGED
    except FileNotFoundError:
        return GONE
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def settings(run: RunView) -> dict[str, Any]:
    """Return dotted key -> value of the configuration; choices such as `task` stand under their own name."""
    config = {key: value for key, value in run.config.items() if key not in ("choices", "resume")}
    return {**run.choices, **dict(flatten(config))}
