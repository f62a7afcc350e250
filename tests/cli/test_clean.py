"""`regimen clean` frees what nobody misses, says why the rest stays, and leaves no half run behind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import DEAD, ago, change, record_run
from regimen.cli import main
from regimen.runs import lock
from regimen.runs.history import removal, retention
from regimen.runs.index.index import ROOTS, Index
from regimen.runs.run import Run
from regimen.system import host
from regimen.system.errors import PreflightError


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    record_run(Path("outputs"), "good", "best", "last")
    return Path("outputs")


def clean(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.main(["clean", *words]) == 0
    return capsys.readouterr().out


def listed(said: str) -> set[str]:
    """The paths of the runs and files that can be freed, or were."""
    return {word for word in said.split() if word.startswith(("outputs/", "multirun/"))}


def spared(said: str) -> dict[str, str]:
    """Id -> why it stays, of the runs that were chosen and must not be removed."""
    return dict(re.findall(r"^spared +(\S+): (.+)$", said, re.MULTILINE))


def left() -> set[str]:
    return {run.id for run in Index().rows()}


def test_by_default_only_broken_runs_without_anything_of_use_and_only_with_yes(outputs, capsys) -> None:
    for status in ("failed", "killed", "preempted", "diverged"):
        record_run(outputs, status, status=status)
        record_run(outputs, f"{status}-resumable", "last", status=status)
    record_run(outputs, "lost", status="running", supervisor=DEAD)
    (record_run(outputs, "collected", status="failed") / "data").mkdir()
    (outputs / "collected" / "data" / "part.h5").touch()
    before = left()
    said = clean(capsys)
    gone = {"failed", "killed", "preempted", "diverged", "lost"}
    assert left() == before and listed(said) == {f"outputs/{run}" for run in gone}
    assert_names(said, "5 runs", "--yes")
    [lost] = [line for line in said.splitlines() if "outputs/lost " in line]
    state, age = lost.partition("outputs/lost ")[2].rsplit(", ", 1)
    assert_names(state, "lost", "checkpoint")
    assert age.startswith("30m")
    said = clean(capsys, "--yes")
    assert before - left() == gone
    assert listed(said) == {f"outputs/{run}" for run in gone} and not list(outputs.glob(".trash*"))
    assert listed(clean(capsys)) == set()


def test_filters_and_age_choose(outputs, capsys) -> None:
    record_run(outputs, "old", "last", ended=ago(days=40), started=ago(days=41))
    record_run(outputs, "long", "last", ended=ago(days=2), started=ago(days=41))
    record_run(outputs, "h1", "last", task="h1_flat", ended=ago(days=50))
    assert listed(clean(capsys, "--older", "30d")) == set()
    clean(capsys, "status=finished", "task=reach", "--older", "30d", "--yes")
    assert left() == {"good", "long", "h1"}
    clean(capsys, "id=h1", "--yes")
    assert left() == {"good", "long"}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"status": "running", "supervisor": host.process(os.getpid())}, ["running"]),
        ({"status": "queued", "queue": {"kind": "slurm", "job": "1"}}, ["queued"]),
        ({"status": "preempted", "queue": {"kind": "slurm", "job": "1", "again": True}}, []),
        ({"status": "failed", "tags": ["keep"]}, ["keep"]),
        ({"status": "running", "supervisor": {"host": "node7", "pid": 1, "start": 1}}, ["lost", "supervisor", "day"]),
    ],
)
def test_what_is_wanted_stays_and_says_why(outputs, capsys, fields: dict, names: list[str], monkeypatch) -> None:
    monkeypatch.setattr("regimen.orchestration.slurm.job_states.ask_schedulers", lambda rows: None)
    folder = record_run(outputs, "wanted", **fields)
    (folder / ".supervisor").touch()
    os.utime(folder / ".supervisor", (time.time() - 600,) * 2)
    why = spared(clean(capsys, "id=wanted", "--yes"))
    assert why.keys() == {"wanted"}
    assert_names(why["wanted"], *names)
    assert left() == {"good", "wanted"}


@pytest.mark.parametrize(
    "link",
    [
        {"parents": ["parent"]},
        {"inputs": {"policy": {"path": "/elsewhere/policy.pt", "run": "parent"}}},
        {"inputs": {"data.0": {"path": "/x/outputs/parent/data/a.h5"}}},
        {
            "status": "queued",
            "queue": {"kind": "local", "process": host.process(os.getpid())},
            "pending": {"policy": "/x/outputs/parent@best"},
        },
    ],
)
def test_a_parent_stays_as_long_as_a_child_does(outputs, capsys, link: dict) -> None:
    record_run(outputs, "grandparent", status="failed")
    record_run(outputs, "parent", status="failed", parents=["grandparent"])
    record_run(outputs, "child", "last", name="pupil", **link)
    why = spared(clean(capsys, "--yes"))
    assert_names(why["parent"], "pupil")
    assert_names(why["grandparent"], "parent")
    assert left() == {"good", "grandparent", "parent", "child"}
    change(outputs / "child", status="finished")
    clean(capsys, "status=failed,finished", "id!=good", "--yes")
    assert left() == {"good"}


def test_an_unreadable_run_keeps_what_its_files_name(outputs, capsys) -> None:
    record_run(outputs, "parent", status="failed")
    child = record_run(outputs, "child")
    (child / "run.json").write_text('{"parents": ["par')
    (child / "config.yaml").write_text("policy: /x/outputs/parent/checkpoints/best.pt\n")
    assert_names(spared(clean(capsys, "--yes"))["parent"], "child")
    assert left() == {"good", "parent", "child"}


def test_what_a_filter_leaves_out_selects_nothing_more(outputs, capsys) -> None:
    for name in ("broken", "other"):
        record_run(outputs, name, status="failed")
    assert listed(clean(capsys)) == {"outputs/broken", "outputs/other"}
    assert listed(clean(capsys, "id!=broken")) == {"outputs/other"}
    assert listed(clean(capsys, "status!=running")) == {"outputs/broken", "outputs/other"}
    folder = Path("multirun/plan1")
    record_run(folder, "a", "best", sweep="plan1")
    (folder / "sweep.json").write_text(
        json.dumps({"jobs": [{"run": "a", "status": "finished"}, {"status": "waiting"}]})
    )
    for words in ((), ("sweep!=plan1",)):
        assert "multirun/plan1/a" not in listed(clean(capsys, "status=finished", *words))


def test_a_lost_run_ended_with_its_last_heartbeat(outputs, capsys) -> None:
    folder = record_run(outputs, "lost", status="running", supervisor=DEAD, started=ago(days=31), ended=None)
    (folder / ".supervisor").touch()
    assert listed(clean(capsys, "status=lost", "--older", "10d")) == set()
    long_ago = time.time() - 20 * 86400
    os.utime(folder / ".supervisor", (long_ago, long_ago))
    assert listed(clean(capsys, "status=lost", "--older", "10d")) == {"outputs/lost"}


@pytest.mark.parametrize(
    ("file", "key", "kind"), [("sweep.json", "jobs", "sweep"), ("pipeline.json", "steps", "pipeline")]
)
def test_what_an_incomplete_plan_would_use_stays_unless_it_is_named(outputs, capsys, file, key, kind) -> None:
    folder = Path("multirun/plan1")
    for name, status, *checkpoints in (("a", "finished"), ("b", "killed", "last"), ("c", "failed")):
        record_run(folder, name, *checkpoints, status=status, sweep="plan1", pipeline={"id": "plan1", "name": "study"})
    rows = [{"run": name, "status": status} for name, status in (("a", "finished"), ("b", "killed"), ("c", "failed"))]
    (folder / file).write_text(json.dumps({"name": "study", key: rows}))
    why = spared(clean(capsys, "status=finished,killed,failed", "id!=good", "--yes"))
    assert_names(why["b"], kind, "plan1", f"{kind}=plan1")
    assert left() == {"good", "a", "b"}, "what would be begun anew is not needed"
    clean(capsys, f"{kind}=plan1", "status=finished,killed", "--yes")
    assert left() == {"good"}


def test_a_plan_whose_process_was_killed_is_complete_once_its_runs_have_finished(outputs, capsys) -> None:
    record_run(Path("multirun/plan1"), "a", "last", sweep="plan1")
    stale = {"jobs": [{"run": "a", "status": "running"}]}
    Path("multirun/plan1/sweep.json").write_text(json.dumps(stale))
    assert listed(clean(capsys, "id=a")) == {"multirun/plan1/a"}
    stale["jobs"].append({"run": "b", "status": "waiting"})
    Path("multirun/plan1/sweep.json").write_text(json.dumps(stale))
    assert_names(spared(clean(capsys, "id=a"))["a"], "sweep=plan1")


def test_of_a_pipeline_that_was_continued_only_the_last_record_counts(outputs, capsys) -> None:
    records = {"p1": [("good", "killed"), (None, "not started")], "p2": [("good", "reused"), ("child", "finished")]}
    record_run(outputs, "child", "last")
    for name, steps in records.items():
        Path("multirun", name).mkdir(parents=True)
        rows = [{"run": run, "status": status} for run, status in steps]
        plan = {"name": "study", "argv": ["launch.py", "pipeline=study"], "steps": rows}
        Path("multirun", name, "pipeline.json").write_text(json.dumps(plan))
    assert listed(clean(capsys, "id=good")) == {"outputs/good"}
    Path("multirun/p2/pipeline.json").unlink()
    assert_names(spared(clean(capsys, "id=good"))["good"], "pipeline=p1")


def test_intermediate_checkpoints(outputs, capsys) -> None:
    for number in (100, 200, 300, 400):
        (outputs / "good/checkpoints" / f"step_{number:09d}.pt").write_bytes(bytes(5000))
    (outputs / "good/checkpoints/last.pt").unlink()
    os.link(outputs / "good/checkpoints/step_000000400.pt", outputs / "good/checkpoints/last.pt")
    used = (outputs / "good/checkpoints/step_000000200.pt").resolve()
    record_run(outputs, "child", inputs={"policy": {"path": str(used)}}, parents=["good"])
    record_run(outputs, "kept", "step_000000001", "last", tags=["keep"])
    said = clean(capsys, "--checkpoints")
    assert_names(said, "outputs/good  2")
    assert_names(spared(said)["kept"], "keep")
    assert len(list((outputs / "good/checkpoints").iterdir())) == 6
    clean(capsys, "--checkpoints", "--yes")
    names = sorted(path.name for path in (outputs / "good/checkpoints").iterdir())
    assert names == ["best.pt", "last.pt", "step_000000200.pt", "step_000000400.pt"]
    assert left() == {"good", "child", "kept"}


def test_a_checkpoint_stays_an_input_after_all_runs_are_moved(outputs, capsys) -> None:
    (outputs / "good/checkpoints/step_000000100.pt").write_bytes(bytes(5000))
    used = "/moved/since/outputs/good/checkpoints/step_000000100.pt"
    record_run(outputs, "child", inputs={"policy": {"path": used, "run": "good"}}, parents=["good"])
    assert listed(clean(capsys, "--checkpoints")) == set()


def test_a_run_that_somebody_begins_to_work_on_stays(outputs) -> None:
    folder = record_run(outputs, "killed", status="killed")
    (run,) = [run for run in Index().rows() if run.id == "killed"]
    with (folder / ".supervisor").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stayed, why = removal.remove([run], ROOTS), removal.remove_files(run, [folder / "config.yaml"])
        assert why and stayed == {"killed": why} and why != removal.CHANGED
    change(folder, tags=["keep"])
    assert removal.remove([run], ROOTS) == {"killed": removal.CHANGED}
    assert removal.remove_files(run, [folder / "config.yaml"]) == removal.CHANGED
    assert left() == {"good", "killed"} and (folder / "config.yaml").exists()


def test_a_run_that_is_removed_cannot_be_begun(outputs) -> None:
    folder = record_run(outputs, "killed", status="killed")
    run = Run(folder)
    with (folder / ".supervisor").open("a"):  # opened before the removal, locked after it
        shutil.move(folder, outputs / ".trash-killed")
        folder.mkdir()
        (outputs / ".trash-killed" / ".supervisor").rename(folder / ".supervisor")
        with raises_naming(PreflightError, "killed"), lock.hold_lock(run):
            pass


def test_a_child_made_after_the_choice_keeps_its_parent(outputs) -> None:
    record_run(outputs, "killed", status="killed")
    runs = [run for run in Index().rows() if run.id == "killed"]
    record_run(outputs, "child", parents=["killed"])
    stayed = removal.remove(runs, ROOTS)
    assert stayed.keys() == {"killed"}
    assert_names(stayed["killed"], "child")
    assert left() == {"good", "killed", "child"}


def test_a_job_of_a_sweep_whose_record_does_not_name_it_can_be_removed() -> None:
    record_run(Path("multirun/plan1"), "job", status="failed")
    Path("multirun/plan1/sweep.json").write_text("{}")
    (run,) = [run for run in Index().rows() if run.sweep == "plan1"]
    assert removal.remove([run], ROOTS) == {}
    assert left() == {"good"}


def test_a_run_that_lies_elsewhere_stays(outputs, capsys, tmp_path: Path) -> None:
    elsewhere = record_run(tmp_path / "other_disk", "linked", status="failed")
    (outputs / "linked").symlink_to(elsewhere)
    assert_names(spared(clean(capsys, "--yes"))["linked"], elsewhere)
    assert left() == {"good", "linked"}


def test_what_changed_meanwhile_keeps_its_parents(outputs) -> None:
    record_run(outputs, "parent", status="failed", started=ago(days=2))
    child = record_run(outputs, "child", status="failed", parents=["parent"])
    runs = [run for run in Index().rows() if run.id != "good"]
    change(child, tags=["keep"])
    stayed = removal.remove(runs, ROOTS)
    assert stayed.keys() == {"child", "parent"} and stayed["child"] == removal.CHANGED
    assert_names(stayed["parent"], "child")
    assert left() == {"good", "parent", "child"}


def test_where_a_child_stays_its_parents_stay(outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "BATCH", 1)
    record_run(outputs, "parent", status="failed", started=ago(days=2))
    child = record_run(outputs, "child", status="failed", started=ago(days=1), parents=["parent"])
    runs = [run for run in Index().rows() if run.id != "good"]
    with (child / ".supervisor").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert removal.remove(runs, ROOTS).keys() == {"parent", "child"}
    assert removal.remove(runs, ROOTS) == {}
    assert left() == {"good"}


def test_an_interrupted_removal_leaves_no_half_run_and_is_completed(outputs, capsys, monkeypatch) -> None:
    record_run(outputs, "killed", status="killed")

    def interrupted(folder: Path) -> None:
        (folder / "run.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", interrupted)
        assert main.main(["clean", "--yes"]) == 130
    assert left() == {"good"}
    (trash,) = outputs.glob(".trash-*")
    assert listed(clean(capsys)) == {str(trash)}
    with (trash / ".supervisor").open("a") as lock:  # another clean holds it, and may put it back
        fcntl.flock(lock, fcntl.LOCK_EX)
        clean(capsys, "--yes")
        assert trash.exists()
    clean(capsys, "--yes")
    assert not trash.exists() and left() == {"good"}


def test_mistakes(capsys) -> None:
    assert main.main(["clean", "--older", "soon"]) == 2
    assert_names(capsys.readouterr().err, "--older soon", "30d")
    assert main.main(["clean", "good"]) == 2
    assert_names(capsys.readouterr().err, "name=good", "id=good")


def test_needed_by_goes_up_all_generations(outputs) -> None:
    record_run(outputs, "a")
    record_run(outputs, "b", parents=["a"])
    record_run(outputs, "c", parents=["b"])
    runs = {run.id: run for run in Index().rows()}
    assert retention.needed_by([runs["a"], runs["b"]], list(runs.values())).keys() == {"a", "b"}
    assert retention.needed_by(list(runs.values()), list(runs.values())) == {}


def test_code_that_no_run_works_from_is_freed(outputs, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    store = outputs / ".code"
    monkeypatch.setattr("regimen.runs.code_snapshot.STORE", store)
    for name, age_s in (("needed", 2 * 86400), ("unused", 2 * 86400), ("young", 60)):
        (store / name / "regimen").mkdir(parents=True)
        os.utime(store / name, (time.time() - age_s,) * 2)
    change(outputs / "good", code=str((store / "needed").resolve()))
    assert listed(clean(capsys)) == {str(store / "unused")}
    clean(capsys, "--yes")
    assert sorted(path.name for path in store.iterdir()) == ["needed", "young"]


@pytest.fixture
def unused(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A code snapshot without a run."""
    copy = outputs / ".code" / "unused"
    monkeypatch.setattr("regimen.runs.code_snapshot.STORE", copy.parent)
    (copy / "regimen").mkdir(parents=True)
    os.utime(copy, (time.time() - 2 * 86400,) * 2)
    return copy


def test_no_half_of_a_code_snapshot_keeps_its_name(unused: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(shutil, "rmtree", stop)
        assert main.main(["clean", "--yes"]) == 130
    assert not unused.exists()
    [rest] = unused.parent.iterdir()
    assert listed(clean(capsys)) == {str(rest)} and list(rest.iterdir()) == [rest / "regimen"]
    clean(capsys, "--yes")
    assert not rest.exists()


def test_a_code_snapshot_that_a_launch_chooses_meanwhile_stays(unused, capsys, monkeypatch) -> None:
    rename = Path.rename

    def chosen(path: Path, target: Path) -> Path:
        if path == unused:
            os.utime(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", chosen)
    clean(capsys, "--yes")
    assert list(unused.parent.iterdir()) == [unused]


def test_a_run_that_is_being_repeated_stays_until_it_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    again = record_run(Path("outputs"), "again", rerun_of="good", status="running")
    change(again, supervisor={**host.process(os.getpid()).to_dict()})
    with open(again / ".supervisor", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not listed(clean(capsys, "id=good", "--yes"))
    assert Path("outputs/good").exists()
    change(again, status="finished", exit_code=0)
    assert listed(clean(capsys, "id=good", "--yes")) == {"outputs/good"}
