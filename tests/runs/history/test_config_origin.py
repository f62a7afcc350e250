"""Each value of a frozen configuration has the argument, file or default that sets it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from helpers.recorded_runs import record_run
from regimen.config.compose import compose
from regimen.runs.history.config_origin import setting_origins
from regimen.runs.history.run_view import open_view_dir

ROOT = Path(__file__).resolve().parents[3]
ARGUMENTS = ["task=reach", "env.num_envs=9", "seed=4"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    composed = compose(ARGUMENTS, [ROOT / "conf"])
    folder = record_run(tmp_path / "outputs", "a", overrides=ARGUMENTS, seed=4)
    (folder / "config.yaml").write_text(yaml.safe_dump(composed.plain))
    assert asdict(composed.config)["seed"] == 4
    return folder


def test_arguments_files_and_defaults(folder: Path) -> None:
    rows, problem = setting_origins(open_view_dir(folder), [ROOT / "conf"])
    found = {row.key: row for row in rows}
    assert problem == "" and all(row.now is None for row in rows)
    assert "env.num_envs=9" in found["env.num_envs"].origin and found["env.num_envs"].is_changed
    assert "reach.yaml:" in found["env.robot"].origin and not found["env.robot"].is_changed
    assert [row.key for row in rows if row.is_changed] == ["env.num_envs", "seed"]


def test_a_value_that_the_present_files_do_not_give(folder: Path) -> None:
    frozen = yaml.safe_load((folder / "config.yaml").read_text())
    present = frozen["env"]["episode_length_s"]
    frozen["env"]["episode_length_s"] = present + 1
    (folder / "config.yaml").write_text(yaml.safe_dump(frozen))
    rows, _ = setting_origins(open_view_dir(folder), [ROOT / "conf"])
    row = next(row for row in rows if row.key == "env.episode_length_s")
    assert (row.value, row.now, row.origin) == (present + 1, present, "")


def test_options_that_are_gone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    rows, problem = setting_origins(open_view_dir(folder), [tmp_path / "empty"])
    assert problem
    origins = {row.key: row.origin for row in rows if row.origin}
    assert origins == {"env.num_envs": "argument `env.num_envs=9`", "seed": "argument `seed=4`"}
