"""Hand-made run directories with configuration, inputs and metrics: for tests that look into runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from helpers.recorded_runs import record_run
from regimen.system import files

CONFIG = {
    "env": {"_target_": "regimen.envs.manager_env.ManagerEnv", "num_envs": 8, "rewards": {"near": {"weight": 1.0}}},
    "sim": {"_target_": "regimen.envs.sims.mujoco.MujocoWorld"},
    "agent": {"_target_": "regimen.agents.skrl_ppo.SkrlPpo", "agent": {"learning_rate": 0.001}},
    "hardware": {"device": "cpu", "threads": 1, "nodes": 1, "processes": 1},
    "stage": {"_target_": "regimen.stages.train.Train"},
    "policy": None,
}


def add(root: Path, run_id: str, inputs: dict[str, Path] | None = None, config: Any = None, **fields: Any) -> Path:
    """A run under `root`; `config` is merged over `CONFIG`, `fields` replace those of a finished training."""
    stage = fields.get("stage", "train")
    choices = {"task": "reach", "sim": "mujoco", "agent": "skrl_ppo", "hardware": "cpu", "stage": stage}
    info = {
        "exit_code": 0, "overrides": ["task=reach"], "choices": choices, "versions": {"python": "3.11", "torch": "2.1"},
        "git": {"commit": "0" * 40, "branch": "main", "dirty": False}, "host": {"name": "here", "cores": 2, "gpus": []},
        "started": "2026-11-20T10:00:00+00:00", "ended": "2026-11-20T10:05:00+00:00", "wall_s": 300.0, "cpu_s": 320.0,
        "peak_memory_gib": 0.5, "headline": {}, "inputs": {name: _taken(path) for name, path in (inputs or {}).items()},
    } | fields  # fmt: skip
    folder = record_run(root, run_id, **info)
    known = {"seed": info.get("seed", 0), "name": info.get("name"), "choices": info["choices"]}
    text = yaml.safe_dump({**merged(CONFIG, config or {}), **known}, sort_keys=False)
    (folder / "config.yaml").write_text(text)
    return folder


def add_file(folder: Path, path: str, content: str) -> Path:
    """A file of a run."""
    file = folder / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    return file


def log(folder: Path, values: dict[int, float], metric: str = "Train/return") -> None:
    """The metrics of a run: step -> value."""
    rows = [json.dumps({"step": step, "time_s": step / 10, metric: value}) for step, value in values.items()]
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")


def merged(base: Any, change: Any) -> Any:
    """`base` with the values of `change`, section by section."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    return {**base, **{key: merged(base.get(key), value) for key, value in change.items()}}


def _taken(path: Path) -> dict[str, Any]:
    return {"path": str(path), "sha256": files.sha256(path)}
