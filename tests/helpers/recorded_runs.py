"""Run directories as trainings leave them, written directly: for tests that look at many runs."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from regimen.runs.history.run_view import RunView
from regimen.runs.run import Run
from regimen.system.json_data import JsonData

DEAD = {"host": os.uname().nodename, "pid": 2**22 + 1, "start": 1}
"""A process of this machine that is not there."""


def ago(**span: float) -> str:
    """A time as run.json has it: `ago(days=3)`."""
    return (datetime.now().astimezone() - timedelta(**span)).isoformat(timespec="seconds")


def record_run(root: Path, run_id: str, *checkpoints: str, **fields: Any) -> Path:
    """Write a run: `record_run(outputs, "a", "best", task="reach", status="failed")`.

    Args:
        root: folder of runs.
        run_id: name of its directory.
        checkpoints: names of files in it, such as `best`.
        fields: of run.json; task, agent and sim become choices.
    """
    folder = root / run_id
    (folder / "logs").mkdir(parents=True)
    for name in checkpoints:
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / f"{name}.pt").write_text(name)
    choices = {group: fields.pop(group) for group in ("task", "agent", "sim") if group in fields}
    info = {
        "format": 1, "id": run_id, "name": None, "stage": "train", "status": "finished", "started": ago(hours=1),
        "ended": ago(minutes=30), "wall_s": 60.0, "choices": {"task": "reach", "agent": "skrl_ppo", **choices},
        "headline": {"return": 1.0}, "parents": [], "inputs": {}, "tags": [], "overrides": [], "resumed": [],
        "seed": 0, "supervisor": None, "queue": None,
    }  # fmt: skip
    (folder / "config.yaml").write_text("{}\n")
    write_record(folder, info | fields)
    return folder


def write_record(folder: Path, info: dict[str, Any]) -> None:
    """Write run.json as if it was done a while ago, which an index may remember."""
    path = folder / "run.json"
    path.write_text(json.dumps(info, default=JsonData.to_dict))
    os.utime(path, (time.time() - 60,) * 2)


def change(folder: Path, **fields: Any) -> None:
    """Replace fields of run.json, whatever the program would make of them."""
    write_record(folder, json.loads((folder / "run.json").read_text()) | fields)


def recorded(run: Run | RunView) -> dict[str, Any]:
    """The content of run.json as it is on the disk."""
    content: dict[str, Any] = json.loads((run.dir / "run.json").read_text())
    return content
