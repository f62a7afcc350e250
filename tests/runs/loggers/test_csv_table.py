"""metrics.csv says what metrics.jsonl says, also after a kill and a resume."""

from __future__ import annotations

import csv
import json

from helpers.supervised_runs import wait_for
from regimen.runs.loggers.csv_table import CsvTable, CsvTableCfg
from runs.loggers.runs import attempt, finish, kill, log

CSV = {"_target_": "regimen.runs.loggers.csv_table.CsvTable"}


def table(run):
    with (run.dir / "metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v != ""} for row in csv.DictReader(file)]


def rows(run):
    read = [json.loads(line) for line in (run.dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if v is not None} for row in read]


def test_table_equals_the_metrics_and_is_an_artifact(new_run):
    run = new_run(csv=CSV)
    log(run, 10, 20)
    run.log(25, {"Train/loss": float("nan"), 'odd, "name"': 1.0})
    log(run, 30)
    finish(run)
    assert table(run) == rows(run)
    assert [row["step"] for row in table(run)] == [10, 20, 25, 30]
    assert "metrics.csv" in [row.path for row in run.artifacts()]


def test_killed_and_resumed_it_has_every_step_once(new_run):
    run = new_run(csv=CSV)
    log(run, 10, 20, 30)
    wait_for(lambda: (run.dir / "metrics.csv").exists() and len(table(run)) == 3)
    kill(run)
    log(run, 40)  # logged, never forwarded
    run = attempt(run)
    run.rewind(20)
    log(run, 30, 40, 50)
    finish(run)
    assert [row["step"] for row in table(run)] == [10, 20, 30, 40, 50]
    assert table(run) == rows(run)


def test_a_new_metric_widens_the_table(new_run):
    run = new_run()
    writer = CsvTable(CsvTableCfg(), run)
    writer.rewind(None)
    writer.write([{"step": 1, "a": 0.5}])
    writer.write([{"step": 2, "a": 0.25}])
    writer.write([{"step": 3, "b": 1.0}])
    assert (run.dir / "metrics.csv").read_text() == "step,a,b\n1,0.5,\n2,0.25,\n3,,1.0\n"
