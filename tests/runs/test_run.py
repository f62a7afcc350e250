"""A run directory is claimed alone, complete from the start, and never half written."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from helpers.messages import raises_naming
from helpers.recorded_runs import recorded
from helpers.subprocesses import popen, said
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import PreflightError, RunReferenceError, StopRequested
from regimen.system.git import MAX_UNTRACKED_BYTES

CONFIG = {"name": "mine", "seed": 3, "choices": {"task": "go2_flat", "agent": "skrl_ppo", "stage": "train"}}
TEN_RUNS = """
import sys, time
from pathlib import Path
from regimen.runs.create import create_run_dir
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
root = Path(sys.argv[1])
for i in range(10):
    create_run_dir(root, {"choices": {"task": "t", "agent": "a"}}, [], [f"i={i}"], repository=root)
"""


def create(root: Path, **kwargs: object) -> Run:
    return Run(create_run_dir(root, CONFIG, ["launch.py", "seed=3"], ["seed=3"], repository=root, **kwargs))  # type: ignore[arg-type]


def test_create_records_what_is_known(tmp_path: Path) -> None:
    run = create(tmp_path, parents=["earlier"])
    info = recorded(run)
    assert run.id == run.dir.name == info["id"]
    assert run.id[8] == "-" and run.id[15:-5] == "-go2_flat-skrl_ppo"
    assert (info["status"], info["name"], info["stage"], info["seed"]) == ("running", "mine", "train", 3)
    assert (info["argv"], info["overrides"], info["parents"]) == (["launch.py", "seed=3"], ["seed=3"], ["earlier"])
    assert info["git"] is None and info["host"]["cores"] >= 1
    assert info["versions"] == {} and "python" not in info["host"], "the worker may run in another interpreter"
    assert yaml.safe_load(run.config_path.read_text()) == CONFIG
    assert run.reserve.stat().st_size == files.RESERVE_BYTES


def test_creating_is_fast_and_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("torch", "numpy", "hydra", "mujoco")
    code = f"import sys, regimen.runs.supervisor; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    times = []
    for _ in range(5):
        began = time.process_time()  # how fast the disk is, and who else works here, does not count
        create(tmp_path)
        times.append(time.process_time() - began)
    assert min(times) < 0.05


@pytest.mark.slow
def test_fifty_runs_in_the_same_instant(tmp_path: Path) -> None:
    at = str(time.time() + 1.0)
    command = [sys.executable, "-c", TEN_RUNS, str(tmp_path), at]
    processes = [popen(command) for _ in range(5)]
    told = [said(process) for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, told
    folders = list(tmp_path.iterdir())
    assert len(folders) == 50
    assert {recorded(Run.open(folder))["id"] for folder in folders} == {folder.name for folder in folders}


def test_a_named_directory_is_not_shared(tmp_path: Path) -> None:
    create(tmp_path, run_id="job-0")
    with raises_naming(PreflightError, f"python launch.py resume={tmp_path / 'job-0'}"):
        create(tmp_path, run_id="job-0")


def test_open_refuses_what_is_not_a_run(tmp_path: Path) -> None:
    with raises_naming(RunReferenceError, tmp_path, "run.json", "config.yaml"):
        Run.open(tmp_path)


def test_concurrent_updates_are_all_kept(tmp_path: Path) -> None:
    run = create(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: run.change(lambda record: record.tags.append(str(i))), range(24)))
    assert sorted(recorded(run)["tags"], key=int) == [str(i) for i in range(24)]


def test_log_and_rewind(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = create(tmp_path)
    for step in (1, 2, 3):
        run.log(step, {"loss": step / 2, "bad": math.nan})
    with (run.dir / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a crash in the middle of a line
    resumed = Run.open(run.dir)
    resumed.rewind(2)
    resumed.log(3, {"loss": 9.0})
    resumed.finish({}, {})
    assert [(row["step"], row["loss"]) for row in resumed.metrics()] == [(1, 0.5), (2, 1.0), (3, 9.0)]
    assert resumed.metrics()[0]["bad"] is None
    events = EventAccumulator(str(run.dir / "tb")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 1.0), (3, 9.0)]


def test_progress_is_written_at_most_twice_a_second(tmp_path: Path) -> None:
    run = create(tmp_path)
    run.progress(iteration=1, iterations=9)
    run.progress(iteration=2)
    assert files.read_json(run.dir / "progress.json") == {"iteration": 1, "iterations": 9}
    run.finish({}, {})
    assert files.read_json(run.dir / "progress.json") == {"iteration": 2, "iterations": 9}


def test_check_stop_saves_first(tmp_path: Path) -> None:
    run = create(tmp_path)
    saved: list[int] = []
    run.check_stop(1, lambda: saved.append(1))
    assert saved == []
    run.stop_signal = 15
    with raises_naming(StopRequested, "signal 15", "step 2") as caught:
        run.check_stop(2, lambda: saved.append(2))
    assert (caught.value.signal, caught.value.step) == (15, 2)
    assert saved == [2]


def test_artifacts_that_vanished_are_left_out(tmp_path: Path) -> None:
    run = create(tmp_path)
    for name in ("kept", "pruned"):
        (run.dir / name).write_text(name)
        run.artifact(run.dir / name, "table")
    run.artifact(run.dir / "kept", "table")
    (run.dir / "pruned").unlink()
    [artifact] = run.artifacts()
    assert (artifact.path, artifact.bytes) == ("kept", 4)


def test_a_line_cut_short_spoils_no_other_artifact(tmp_path: Path) -> None:
    run = create(tmp_path)
    (run.dir / "kept").write_text("kept")
    with (run.logs / "artifacts.jsonl").open("a") as file:
        file.write('"text"\n{"path": "ha')  # a crash in the middle of a line
    run.artifact(run.dir / "kept", "table")
    assert [a.path for a in run.artifacts()] == ["kept"]


def test_inputs_are_recorded_with_their_hash(tmp_path: Path) -> None:
    (tmp_path / "policy.pt").write_text("weights")
    run = create(tmp_path, files={"policy": tmp_path / "policy.pt"}, references={"policy": "walker"})
    digest = files.sha256(tmp_path / "policy.pt")
    row = {"path": str(tmp_path / "policy.pt"), "sha256": digest, "run": None, "ref": "walker"}
    assert recorded(run)["inputs"] == {"policy": row}


def test_where_nothing_can_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    for kwargs in ({}, {"run_id": "job-0"}):
        with raises_naming(PreflightError, tmp_path / "outputs") as caught:
            create(tmp_path / "outputs", **kwargs)
        assert "\n" not in str(caught.value)


def test_uncommitted_changes_can_be_applied_again(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()

    def git(*args: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *identity, *args], cwd=repo, check=True, capture_output=True)

    (repo / "old.py").write_text("a = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    for setting, value in (("diff.noprefix", "true"), ("color.diff", "always"), ("diff.external", "false")):
        git("config", setting, value)
    clean = Run(create_run_dir(tmp_path / "outputs", CONFIG, [], [], repository=repo))
    assert recorded(clean)["git"]["dirty"] is False and not (clean.dir / "code.patch").exists()
    assert len(recorded(clean)["git"]["commit"]) == 40

    (repo / "old.py").write_text("a = 2\n")
    (repo / "new dir").mkdir()
    (repo / "new dir" / "new.py").write_text("b = 1\n\x0cc = 'ä'")
    (repo / "binary").write_bytes(b"\0\xff")
    (repo / "large.txt").write_text("a" * (MAX_UNTRACKED_BYTES + 1))
    (repo / "empty.py").touch()
    (repo / "script.sh").write_text("exit\n")
    (repo / "script.sh").chmod(0o755)
    before = {path: path.stat().st_mtime_ns for path in (repo / ".git").rglob("*")}
    run = Run(create_run_dir(tmp_path / "outputs", CONFIG, [], [], repository=repo))
    assert recorded(run)["git"]["dirty"] is True
    assert {path: path.stat().st_mtime_ns for path in (repo / ".git").rglob("*")} == before, "nor the user's index"
    git("stash", "-q", "--include-untracked")
    git("apply", str(run.dir / "code.patch"))
    assert (repo / "old.py").read_text() == "a = 2\n"
    assert (repo / "new dir" / "new.py").read_text() == "b = 1\n\x0cc = 'ä'"
    assert (repo / "empty.py").exists() and (repo / "script.sh").stat().st_mode & 0o100
    assert not (repo / "binary").exists() and not (repo / "large.txt").exists()


def test_json_is_plain_and_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    path, reserve = tmp_path / "a.json", tmp_path / ".reserve"
    files.reserve_space(reserve)
    write = files.write_atomic

    def on_full_disk(path: Path, data: bytes, durable: bool = True) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data, durable)

    monkeypatch.setattr(files, "write_atomic", on_full_disk)
    files.write_json(path, {"nan": math.nan, "path": tmp_path, "list": (1, True, None)}, reserve)
    assert files.read_json(path) == {"nan": None, "path": str(tmp_path), "list": [1, True, None]}
    assert not reserve.exists()
