"""Evaluations that are read again: which episodes a figure is made of, and what makes two of them comparable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.run_directories import add
from regimen.runs.history.run_view import open_view_dir
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.stages.evaluation.metrics import EPISODES, EpisodeResults

FELL = np.array([False, False, True, False, True, True])
ERROR = np.array([0.1, 0.1, np.nan, 0.3, 0.5, np.nan])


def evaluation(root: Path, run_id: str, **config: Any) -> Evaluated:
    """An evaluation of six episodes, two of each case."""
    run = add(root, run_id, config=config, stage="evaluate")
    table = {"return": np.arange(6.0), "episode_length_s": np.full(6, 2.0), "lin_vel_error": ERROR}
    EpisodeResults(np.array([0, 0, 1, 1, 2, 2]), table, FELL).write(run / EPISODES)
    view = open_view_dir(run)
    assert view is not None
    return Evaluated(view)


def test_with_faults_the_episodes_without_one_are_not_compared(tmp_path: Path) -> None:
    sound, broken = (evaluation(tmp_path, name, stage={"faults": name == "b"}) for name in "ab")
    assert (sound.episodes_of("survival"), broken.episodes_of("survival")) == (6, 4)
    assert (sound.columns["survival"].mean(), broken.columns["survival"].mean()) == (0.5, 0.25)
    assert (sound.episodes_of("lin_vel_error"), broken.episodes_of("lin_vel_error")) == (4, 2)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"env": {"evaluation": {"levels": [9]}}}, ["env.evaluation.levels"]),
        ({"env": {"evaluation": {"disturbances": ["push"]}}}, ["env.evaluation.disturbances"]),
        ({"sim": {"dt": 0.0025}}, ["sim.dt"]),
        ({"env": {"evaluation": {"headline": "power"}}, "sim": {"device": "cuda"}, "seed": 4}, []),
    ],
)
def test_conditions_are_all_that_decides_the_episodes(tmp_path: Path, change: Any, differs: list[str]) -> None:
    known = {"env": {"evaluation": {"levels": [0], "disturbances": []}}, "sim": {"dt": 0.005, "device": "cpu"}}
    merged = {part: {**known.get(part, {}), **change.get(part, {})} for part in ("env", "sim")}
    merged["env"]["evaluation"] = {**known["env"]["evaluation"], **change.get("env", {}).get("evaluation", {})}
    one, other = evaluation(tmp_path, "a", **known).conditions(), evaluation(tmp_path, "b", **merged).conditions()
    assert [name for name in {**one, **other} if one.get(name) != other.get(name)] == differs
