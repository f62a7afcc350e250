"""Inputs of a run: recorded with their content, settled when a parent has made them, refused once they changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import change, recorded
from helpers.subprocesses import said
from helpers.supervised_runs import ended, make_run, start
from regimen.runs import inputs
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import RunReferenceError


def make_parent(root: Path) -> Run:
    """A finished run with a policy."""
    parent = make_run(root, "finish")
    parent.checkpoints.mkdir()
    (parent.checkpoints / "best.pt").write_text("weights")
    change(parent.dir, status="finished")
    return parent


def make_child(root: Path, **known: Any) -> Run:
    """A run that reads a policy."""
    config = yaml.safe_load(make_run(root, "finish").config_path.read_text())
    return Run(create_run_dir(root, config | {"policy": "of the parent"}, [], [], repository=root, **known))


def test_names_and_values_of_references() -> None:
    config = {"policy": "walker@best", "data": ["faults", "more"]}
    assert inputs.references(config) == {"policy": "walker@best", "data.0": "faults", "data.1": "more"}
    inputs.put(config, "data.1", Path("/there"))
    inputs.put(config, "policy", Path("/here"))
    assert config == {"policy": "/here", "data": ["faults", "/there"]}
    assert inputs.references({"policy": None, "data": []}) == {}


def test_the_policy_below_a_task_is_an_input() -> None:
    config = {"env": {"low_level": {"policy": "walker@best"}}}
    assert inputs.references(config) == {inputs.LOW_LEVEL: "walker@best"}
    inputs.put(config, inputs.LOW_LEVEL, Path("/here"))
    assert config["env"]["low_level"]["policy"] == "/here"


def test_the_run_that_a_file_belongs_to(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    assert inputs.owner(parent.checkpoints / "best.pt") == parent.id
    (tmp_path / "loose.pt").write_text("weights")
    assert inputs.owner(tmp_path / "loose.pt") is None


@pytest.mark.slow
def test_a_pending_input_is_settled_at_the_start(tmp_path: Path) -> None:
    parent = make_parent(tmp_path)
    run = make_child(tmp_path, status="queued", pending={"policy": f"{parent.dir}@best"}, parents=[parent.id])
    signed = recorded(run)["signature"]["config"]
    info, _ = ended(start(run), run)
    assert info["status"] == "finished"
    path = parent.checkpoints / "best.pt"
    row = {"path": str(path), "sha256": files.sha256(path), "run": parent.id, "ref": f"{parent.dir}@best"}
    assert (info["inputs"], info["pending"]) == ({"policy": row}, {})
    assert yaml.safe_load(run.config_path.read_text())["policy"] == str(path)
    assert info["signature"]["config"] != signed


def test_a_parent_that_left_nothing_fails_the_child(tmp_path: Path) -> None:
    parent = make_run(tmp_path, "finish")
    run = make_child(tmp_path, status="queued", pending={"policy": f"{parent.dir}@best"})
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("failed", 2)
    assert_names(info["reason"], parent.id, "checkpoint")
    assert not (run.logs / "worker.log").exists()


@pytest.mark.parametrize(("change", "word"), [("write", "changed"), ("unlink", "gone")])
def test_a_run_does_not_start_on_an_input_that_changed(tmp_path: Path, change: str, word: str) -> None:
    path = make_parent(tmp_path).checkpoints / "best.pt"
    run = make_child(tmp_path, status="queued", files={"policy": path})
    assert inputs.changed(run.record.inputs) == {}
    if change == "write":
        path.write_text("other weights")
    else:
        path.unlink()
    assert inputs.changed(run.record.inputs) == {"policy": word}
    with raises_naming(RunReferenceError, run.id, "policy", path, word):
        inputs.require_unchanged(run)
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("failed", 2)


def test_a_folder_is_known_by_the_names_and_content_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.h5").write_text("1")
    before = files.sha256(folder)
    (folder / "b.h5").write_text("1")
    assert files.sha256(folder) != before
    (folder / "b.h5").unlink()
    assert files.sha256(folder) == before


def test_jobs_that_share_an_input_resolve_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve_policy(reference: str) -> Path:
        asked.append(reference)
        return tmp_path / reference

    monkeypatch.setattr("regimen.runs.inputs.resolve_policy", resolve_policy)
    with inputs.cached_resolution():
        assert [inputs.resolve("policy", name) for name in ("a", "b", "a")] == [tmp_path / n for n in ("a", "b", "a")]
    assert asked == ["a", "b"]
    inputs.resolve("policy", "a")
    assert asked == ["a", "b", "a"]


@pytest.mark.slow
def test_a_resumed_training_needs_its_data_but_no_longer_its_policy(tmp_path: Path) -> None:
    policy, data = make_parent(tmp_path).checkpoints / "best.pt", tmp_path / "episodes.h5"
    data.write_text("rows")
    run = make_child(tmp_path, files={"policy": policy, "data.0": data})
    change(run.dir, stage="train")
    run.checkpoints.mkdir()
    (run.checkpoints / "last.pt").write_text("weights")
    policy.unlink()
    assert ended(start(run), run)[0]["status"] == "finished"
    change(run.dir, status="killed")
    data.write_text("other rows")
    process = start(run)
    assert_names(said(process), run.id, "data.0", data, "launch.py")
    assert process.returncode == 2
    assert recorded(run)["status"] == "killed", "a refused resume changes nothing"
