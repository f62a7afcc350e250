"""MLflow for real: what it holds is asked of its own client, after runs, kills, and servers that are not there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.messages import assert_names, missing_names
from helpers.recorded_runs import recorded
from helpers.supervised_runs import wait_for
from regimen.config.yaml_io import flatten
from regimen.runs.loggers import forwarder
from regimen.runs.loggers.mlflow_run import SETTINGS, MlflowRunCfg, _absolute, _text
from runs.loggers.runs import ask, attempt, finish, kill, log

TARGET = {"_target_": "regimen.runs.loggers.mlflow_run.MlflowRun", "experiment": None}
ASK = """
import json, os, sys
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
runs = client.search_runs([client.get_experiment_by_name(sys.argv[2]).experiment_id])
def steps(run, key):
    return sorted([m.step, m.value] for m in client.get_metric_history(run, key))
print(json.dumps([{"id": r.info.run_id, "status": r.info.status, "name": r.info.run_name, "tags": r.data.tags,
    "params": r.data.params, "metrics": {k: steps(r.info.run_id, k) for k in r.data.metrics}} for r in runs]))
"""


def needs_mlflow():
    for module in ("mlflow", "sqlalchemy", "alembic"):
        if not __import__("importlib.util").util.find_spec(module):
            pytest.skip(f"{module} is not installed: pip install -e '.[mlflow]'")


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite:///{}/outputs/mlflow.db", "file:{}/mlruns"])
def test_killed_and_resumed_it_is_one_run_with_every_step_once(new_run, tmp_path, store):
    needs_mlflow()
    uri = store.format(tmp_path)
    run = new_run(mlflow={**TARGET, "uri": uri})
    log(run, 10, 20, 30)
    wait_for(lambda: (run.logs / "mlflow.json").exists())
    wait_for(lambda: len(ask(ASK, uri, "reach")[0]["metrics"].get("Train/loss", [])) == 3)
    log(run, 40)  # perhaps sent, perhaps not
    kill(run)

    run = attempt(run)
    run.rewind(20)
    log(run, 30, 40, 50)
    finish(run)
    (seen,) = ask(ASK, uri, "reach")
    assert recorded(run)["warnings"] == []
    assert seen["metrics"]["Train/loss"] == [[step, 1.0 / step] for step in (10, 20, 30, 40, 50)]
    assert seen["metrics"]["Train/return"] == [[step, step] for step in (30, 40, 50)]
    assert seen["metrics"]["headline/return"] == [[50, 30.0]]
    assert seen["status"] == "FINISHED"
    assert seen["name"] == seen["tags"]["run"] == run.id
    assert seen["tags"]["overrides"] == "seed=3" and seen["tags"]["status"] == "finished"
    assert seen["params"]["env.num_envs"] == "4"
    assert json.loads((run.logs / "mlflow.json").read_text()) == {"uri": _absolute(uri), "run": seen["id"]}


@pytest.mark.slow
def test_runs_of_a_sweep_may_make_the_same_store_at_once(new_run, tmp_path):
    needs_mlflow()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    runs = [new_run(mlflow={**TARGET, "uri": uri}) for _ in range(2)]
    for run in runs:
        log(run, *range(10, 300, 10))
    for run in runs:
        finish(run)
    assert [recorded(run)["warnings"] for run in runs] == [[], []]
    seen = ask(ASK, uri, "reach")
    assert sorted(len(row["metrics"]["Train/loss"]) for row in seen) == [29, 29]


def size_of(file: Path) -> int:
    """Bytes of a file that may be renamed meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_a_kill_while_the_store_is_made_does_not_spoil_it(new_run, tmp_path):
    needs_mlflow()
    run = new_run(mlflow={**TARGET, "uri": f"sqlite:///{tmp_path}/mlflow.db"})
    wait_for(lambda: any(size_of(file) for file in tmp_path.glob(".mlflow.db.*.tmp")))
    kill(run)
    assert not (tmp_path / "mlflow.db").exists()
    run = attempt(run)
    log(run, 10)
    finish(run)
    assert recorded(run)["warnings"] == []
    assert not list(tmp_path.glob(".mlflow.db.*.tmp"))


@pytest.mark.slow
def test_a_server_that_never_answers_costs_a_warning(new_run):
    needs_mlflow()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run = new_run(mlflow={**TARGET, "uri": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        began = time.monotonic()
        log(run, *range(1, 100))
        assert time.monotonic() - began < float(SETTINGS["MLFLOW_HTTP_REQUEST_TIMEOUT"]), "nothing was waited for"
        finish(run)
        assert time.monotonic() - began < 2 * forwarder.CLOSE_S
    (warning,) = recorded(run)["warnings"]
    assert_names(warning, "mlflow", "metrics.jsonl")


def test_a_path_is_taken_from_where_the_run_was_launched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _absolute("sqlite:///outputs/mlflow.db") == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    assert _absolute("file:mlruns") == f"file://{tmp_path}/mlruns"
    assert _absolute(f"file://{tmp_path}/mlruns") == f"file://{tmp_path}/mlruns"
    assert _absolute("http://server:5000") == "http://server:5000"


def test_parameters_are_the_leaves_of_the_configuration():
    leaves = flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]})
    assert [(key, _text(value)) for key, value in leaves] == [("a.b", "1"), ("a.c", "{}"), ("d", "[1, 2]")]


def test_a_missing_package_is_said_with_the_command_that_installs_it(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    assert subprocess.run([python, "-c", "import mlflow"], capture_output=True).returncode
    config = {"choices": {"sim": "mujoco"}, "hardware": {"interpreters": {"mujoco": str(python)}}}
    (line,) = MlflowRunCfg().problems(config)
    assert_names(line, "mlflow", "sqlalchemy", "alembic", f"{python} -m pip install -e '.[mlflow]'")
    (line,) = MlflowRunCfg(uri="http://server").problems(config)
    assert_names(line, "mlflow", f"{python} -m pip install -e '.[mlflow]'")
    assert "sqlalchemy" not in line and "alembic" not in line


@pytest.mark.parametrize("uri", ["outputs/mlflow.db", "sqlite:outputs/mlflow.db", "postgres://x"])
def test_a_uri_of_another_kind_is_refused(uri):
    lines = MlflowRunCfg(uri=uri).problems({})
    assert any(not missing_names(line, f"uri={uri}", "sqlite:///<file>") for line in lines)


def test_its_settings_are_read_without_importing_mlflow():
    script = "import sys, json; from regimen.config.static_types import load_cfg_class as load\n"
    script += f"load({TARGET['_target_']!r})().problems({{}}); print(json.dumps('mlflow' in sys.modules))"
    assert ask(script) is False
