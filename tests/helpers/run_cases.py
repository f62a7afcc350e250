"""The kind of a finished run, as `docs/support.md` lists it, read from its directory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from support_cases import RunCase

from helpers.tasks import CONF
from regimen.config.static_types import class_variable
from regimen.config.yaml_io import read_yaml
from regimen.runs.record import FILE, RecordError, RunRecord
from regimen.runs.status import Status

OWN_SIMULATOR = {
    "regimen.envs.manager_env.ManagerEnv": None,
    "regimen.envs.assembly.AssemblyEnv": "mujoco",
    "regimen.envs.gym.GymEnv": "gymnasium",
    "regimen.envs.hidden_goal.DarkRoom": "",
    "regimen.envs.hidden_goal.PointGoal": "",
    "regimen.envs.isaaclab.IsaacLabEnv": "isaaclab",
    "regimen.envs.mjlab.MjlabEnv": "mjlab",
}
"""`_target_` of a task -> simulator that it opens whatever `sim` is, empty for none; None where `sim` is opened."""

OWN = "own"
"""Task, and simulator of a task, that a test brings along."""

WITHOUT_ENV = ("distill", "report")
"""Stages whose task is that of their data."""


def run_folders(root: Path) -> Iterator[Path]:
    """Yield the run directories below a folder."""
    for folder, below, files in os.walk(root):
        if FILE in files:
            below.clear()
            yield Path(folder)


def case_of(folder: Path, since: datetime) -> RunCase | None:
    """Return the kind of a run.

    Args:
        folder: its directory.
        since: time before which no run of this test session started.

    Returns:
        None for a directory that is not the work of a supervisor and a worker since then, for a run that is not
        finished, and for one whose agent or stage is no option of `conf/`.
    """
    with suppress(OSError, ValueError, RecursionError, RecordError):  # tests also write broken records
        record = RunRecord.from_dict(json.loads((folder / FILE).read_text()))
        if not _is_finished(folder, record, since):
            return None
        config = read_yaml(folder / "config.yaml")
        if isinstance(config, dict) and _is_of_regimen(config, record.choices):
            return _case(config, record)
    return None


def _is_finished(folder: Path, record: RunRecord, since: datetime) -> bool:
    """Return whether a worker did the whole work of the run since then."""
    written = all((folder / name).is_file() for name in ("result.json", "config.yaml", "logs/worker.log"))
    if record.status != Status.FINISHED or record.supervisor is None or not record.versions or not written:
        return False
    return datetime.fromisoformat(record.created or record.started or "") >= since


def _is_of_regimen(config: Mapping[str, Any], choices: Mapping[str, str]) -> bool:
    """Return whether agent and stage are options of `conf/`, of Regimen's own classes."""
    targets = [str((config.get(key) or {}).get("_target_")) for key in ("agent", "stage")]
    options = all(_is_option(group, choices.get(group, "")) for group in ("agent", "stage"))
    return options and all(name.startswith("regimen.") for name in targets)


def _is_option(group: str, name: str) -> bool:
    return (CONF / group / f"{name}.yaml").is_file()


def _option(group: str, name: str | None) -> str:
    """Return the name if it is an option of `conf/`, else an empty text; `none` is none."""
    return name if name and name != "none" and _is_option(group, name) else ""


def _case(config: dict[str, Any], record: RunRecord) -> RunCase:
    env, hardware, queue = config["env"], config["hardware"], record.queue
    stage, opens_env = record.choices["stage"], record.choices["stage"] not in WITHOUT_ENV
    scheduler = queue.kind if queue is not None and queue.is_scheduled else ""
    channel = hardware.get("channel") or {}
    return RunCase(
        stage=stage,
        task=_option("task", record.choices.get("task")) or OWN if opens_env else _of_input(record, "task"),
        sim=_simulator(config, record.choices) if opens_env else "",
        agent=_agent(config, record),
        env_id=str(env.get("id") or "") if opens_env else "",
        physics=str(env.get("physics") or ",".join(env.get("presets") or [])) if opens_env else "",
        device=str(hardware.get("device")),
        workers=int(hardware.get("processes") or 1),
        nodes=int(hardware.get("nodes") or 1),
        actors=int(hardware.get("actors") or 0),
        transport=str(channel.get("transport") or ""),
        scheduler=scheduler,
        array=bool(scheduler and queue and queue.job and "_" in queue.job),
        resumed=bool(record.resumed),
        pipeline=_option("pipeline", record.pipeline.name if record.pipeline else None),
        experiment=_option("experiment", record.choices.get("experiment")),
        loggers=",".join(sorted(filter(None, (_option("logger", name) for name in config.get("logger") or {})))),
    )


def _simulator(config: dict[str, Any], choices: Mapping[str, str]) -> str:
    if class_variable(config["sim"], "OPENS_TASKS"):
        return choices["sim"]
    own = OWN_SIMULATOR.get(config["env"]["_target_"], OWN)
    return _option("sim", choices.get("sim")) or OWN if own is None else own


def _agent(config: dict[str, Any], record: RunRecord) -> str:
    """Return the agent that learned or acted; a stage without an agent and without a policy leaves the default."""
    if class_variable(config["stage"], "NEEDS") or class_variable(config["agent"], "EVALUATOR"):
        return record.choices["agent"]
    policy, takes = config.get("policy"), class_variable(config["stage"], "TAKES") or ()
    if policy in (class_variable(config["stage"], "DEMONSTRATORS") or ()):
        return str(policy)
    if "policy" not in takes:
        return ""
    return record.choices["agent"] if policy else _of_input(record, "agent")


def _of_input(record: RunRecord, group: str) -> str:
    """Return the option that made the first run or dataset that a run reads, empty where no run made it."""
    for name in ("data.0", "runs.0"):
        entry = record.inputs.get(name)
        made = next((p for p in Path(entry.path).parents if (p / FILE).is_file()), None) if entry else None
        if made is not None:
            choices = RunRecord.from_dict(json.loads((made / FILE).read_text())).choices
            return _option(group, choices.get(group))
    return ""
