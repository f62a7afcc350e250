"""Finished runs of a study of joint failures, written directly: evaluations over faults, a detector, a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from helpers.recorded_runs import record_run
from regimen.display.intervals import Figure, share

JOINTS = {"left_knee": (95.0, 50.0), "right_knee": (95.0, 50.0)}


def figure(value: float, width: float = 0.1) -> dict[str, float]:
    """A figure with its interval."""
    return Figure(value, value - width, value + width).to_dict()


def cell(survived: int, episodes: int, **known: Any) -> dict[str, Any]:
    """A cell as an evaluation over faults writes it."""
    hits = [True] * survived + [False] * (episodes - survived)
    row = {"episodes": episodes, "falls": episodes - survived, "survival": share(hits).to_dict()}  # type: ignore[arg-type]
    return row | {"lin_vel_error": figure(0.2), "power": figure(100.0), "time_to_fall_s": 1.5} | known


def evaluation(root: Path, run_id: str, mode: str | None, survived: int, seed: int = 0, **config: Any) -> Path:
    """An evaluation of a policy that survives `survived` of 20 episodes with each fault; its result.json."""
    estimate = {"mode": mode, "joints": [".*knee"]}
    grid = {"event": "change_joint_torque", "film": "right_knee", "onset_s": 3.0}
    env = {"estimate": estimate, "evaluation": {"fault_grid": grid}}
    choices = {"stage": "evaluate", "task": "h1_failure"}
    result = {
        "healthy": cell(19, 20),
        "cells": [cell(survived, 20, joint=j, severity=s) for j, levels in JOINTS.items() for s in levels],
        "joints": {j: cell(survived * len(levels), 20 * len(levels), joint=j) for j, levels in JOINTS.items()},
        "overall": cell(survived * 4, 80),
        "episode_length_s": 20.0, "onset_s": 3.0, "command": [0.6, 0.0, 0.0], "task": "h1_failure",
    }  # fmt: skip
    return made(root, run_id, {"env": env, "choices": choices, "seed": seed, **config}, result, stage="evaluate")


def detector(root: Path, run_id: str, stage: str, macro_f1: float, seed: int = 0, **config: Any) -> Path:
    """A detector's training or evaluation; its result.json."""

    def views(value: float) -> dict[str, Any]:
        unknown = {"value": None, "low": None, "high": None}
        return {"all": {"figures": {"macro_f1": figure(value), "delay_steps": unknown}}}

    result = {"detector": views(macro_f1), "baselines": {"majority": views(0.1)}, "views": {"all": "all frames"}}
    return made(root, run_id, {"choices": {"stage": stage}, "seed": seed, "env": {}, **config}, result, stage=stage)


def dataset(root: Path, run_id: str, **config: Any) -> Path:
    """A collection with its card; its result.json."""
    result = {"problems": [], "gate": {"short": ["survival 0.3"], "accept": "a test"}}
    path = made(root, run_id, {"choices": {"stage": "collect"}, "env": {}, **config}, result, stage="collect")
    counts = {"healthy": 10, "left_knee": 5, "right_knee": 5}
    card = {
        "rows": 1000, "healthy_share": 0.5, "episodes": {"count": 20, "terminated": 4}, "classes": list(JOINTS),
        "episodes_by_class": counts, "by_split": {"train": {"episodes": counts}},
    }  # fmt: skip
    (path.parent / "data").mkdir()
    (path.parent / "data/card.json").write_text(json.dumps(card))
    return path


def made(root: Path, run_id: str, config: dict[str, Any], result: dict[str, Any], **info: Any) -> Path:
    """A finished run."""
    folder = record_run(root, run_id, **info)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "result.json").write_text(json.dumps(result))
    return folder / "result.json"
