"""Which run is used again: the same configuration, inputs and code, with its files whole."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.messages import assert_names
from helpers.user_folder import write
from regimen.orchestration.pipeline import jobs, reuse
from regimen.runs import files_read
from regimen.runs.index.summary import RunSummary
from regimen.runs.record_parts import PipelineStep, QueueEntry, Signature
from regimen.runs.status import Status
from regimen.system import files

SIGNATURE = Signature("c" * 16, "d" * 16)


@pytest.fixture
def ready(pipes: Any) -> jobs.PreparedJob:
    pipes.write("  - {name: a, stage: make}\n")
    (job,) = pipes.jobs()
    found = jobs.prepare(job, [job], {})
    found.signature = SIGNATURE
    return found


def run(status: str, run_id: str = "r", checkpoint: bool = True, begun: bool = True, **more: Any) -> RunSummary:
    folder = Path("outputs") / run_id
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint:
        write(folder / "checkpoints/last.pt", "weights")
    artifacts = [
        {"path": f"checkpoints/{p.name}", "kind": "checkpoint", "bytes": p.stat().st_size, "sha256": files.sha256(p)}
        for p in folder.glob("checkpoints/*.pt")
    ]
    info = {
        "status": status,
        "artifacts": artifacts,
        "supervisor": {"pid": 1} if begun else None,
        "inputs": more.pop("inputs", {}),
    }
    files.write_json(folder / "run.json", info)
    fields = {"signature_config": SIGNATURE.config, "signature_code": SIGNATURE.code} | more
    return RunSummary(run_id, status=Status(status), path=str(folder), **fields)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *(("finished", "done"), ("running", "running"), ("queued", "running")),
        *((status, "resumable") for status in ("killed", "preempted", "lost", "failed")),
        ("diverged", "to do"),  # it would diverge again from its checkpoint
    ],
)
def test_a_run_of_the_same_signature(ready: Any, status: str, state: str) -> None:
    known = reuse.find_matching_run(ready, [run(status)])
    assert known.state == state
    assert (known.row.id if known.row else None) == (None if state == "to do" else "r")


def test_a_run_that_slurm_will_start_again_is_at_work(ready: Any) -> None:
    assert reuse.find_matching_run(ready, [run("preempted", queue=QueueEntry("slurm", again=True))]).state == "running"
    assert (
        reuse.find_matching_run(ready, [run("preempted", queue=QueueEntry("slurm", again=False))]).state == "resumable"
    )


def test_another_configuration_or_other_code_is_another_run(ready: Any) -> None:
    assert reuse.find_matching_run(ready, [run("finished", signature_config="e" * 16)]).state == "to do"
    known = reuse.find_matching_run(ready, [run("finished", signature_code="e" * 16)])
    assert known.state == "to do"
    assert_names(known.note, "r", "code")


@pytest.mark.parametrize("status", ["finished", "killed"])
def test_values_that_differ_from_the_latest_run_of_the_step_are_named(ready: Any, status: str) -> None:
    earlier, latest = (run(status, name, name=ready.composed.plain["name"], signature_config="e" * 16) for name in "ab")
    for row, changed in ((earlier, {"seed": 5}), (latest, {"seed": 7, "force": True})):
        write(row.dir / "config.yaml", yaml.safe_dump(ready.composed.plain | changed))
    note = reuse.find_matching_run(ready, [latest, earlier]).note
    assert_names(note, "b", "seed", "7", str(ready.composed.plain["seed"]))
    assert "force" not in note  # no result depends on it


def test_a_run_of_another_name_is_no_earlier_run_of_the_step(ready: Any) -> None:
    row = run("finished", name="other", signature_config="e" * 16)
    write(row.dir / "config.yaml", yaml.safe_dump(ready.composed.plain | {"seed": 7}))
    assert reuse.find_matching_run(ready, [row]).note == ""


def test_a_stopped_run_of_other_code_is_named(ready: Any) -> None:
    assert_names(reuse.find_matching_run(ready, [run("killed", signature_code="e" * 16)]).note, "r", "code")


def test_what_is_finished_goes_before_what_runs_before_what_stopped(ready: Any) -> None:
    rows = [run(status, status) for status in ("killed", "running", "finished")]
    assert reuse.find_matching_run(ready, rows).row is rows[2]
    assert reuse.find_matching_run(ready, rows[:2]).row is rows[1]


def test_a_run_whose_files_are_gone_or_changed_is_not_used(ready: Any) -> None:
    changed, gone, whole = (run("finished", name) for name in ("r_changed", "r_gone", "r_whole"))
    (changed.dir / "checkpoints/last.pt").write_text("WEIGHTS")
    (gone.dir / "checkpoints/last.pt").unlink()
    known = reuse.find_matching_run(ready, [changed, gone])
    assert known.state == "to do"
    assert_names(known.note, "r_changed", "checkpoints/last.pt")
    assert_names(reuse.find_matching_run(ready, [gone]).note, "r_gone", "checkpoints/last.pt")
    assert reuse.find_matching_run(ready, [changed, gone, whole]).row is whole


@pytest.mark.parametrize("status", ["finished", "running", "killed"])
def test_a_run_that_read_a_file_which_has_changed_is_not_used(ready: Any, status: str) -> None:
    data = write(Path("data/motion.csv"), "1,2")
    row = run(status)
    write(row.dir / files_read.FILE, json.dumps({"path": str(data), "sha256": files.sha256(data)}))
    assert reuse.find_matching_run(ready, [row]).state != "to do"
    data.write_text("1,3")
    known = reuse.find_matching_run(ready, [row])
    assert known.state == "to do"
    assert_names(known.note, row.id, data)
    data.unlink()
    assert_names(reuse.find_matching_run(ready, [row]).note, row.id, data, "gone")


def test_a_run_stopped_without_a_checkpoint_is_made_anew_unless_it_never_began(ready: Any) -> None:
    assert reuse.find_matching_run(ready, [run("killed", checkpoint=False)]).state == "to do"
    assert reuse.find_matching_run(ready, [run("lost", checkpoint=False, begun=False)]).state == "resumable"


def test_a_run_is_not_continued_on_other_inputs_than_it_began_with(ready: Any) -> None:
    policy = write(Path("policy.pt"), "weights")
    inputs = {"policy": {"path": str(policy), "sha256": files.sha256(policy)}}
    stopped = run("killed", inputs=inputs)
    assert reuse.find_matching_run(ready, [stopped]).state == "resumable"
    policy.write_text("others")
    assert reuse.find_matching_run(ready, [stopped]).state == "to do"


def test_an_evaluation_without_the_video_that_is_wanted_is_not_used(ready: Any) -> None:
    ready.composed.plain |= {"video": True, "choices": {**ready.composed.choices, "stage": "evaluate"}}
    assert_names(reuse.find_matching_run(ready, [run("finished")]).note, "r", "video")


def test_a_run_whose_worker_still_saves_is_not_taken_away(ready: Any) -> None:
    stopped = run("killed")
    with (stopped.dir / ".supervisor").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert reuse.find_matching_run(ready, [stopped]).state == "running"
    assert reuse.find_matching_run(ready, [stopped]).state == "resumable"


def made_run(run_id: str, began: float, **fields: Any) -> RunSummary:
    row = run("finished", run_id, began=began, **fields)
    write(Path(row.path) / "config.yaml", f"video: false\nchoices: {{stage: train}}\nseed: {fields.get('seed', 0)}\n")
    return row


def why(row: RunSummary, *others: RunSummary) -> list[str]:
    from regimen.runs.run import Run

    return reuse.why_made_again(row, [*others, row], Run(row.dir).config)


def test_why_a_step_was_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    step = PipelineStep("p", "small", "train")
    now = made_run("now", 9.0, pipeline=step, seed=3)
    assert why(now) == []
    assert why(now, made_run("later", 10.0)) == []
    assert_names(" ".join(why(now, made_run("code", 1.0, signature_code="e" * 16))), "code")
    damaged = made_run("damaged", 2.0)
    write(damaged.dir / "checkpoints/last.pt", "other weights")
    assert_names(" ".join(why(now, damaged)), "damaged", "checkpoints/last.pt")
    assert_names(" ".join(why(now, made_run("whole", 3.0))), "whole", "force")
    before = made_run("before", 4.0, pipeline=PipelineStep("o", "small", "train"), seed=2, signature_config="f" * 16)
    assert_names(" ".join(why(now, before)), "before", "seed", 2, 3)
