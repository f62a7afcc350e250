"""W&B for real in offline mode: what it holds is read from its files with its own messages."""

from __future__ import annotations

import importlib.util

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import recorded
from helpers.supervised_runs import wait_for
from regimen.runs.loggers.wandb_run import WandbRunCfg
from runs.loggers.runs import ask, attempt, finish, kill, log

TARGET = {"_target_": "regimen.runs.loggers.wandb_run.WandbRun", "project": "p", "entity": None}
ASK = """
import json, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record
from regimen.runs.loggers.wandb_run import _records
rows, runs, summary = [], [], {}
for file in sorted(Path(sys.argv[1]).glob("wandb/*-run-*/*.wandb")):
    for entry in map(Record.FromString, _records(file.read_bytes())):
        kind = entry.WhichOneof("record_type")
        if kind == "history":
            rows.append({".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in entry.history.item})
        elif kind == "run":
            config = {i.key: json.loads(i.value_json) for i in entry.run.config.update}
            runs.append([entry.run.run_id, entry.run.project, list(entry.run.tags), config])
        elif kind == "summary":
            summary |= {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in entry.summary.update}
        elif kind == "exit":
            summary["exit"] = entry.exit.exit_code
print(json.dumps([rows, runs, summary]))
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed: pip install -e '.[wandb]'"
)


@pytest.mark.slow
def test_killed_and_resumed_it_is_one_run_with_every_step_once(new_run):
    run = new_run(wandb={**TARGET, "mode": "offline"})
    log(run, *range(1, 300))
    wait_for(lambda: len(ask(ASK, run.dir)[0]) > 10)  # it writes whole blocks: the kill loses the rest
    kill(run)
    stored = len(ask(ASK, run.dir)[0])
    assert stored < 299

    run = attempt(run)
    run.rewind(200)
    log(run, *range(201, 401))
    finish(run)
    rows, runs, summary = ask(ASK, run.dir)
    assert recorded(run)["warnings"] == []
    assert [row["_step"] for row in rows] == list(range(1, 401))
    assert all(row["Train/loss"] == 1.0 / row["_step"] for row in rows)
    assert [row[:3] for row in runs] == [[run.id, "p", ["reach"]]] * 2
    assert runs[0][3]["env"] == {"num_envs": 4} and runs[0][3]["run"]["overrides"] == "seed=3"
    assert summary["headline/return"] == 30.0 and summary["status"] == "finished" and summary["exit"] == 0


@pytest.mark.slow
def test_online_without_a_login_is_a_warning_and_no_question(new_run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run = new_run(wandb={**TARGET, "mode": "online"})
    log(run, 10)
    finish(run)
    (warning,) = recorded(run)["warnings"]
    assert_names(warning, "logger wandb", "wandb login", "metrics.jsonl")


def test_a_mode_of_another_name_is_refused():
    (line,) = WandbRunCfg(mode="of").problems({})
    assert_names(line, "mode=of", "online", "offline")


def test_its_settings_are_read_without_importing_wandb():
    script = "import sys, json; from regimen.config.static_types import load_cfg_class as load\n"
    script += f"load({TARGET['_target_']!r})().problems({{}}); print(json.dumps('wandb' in sys.modules))"
    assert ask(script) is False
