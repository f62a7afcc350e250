"""The support page: written from its data, whose tests exist; the recording of runs that tests make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support_cases import RunCase, SupportData, exists, line_of
from support_matrix import DATA, PAGE, page

from helpers.run_cases import OWN_SIMULATOR
from regimen.config.yaml_io import read_yaml

ROOT = Path(__file__).resolve().parents[2]
WRITE = "type: python tools/support_matrix.py"
TRAINING = RunCase("train", "reach", "mujoco", "skrl_ppo")
HERE = "tests/docs/test_support.py::test_the_page_is_written_from_its_data"


def test_the_page_is_written_from_its_data() -> None:
    data = SupportData.read(DATA)
    assert PAGE.read_text() == page(data), WRITE
    assert DATA.read_text() == data.text, WRITE


def test_every_test_of_an_entry_exists() -> None:
    data = SupportData.read(DATA)
    assert [test for tests in data.runs.values() for test in tests if not exists(test)] == [], WRITE
    assert {test.partition("::")[0] for tests in data.runs.values() for test in tests} <= data.files


def test_the_simulator_of_every_task_is_listed() -> None:
    tasks = [read_yaml(file) for file in (ROOT / "conf" / "task").glob("*.yaml")]
    assert {task["_target_"] for task in tasks if "_target_" in task} <= OWN_SIMULATOR.keys()


def test_a_recorded_test_replaces_its_runs_and_the_others_keep_theirs() -> None:
    resumed = RunCase("train", "reach", "mujoco", "skrl_ppo", resumed=True)
    data = SupportData({TRAINING: {HERE, "tests/docs/test_support.py::test_that_was_removed"}})
    data.merge(line_of(f"{HERE}[one]", [resumed]) + line_of(f"{HERE}[other]", []))
    assert data.runs == {resumed: {HERE}}
    skipped = "tests/docs/test_support.py::test_the_simulator_of_every_task_is_listed"
    data.merge(line_of(skipped, [resumed, TRAINING]))
    assert data.runs == {resumed: {HERE, skipped}, TRAINING: {skipped}}
    data.merge(line_of(HERE, []))
    assert data.runs == {resumed: {skipped}, TRAINING: {skipped}}
    assert data.files == {"tests/docs/test_support.py"}


RUNS = """
import shutil
from datetime import datetime
import pytest
from helpers.recorded_runs import DEAD
from helpers.run_directories import add, add_file

def finished(root, run_id, **fields):
    run = add(root, run_id, created=datetime.now().astimezone().isoformat(), supervisor=DEAD, **fields)
    add_file(run, "result.json", "{}")
    add_file(run, "logs/worker.log", "")
    return run

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("shared"), "a")

def test_of_a_shared_run(shared): ...

def test_of_the_same_run(shared): ...

@pytest.mark.parametrize("seed", [0, 1])
def test_that_resumes(tmp_path, seed):
    finished(tmp_path / "outputs", "b", seed=seed, resumed=[{"at": "2026-11-20T10:00:00+00:00"}])

def test_that_fails(tmp_path):
    finished(tmp_path, "c", stage="collect")
    assert False

def test_of_runs_that_do_not_count(tmp_path):
    finished(tmp_path, "d", status="failed")
    finished(tmp_path, "e", choices={"task": "reach", "sim": "mujoco", "agent": "mine", "stage": "train"})
    (finished(tmp_path, "f") / "result.json").unlink()
    add(tmp_path, "g")

@pytest.mark.skip(reason="needs a part that is not installed")
def test_that_is_skipped(): ...
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two"])
def test_runs_of_tests_that_pass_are_recorded(tmp_path: Path, processes: list[str]) -> None:
    (tmp_path / "test_runs.py").write_text(RUNS)
    file = tmp_path / "new" / "recording.jsonl"
    paths = os.pathsep.join(str(ROOT / name) for name in ("tests", "tools", "src"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "helpers.support_record",
        "-p",
        "no:cacheprovider",
        *processes,
    ]
    command += ["--support-record", str(file), "-o", "tmp_path_retention_policy=failed", "test_runs.py"]
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    runs = {(line["test"].partition("::")[2], *map(str, line["runs"])) for line in lines}
    training = TRAINING.to_dict()
    assert runs >= {
        ("test_that_resumes", str({**training, "resumed": True})),
        ("test_that_fails",),
        ("test_of_runs_that_do_not_count",),
    }
    assert ("test_of_a_shared_run", str(training)) in runs or ("test_of_the_same_run", str(training)) in runs
    assert len(lines) == 6
