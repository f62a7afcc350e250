"""Metrics in MLflow: a local SQLite or file store, or a tracking server."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.system import files

if TYPE_CHECKING:
    from regimen.runs.loggers.logger import Row
    from regimen.runs.run import Run

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Defaults for short timeouts and `file:` stores; variables that the user has set take precedence."""

STATUS = {"finished": "FINISHED", "failed": "FAILED", "diverged": "FAILED", "killed": "KILLED", "preempted": "KILLED"}


@dataclass
class MlflowRunCfg:
    """One MLflow run for each run, the same one after a resume.

    Attributes:
        uri: `sqlite:///<file>`, `file:<folder>` or `http(s)://<server>`; paths from where the run was launched.
        experiment: MLflow experiment; null for the name of the task.
    """

    _target_: str = "regimen.runs.loggers.mlflow_run.MlflowRun"
    uri: str = "sqlite:///outputs/mlflow.db"
    experiment: str | None = None

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with the settings, and whether MLflow is missing."""
        from regimen.runs.loggers.logger import not_installed

        store = ("sqlalchemy", "alembic") if self.uri.startswith("sqlite:") else ()
        lines = not_installed(config, "mlflow", "mlflow", *store)
        if not self.uri.startswith(("sqlite:///", "file:", "http://", "https://")):
            lines.append(f"uri={self.uri}: expected sqlite:///<file>, file:<folder>, http://… or https://….")
        return lines


class MlflowRun:
    """Parameters are the configuration, tags what the record says of the run, metrics come in batches."""

    def __init__(self, cfg: MlflowRunCfg, run: Run) -> None:
        """Args: cfg: where to; run: what is logged."""
        self._cfg, self._run = cfg, run
        self._known = run.logs / "mlflow.json"
        self._held: dict[str, int] = {}  # metric -> last step that MLflow has
        self._last = 0

    def open(self) -> None:
        """Connect; continue the MLflow run of an earlier attempt, or begin one."""
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        known = files.read_json(self._known) or {}
        uri = known.get("uri") or _absolute(self._cfg.uri)
        with _alone(uri):
            if uri.startswith("sqlite:"):
                _make_whole(Path(uri.removeprefix("sqlite:///")))
            self._client = MlflowClient(uri)
            self.id = (known and self._continue(known["run"])) or self._begin(uri)

    def rewind(self, step: int | None) -> None:
        """MLflow deletes no metrics: what it has stays, and is not sent again."""

    def write(self, rows: list[Row]) -> None:
        """Send what MLflow does not have yet."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(_key(name), value, now, row["step"])
            for row in rows
            for name, value in row.items()
            if name not in ("step", "time_s") and value is not None and row["step"] > self._held.get(_key(name), -1)
        ]
        self._last = rows[-1]["step"]
        for start in range(0, len(metrics), 1000):  # at most so many a request
            self._client.log_batch(self.id, metrics[start : start + 1000])

    def close(self, status: str, headline: dict[str, float]) -> None:
        """Add headline and status, and end the MLflow run."""
        self.write([{"step": self._last, **{f"headline/{name}": value for name, value in headline.items()}}])
        self._client.set_tag(self.id, "status", status)
        self._client.set_terminated(self.id, STATUS.get(status, "FAILED"))

    def _continue(self, run: str) -> str | None:
        """Return the id of the earlier MLflow run, or None if it was deleted."""
        from mlflow.exceptions import MlflowException

        try:
            data = self._client.get_run(run).data
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        self._held = {metric.key: metric.step for metric in data.to_proto().metrics}  # the last of each
        self._client.update_run(run, status="RUNNING")
        return run

    def _begin(self, uri: str) -> str:
        from mlflow.entities import Param, RunTag

        from regimen.config.yaml_io import flatten
        from regimen.runs.loggers.logger import about

        facts = about(self._run)
        experiment = self._experiment(self._cfg.experiment or facts.get("task") or "regimen", uri)
        created = self._client.create_run(experiment, run_name=facts.get("name") or self._run.id)
        run: str = created.info.run_id
        files.write_json(self._known, {"uri": uri, "run": run})
        leaves = flatten(self._run.config)
        params = [Param(_key(key), _text(value)) for key, value in leaves if key]
        for start in range(0, len(params), 100):  # at most so many a request
            self._client.log_batch(run, params=params[start : start + 100])
        self._client.log_batch(run, tags=[RunTag(name, value) for name, value in facts.items()])
        return run

    def _experiment(self, name: str, uri: str) -> str:
        from mlflow.exceptions import MlflowException

        path = _path(uri)
        place = (path.parent / "mlartifacts").as_uri() if path and uri.startswith("sqlite:") else None
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=place))
            except MlflowException:  # another run was faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)


def _path(uri: str) -> Path | None:
    """Return the file or folder of a local store, None for a server."""
    for scheme in ("sqlite:///", "file:"):
        if uri.startswith(scheme):
            return Path(uri.removeprefix(scheme).removeprefix("//")).absolute()
    return None


def _absolute(uri: str) -> str:
    path = _path(uri)
    if path is None:
        return uri
    return f"sqlite:///{path}" if uri.startswith("sqlite:") else path.as_uri()


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Keep other runs of a sweep from making the same local store at the same moment."""
    path = _path(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(path.with_name(f".{path.name}.lock")):
        yield


def _make_whole(path: Path) -> None:
    """Make the database of a new store under another name first: a kill in the middle would spoil it for ever."""
    from mlflow import MlflowClient

    if path.exists():
        return
    for cut in path.parent.glob(f".{path.name}.*.tmp"):
        cut.unlink()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    MlflowClient(f"sqlite:///{unfinished}")
    unfinished.replace(path)


def _key(name: str) -> str:
    """Return a name as MLflow allows it."""
    return re.sub(r"[^\w\-./: ]", "_", name)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
