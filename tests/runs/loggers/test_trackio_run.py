"""Trackio for real: what its database holds is read with its own storage."""

from __future__ import annotations

import importlib.util

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import recorded
from helpers.supervised_runs import wait_for
from regimen.runs.loggers.trackio_run import TrackioRunCfg
from runs.loggers.runs import ask, attempt, finish, kill, log

TARGET = {"_target_": "regimen.runs.loggers.trackio_run.TrackioRun", "project": "p"}
ASK = """
import json, os, sys
os.environ["TRACKIO_DIR"] = sys.argv[1]
from trackio.sqlite_storage import SQLiteStorage as storage
rows = [{k: v for k, v in row.items() if k != "timestamp"} for row in storage.get_logs("p", sys.argv[2])]
print(json.dumps([rows, storage.get_runs("p"), storage.get_run_config("p", sys.argv[2])]))
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("trackio") is None, reason="trackio is not installed: pip install -e '.[trackio]'"
)


@pytest.mark.slow
def test_killed_and_resumed_it_is_one_run_with_every_step_once(new_run, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "somebody/else")  # nothing is sent away
    folder = tmp_path / "databases"
    run = new_run(trackio={**TARGET, "folder": str(folder)})
    log(run, *range(1, 300))
    wait_for(lambda: folder.exists() and len(ask(ASK, folder, run.id)[0]) > 10)
    kill(run)

    run = attempt(run)
    run.rewind(200)
    log(run, *range(201, 401))
    finish(run)
    rows, runs, config = ask(ASK, folder, run.id)
    assert recorded(run)["warnings"] == []
    by_step = {row["step"]: row for row in rows}
    assert len(rows) == len(by_step) and sorted(by_step) == list(range(1, 402))
    assert all(by_step[step]["Train/loss"] == 1.0 / step for step in range(1, 401))
    assert by_step[401]["headline/return"] == 30.0
    assert len(runs) == 1 and config["env"] == {"num_envs": 4} and config["run"]["overrides"] == "seed=3"


def test_a_project_that_is_no_file_name_is_refused():
    (line,) = TrackioRunCfg(project="a/b").problems({})
    assert_names(line, "project=a/b", "letters")


def test_its_settings_are_read_without_importing_trackio():
    script = "import sys, json; from regimen.config.static_types import load_cfg_class as load\n"
    script += f"load({TARGET['_target_']!r})().problems({{}}); print(json.dumps('trackio' in sys.modules))"
    assert ask(script) is False
