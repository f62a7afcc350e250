"""The run: one execution of one stage, which is one directory whose files are the truth."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from regimen import facts, record
from regimen.errors import PreflightError, ReferenceError_, StopRequested
from regimen.metrics import MetricsLog

PROGRESS_INTERVAL_S = 0.5


class Run:
    """A run directory, seen from the supervisor or from the worker.

    Attributes:
        dir: the directory, absolute.
        id: its name, unique.
        stop_signal: number of the signal that asked the work to stop, or None. Set by the worker's handlers.
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder: an existing run directory; use `Run.create` or `Run.open`."""
        self.dir = folder.resolve()
        self.id: str = self.dir.name
        self.stop_signal: int | None = None
        self._metrics = MetricsLog(self.dir)
        self._progress: dict[str, Any] = {}
        self._progress_due = 0.0

    @classmethod
    def create(
        cls,
        root: Path,
        config: dict[str, Any],
        argv: list[str],
        overrides: list[str],
        run_id: str | None = None,
        parents: list[str] | None = None,
        inputs: dict[str, Path] | None = None,
        code: Path = Path(__file__).parent,
    ) -> Run:
        """Claim a new directory under `root` and record in it all that is known before the work starts.

        Args:
            root: folder of runs, such as `outputs`.
            config: the resolved configuration, plain data; frozen as `config.yaml`.
            argv: the command line.
            overrides: its `key=value` part.
            run_id: directory name wanted by a sweep; by default time, task, agent and four random digits.
            parents: ids of the runs this one takes its inputs from.
            inputs: name -> file it reads, such as the policy; recorded with its SHA-256.
            code: a folder of the repository whose commit and changes are recorded.

        Raises:
            PreflightError: `run_id` is taken, the disk is full, or nothing may be written there.
        """
        choices = config.get("choices") or {}
        if run_id is None:
            folder = record.claim(root, choices.get("task", ""), choices.get("agent", ""))
        else:
            folder = _claim_named(root / run_id)
        run = cls(folder)
        try:
            run._fill(config, argv, overrides, parents or [], inputs or {}, code)
        except BaseException as error:
            shutil.rmtree(run.dir, ignore_errors=True)
            if isinstance(error, OSError):
                raise record.unwritable(root, error) from error
            raise
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open an existing run, to work in it, resume it or read it.

        Raises:
            ReferenceError_: there is no whole run at `folder`.
        """
        if record.read_json(folder / "run.json") is None or not (folder / "config.yaml").exists():
            raise ReferenceError_(
                f"{folder} is not a run: it has no readable run.json and config.yaml. "
                "Expected a run directory, such as one of outputs/* or multirun/*/*."
            )
        return cls(folder)

    @property
    def config_path(self) -> Path:
        """The frozen configuration."""
        return self.dir / "config.yaml"

    @property
    def logs(self) -> Path:
        """Folder of the worker's output and of its last error."""
        return self.dir / "logs"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints; absent before the first one."""
        return self.dir / "checkpoints"

    @property
    def reserve(self) -> Path:
        """File whose space is given up on a full disk, so that the record can be completed."""
        return self.dir / ".reserve"

    @property
    def info(self) -> dict[str, Any]:
        """The content of run.json, read anew."""
        return record.read_json(self.dir / "run.json") or {}

    @property
    def status(self) -> str:
        """`running`, `finished`, `failed`, `killed`, `preempted` or `diverged`, as recorded."""
        return str(self.info.get("status"))

    def update(self, **fields: Any) -> None:
        """Replace fields of run.json atomically; safe between supervisor and worker.

        Args:
            fields: JSON data by field name.
        """
        with self._locked():
            self._write({**self.info, **fields})

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write scalars to TensorBoard and metrics.jsonl.

        Args:
            step: environment steps per env so far.
            metrics: name -> value.
        """
        self._metrics.write(step, metrics)

    def metrics(self) -> list[dict[str, Any]]:
        """Return all rows logged so far: `step`, `time_s` and the metrics; for learning curves."""
        return self._metrics.rows()

    def rewind(self, step: int) -> None:
        """Forget metrics after `step`, because the work continues from there (-1: from the beginning)."""
        self._metrics.rewind(step)

    def progress(self, **fields: Any) -> None:
        """Tell the supervisor how far the work is; written at most every half second.

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
        if self.stop_signal is not None:
            save()
            raise StopRequested(self.stop_signal, step)

    def artifact(self, path: Path, kind: str) -> None:
        """Name a file of this run worth keeping; its SHA-256 is recorded when the run ends.

        Args:
            path: file inside the run directory.
            kind: `checkpoint`, `dataset`, `figure`, `video` or `table`.
        """
        row = {"path": str(path.resolve().relative_to(self.dir)), "kind": kind}
        with (self.logs / "artifacts.jsonl").open("a") as file:
            file.write("\n" + json.dumps(row) + "\n")  # a line cut short by a crash spoils no other

    def artifacts(self) -> list[dict[str, Any]]:
        """Return path, kind, bytes and SHA-256 of the named files that exist."""
        rows = record.read_jsonl(self.logs / "artifacts.jsonl")
        kinds = {row["path"]: row["kind"] for row in rows if (self.dir / row["path"]).is_file()}
        return [
            {"path": path, "kind": kind, "bytes": file.stat().st_size, "sha256": record.sha256(file)}
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
        record.write_json(self.dir / "result.json", {"headline": headline, **result}, self.reserve)

    def write_error(self, error: dict[str, Any]) -> None:
        """Leave the worker's account of its end for the supervisor, even on a full disk."""
        record.write_json(self.logs / "error.json", error, self.reserve)

    def _fill(
        self,
        config: dict[str, Any],
        argv: list[str],
        overrides: list[str],
        parents: list[str],
        inputs: dict[str, Path],
        code: Path,
    ) -> None:
        record.keep_reserve(self.reserve)
        self.logs.mkdir()
        record.write_atomic(self.config_path, yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode())
        git, patch = facts.git(code)
        if patch:
            (self.dir / "code.patch").write_bytes(patch.encode(errors="surrogateescape"))
        read = {name: {"path": str(path), "sha256": record.sha256(path)} for name, path in inputs.items()}
        self._write(_first_record(self.id, config, argv, overrides, git) | {"parents": parents, "inputs": read})

    def _flush_progress(self) -> None:
        self._progress_due = time.monotonic() + PROGRESS_INTERVAL_S
        try:
            record.write_json(self.dir / "progress.json", self._progress, durable=False)
        except OSError as error:  # a display is no reason to end the work; the next checkpoint is
            if not record.is_no_space(error):
                raise

    def _write(self, data: dict[str, Any]) -> None:
        record.write_json(self.dir / "run.json", data, self.reserve)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self.dir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _claim_named(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except OSError as error:
        if not folder.is_dir():
            raise record.unwritable(folder.parent, error) from error
        raise PreflightError(
            f"The run directory {folder} exists already. Choose another name, or continue that run: "
            f"python launch.py resume={folder}"
        ) from None
    return folder


def _first_record(
    run_id: str,
    config: dict[str, Any],
    argv: list[str],
    overrides: list[str],
    git: dict[str, Any] | None,
) -> dict[str, Any]:
    choices = config.get("choices") or {}
    return {
        "format": 1,
        "id": run_id,
        "name": config.get("name"),
        "stage": choices.get("stage"),
        "status": "running",
        "exit_code": None,
        "reason": None,
        "argv": argv,
        "overrides": overrides,
        "choices": choices,
        "parents": [],
        "inputs": {},
        "seed": config.get("seed"),
        "git": git,
        "versions": facts.versions(),
        "host": facts.host(),
        "started": record.now(),
        "ended": None,
        "wall_s": 0.0,
        "cpu_s": 0.0,
        "peak_memory_gib": 0.0,
        "headline": {},
        "artifacts": [],
        "error": None,
        "signal": None,
        "supervisor": None,
        "resumed": [],
    }
