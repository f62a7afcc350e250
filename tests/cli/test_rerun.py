"""A run is done again from its frozen configuration, with warnings of what changed, and the results are compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.interpreters import other_python
from helpers.messages import assert_names, missing_names
from helpers.recorded_runs import record_run, recorded
from helpers.run_directories import add, add_file
from helpers.user_folder import make_lab
from regimen.cli import main
from regimen.cli.rerun import compare_results
from regimen.runs.history.run_view import CHANGED, open_view
from regimen.system import host
from regimen.system.files import sha256
from regimen.system.git import repository_state

ROOT = Path(__file__).resolve().parents[2]
IDLE = ["task=idle", "sim=idle", "agent=idle", "stage=act"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def as_now(**fields: Any) -> dict[str, Any]:
    """What a run recorded that ran with this code and these packages."""
    return {"git": repository_state(ROOT).state, "versions": host.versions(), **fields}


def first_and_again(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The records of two runs, one of which repeats the other."""
    rows = [json.loads(path.read_text()) for path in folder.glob("outputs/*/run.json")]
    first, again = sorted(rows, key=lambda row: row["rerun_of"] is not None)
    return first, again


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """`regimen …` or `launch.py …`, as a user calls them."""
    start = [str(ROOT / "launch.py")] if words[0] == "launch" else ["-m", "regimen.cli.main", words[0]]
    return subprocess.run([sys.executable, *start, *words[1:]], capture_output=True, text=True)


def launched(folder: Path, *words: str) -> None:
    """A finished run `first` of a stage without torch."""
    make_lab(folder)
    done = command("launch", "--config-dir", "conf", *IDLE, "name=first", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_again_from_the_frozen_configuration(folder: Path) -> None:
    launched(folder, "seed=4")
    (folder / "conf/stage/act.yaml").write_text("_target_: nowhere.Nothing\n")
    done = command("rerun", "first")
    first, again = first_and_again(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_names(done.stdout, "equal", again["id"], first["id"])
    assert "warning" not in done.stdout
    assert (again["rerun_of"], again["headline"], again["seed"]) == (first["id"], {"score": 4.0}, 4)
    assert again["signature"] == first["signature"] and again["overrides"] == first["overrides"]
    assert again["name"] is None, "the name still means the first"
    assert (folder / "outputs" / again["id"] / ".hydra/overrides.yaml").exists()


@pytest.mark.slow
def test_another_result_is_told(folder: Path) -> None:
    launched(folder)
    module = folder / "lab_stage.py"
    module.write_text(module.read_text().replace("float(config.seed)", "float(config.seed) + 1"))
    done = command("rerun", "first")
    assert done.returncode == 1, done.stderr
    assert_names(done.stdout, "warning", "git diff")
    first, again = (run["id"] for run in first_and_again(folder))
    checked = command("rerun", again, "--check")
    assert checked.returncode == 1
    for said in (done.stdout, checked.stdout):
        assert_names(said, first, again, "result.json", "headline.score", "0.0", "1.0")


def test_changes_are_warned_of_before_the_start(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from regimen.orchestration.repeated_run import cautions
    from regimen.runs.history.run_view import open_view

    policy = add_file(add(folder / "outputs", "teacher"), "checkpoints/best.pt", "weights")
    old = {
        "git": {"commit": "1" * 40, "branch": "main", "dirty": False},
        "versions": {**host.versions(), "torch": "1"},
    }
    add(folder / "outputs", "a", {"policy": policy}, {"hardware": {"device": "cuda"}}, **old)
    policy.write_text("others")
    changed, packages, code, device = cautions(open_view("a"))
    assert_names(changed, "policy", "outputs/teacher/checkpoints/best.pt", CHANGED)
    assert_names(packages, "torch 1")
    assert_names(code, "commit 1111111111")
    assert_names(device, "cuda")


def test_packages_are_those_of_the_interpreter_of_the_run(folder: Path) -> None:
    from regimen.orchestration.repeated_run import cautions
    from regimen.runs.history.run_view import open_view

    python = other_python(folder, mjlab="9.9")
    config = {"env": {"interpreter": "mjlab"}, "hardware": {"interpreters": {"mjlab": str(python)}}}
    add(folder / "outputs", "a", None, config, **as_now(versions=host.versions_in(str(python))))
    assert list(cautions(open_view("a"))) == []
    other_python(folder, mjlab="9.10")
    [line] = cautions(open_view("a"))
    assert_names(line, "mjlab 9.9", "9.10")
    python.unlink()
    [line] = cautions(open_view("a"))
    assert_names(line, python)


def test_the_copy_of_the_code_is_used_while_it_is_there(folder: Path) -> None:
    from regimen.orchestration.repeated_run import cautions, create
    from regimen.runs.history.run_view import open_view

    git = {"commit": "1" * 40, "branch": "main", "dirty": False}
    (folder / "copy").mkdir()
    add(folder / "outputs", "a", **as_now(code=str(folder / "copy"), git=git))
    assert list(cautions(open_view("a"))) == []
    assert recorded(create(open_view("a"), []))["code"] == str(folder / "copy")
    (folder / "copy").rmdir()
    [line] = cautions(open_view("a"))
    assert_names(line, "commit 1111111111")
    assert recorded(create(open_view("a"), []))["code"] is None


def test_the_same_files_at_another_commit_are_said_to_be_the_same(folder: Path) -> None:
    from regimen.orchestration.repeated_run import cautions
    from regimen.runs.history.run_view import open_view
    from regimen.runs.signature import code_signature

    git = {"commit": "1" * 40, "branch": "main", "dirty": repository_state(ROOT).state.dirty}  # type: ignore[union-attr]
    run = add(folder / "outputs", "a", **as_now(git=git))
    signature = {"code": code_signature(yaml.safe_load((run / "config.yaml").read_text()))}
    add(folder / "outputs", "b", **as_now(git=git, signature=signature))
    add(folder / "outputs", "c", **as_now(git=git, signature={"code": "another"}))
    [same], [other] = (cautions(open_view(name)) for name in "bc")
    for line in (same, other):
        assert_names(line, "commit 1111111111")
    assert same != other


def test_what_cannot_be_repeated_leaves_nothing_behind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = add_file(add(folder / "outputs", "teacher"), "checkpoints/best.pt", "weights")
    add(folder / "outputs", "a", {"policy": policy})
    (add(folder / "outputs", "b") / "config.yaml").unlink()
    add(folder / "outputs", "c", status="queued", pending={"policy": "outputs/a@best"})
    policy.unlink()
    before = sorted(folder.glob("outputs/[!.]*"))
    for words, names in (
        (["a"], ["a", "policy", str(policy), "python launch.py"]),
        (["b"], ["b", "outputs/b/config.yaml"]),
        (["b", "--check"], ["regimen rerun b"]),
        (["c"], ["c", "policy", "outputs/a@best"]),
    ):
        assert main.main(["rerun", *words]) == 2
        assert_names(capsys.readouterr().err, *names)
    assert sorted(folder.glob("outputs/[!.]*")) == before


def test_a_run_that_did_not_finish_is_not_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(folder / "outputs", "a", status="killed")
    add(folder / "outputs", "b", rerun_of="a")
    assert main.main(["rerun", "b", "--check"]) == 0
    said = capsys.readouterr().out
    assert_names(said, "a", "killed")
    assert missing_names(said, "equal")


def test_resume_is_that_of_the_launcher(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(folder / "outputs", "a")
    assert main.main(["resume", "a"]) == 0
    assert_names(capsys.readouterr().out, "finished", "outputs/a")
    assert main.main(["resume", "absent"]) == 2
    assert_names(capsys.readouterr().err, "absent")


@pytest.mark.slow
def test_a_training_repeated_is_equal_bit_for_bit(folder: Path) -> None:
    short = ["agent.trainer.timesteps=48", "env.num_envs=8", "hardware.threads=1", "stage.checkpoint_interval=24"]
    assert command("launch", "task=reach", "name=first", *short).returncode == 0
    done = command("rerun", "first")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_names(done.stdout, "equal", *(run["id"] for run in first_and_again(folder)))
    files = [sha256(path) for path in folder.glob("outputs/*/checkpoints/last.pt")]
    assert len(files) == 2


def test_a_run_that_is_gone_is_not_told_as_different(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = record_run(Path("outputs"), "first", status="finished")
    record_run(Path("outputs"), "second", status="finished", rerun_of="first")
    before, again = open_view("first"), open_view("second")
    shutil.rmtree(original)
    assert compare_results(before, again) == 0
    assert_names(capsys.readouterr().out, "not compared", "first")
