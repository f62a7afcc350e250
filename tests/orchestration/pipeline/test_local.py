"""Pipelines at work on this machine, with real runs of a light stage."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from matplotlib.image import imread

from helpers.messages import assert_names
from helpers.subprocesses import said
from helpers.supervised_runs import wait_for
from helpers.user_folder import write
from regimen.system import host

CHAIN = (
    "  - {name: walk, stage: make, foreach: {seed: [0, 1]}}\n"
    "  - {name: data, stage: make, foreach: walk, inputs: {policy: walk@best}, overrides: [stage.data=true]}\n"
    "  - {name: model, stage: make, inputs: {data: data}}\n"
)
LONG = "  - {name: walk, stage: make, overrides: [stage.steps=10000, stage.step_s=0.02]}\n"


def made_at(pipes: Any) -> dict[str, float]:
    """Id of each run -> when its record was last written."""
    return {run: (pipes.folder / f"outputs/{run}/result.json").stat().st_mtime for run in pipes.runs()}


@pytest.mark.slow
def test_fan_out_and_in_then_nothing_is_repeated(pipes: Any) -> None:
    pipes.write(CHAIN)
    code, out = pipes.run("hardware.max_jobs=2")
    assert code == 0, out
    runs = {info["pipeline"]["step"]: info for info in pipes.runs().values()}
    assert list(runs) and set(pipes.statuses().values()) == {"finished"}
    assert runs["walk.seed_1"]["name"] == "p.walk.seed_1"
    assert runs["data.seed_1"]["parents"] == [runs["walk.seed_1"]["id"]]
    assert runs["model"]["parents"] == [runs["data.seed_0"]["id"], runs["data.seed_1"]["id"]]
    result = json.loads((pipes.folder / f"outputs/{runs['model']['id']}/result.json").read_text())
    assert [text.split(", from")[0] for text in result["read"]] == ["1 steps, seed 0", "1 steps, seed 0"]
    assert "seed 1, from []" in result["read"][1], "of the policy that the second dataset was made from"
    (record,) = pipes.records()
    assert runs["model"]["pipeline"] == {"id": record["id"], "name": "p", "step": "model"}
    assert (record["status"], record["name"], record["signal"]) == ("ended", "p", None)
    assert imread(pipes.folder / f"multirun/{record['id']}/pipeline.png").std() > 0, "something is drawn"
    assert_names(out, "5 of 5")

    before = made_at(pipes)
    code, out = pipes.run("hardware.max_jobs=2")
    assert code == 0 and made_at(pipes) == before
    assert set(pipes.statuses().values()) == {"reused"}


@pytest.mark.slow
def test_a_failure_stops_what_comes_after_it_and_the_same_command_continues(pipes: Any) -> None:
    pipes.write(
        "  - {name: good, stage: make}\n"
        "  - {name: bad, stage: make, overrides: [stage.steps=2, stage.broken=upside_down]}\n"
        "  - {name: after_bad, stage: make, inputs: {policy: bad@best}}\n"
        "  - {name: last, stage: make, inputs: {policy: after_bad@best}}\n"
        "  - {name: after_good, stage: make, inputs: {policy: good@best}}\n"
    )
    flag = write(pipes.folder / "upside_down", "")
    code, out = pipes.run()
    assert code == 1
    assert pipes.statuses() == {
        **{"good": "finished", "bad": "failed", "after_good": "finished"},
        **{"after_bad": "blocked by bad", "last": "blocked by bad"},
    }
    failed = next(run for run, info in pipes.runs().items() if info["status"] == "failed")
    (advice,) = [line for line in out.splitlines() if line.startswith("  bad:")]
    assert_names(advice, "ValueError: the gripper is upside down", f"outputs/{failed}/logs/worker.log")
    assert out.endswith("\n  python launch.py --config-dir conf pipeline=p\n")

    flag.unlink()
    code, out = pipes.run()
    assert code == 0, out
    assert f"resumed   bad  outputs/{failed}" in out, "it had a checkpoint"
    assert len(pipes.runs()) == 5
    assert list(pipes.statuses().values()).count("reused") == 2


@pytest.mark.slow
def test_what_ran_by_hand_is_used_and_force_repeats(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n")
    by_hand = ["--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=make", "name=by_hand"]
    subprocess.run([sys.executable, str(pipes.root / "launch.py"), *by_hand], check=True, capture_output=True)
    code, out = pipes.run("dry_run=true")
    assert code == 0 and "a     make   reusable" in out
    assert pipes.run()[0] == 0 and pipes.statuses() == {"a": "reused"} and len(pipes.runs()) == 1
    assert pipes.run("force=true")[0] == 0 and pipes.statuses() == {"a": "finished"} and len(pipes.runs()) == 2


@pytest.mark.slow
def test_a_changed_output_and_all_that_read_it_are_made_again(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n  - {name: b, stage: make, inputs: {policy: a@best}}\n")
    assert pipes.run()[0] == 0
    made = pipes.folder.glob("outputs/*/checkpoints/best.pt")
    (first,) = [file for file in made if file.read_text() == "1 steps, seed 0, from []"]
    first.write_text("tampered with")
    code, out = pipes.run("dry_run=true")
    (row,) = [line for line in out.splitlines() if re.match("a +make +to do ", line)]
    assert_names(row, first.parents[1].name, "checkpoints/best.pt")
    code, out = pipes.run()
    assert code == 0
    assert pipes.statuses() == {"a": "finished", "b": "reused"}, "the new output equals the old one, so b stands"
    assert len(pipes.runs()) == 3


@pytest.mark.slow
def test_steps_work_side_by_side_up_to_max_jobs(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: act, foreach: {seed: [0, 1, 2]}, overrides: [stage.sleep_s=0.4, stage.company=2]}\n"
    )
    assert pipes.run("hardware.max_jobs=2")[0] == 0
    spans = [
        [float((f.parent / name).read_text()) for name in ("began", "ended")]
        for f in pipes.folder.glob("outputs/*/run.json")
    ]
    assert max(sum(a <= begin < b for a, b in spans) for begin, _ in spans) == 2


@pytest.mark.slow
def test_a_step_waits_for_the_memory_of_one_at_work(pipes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "  - {name: a, stage: make, foreach: {seed: [0, 1]}}\n"
    write(pipes.folder / "conf/pipeline/p.yaml", f"overrides: [task=reach, hardware.max_jobs=2]\nsteps:\n{step}")

    def memory() -> int:
        return 0 if any(run["status"] in ("queued", "running") for run in pipes.runs().values()) else 2**40

    monkeypatch.setattr(host, "memory_available", memory)
    code, out = pipes.run()
    assert code == 0, out
    assert_names(next(line for line in out.splitlines() if line.startswith("waiting ")), "a.seed_1", "memory")
    assert pipes.statuses() == {"a.seed_0": "finished", "a.seed_1": "finished"}


@pytest.mark.slow
def test_ctrl_c_stops_the_steps_and_the_same_command_continues_in_place(pipes: Any) -> None:
    pipes.write(f"{LONG}  - {{name: judge, stage: make, inputs: {{policy: walk}}}}\n")
    process = pipes.start()
    checkpoint = wait_for(lambda: next(iter(pipes.folder.glob("outputs/*/checkpoints/last.pt")), None))
    wait_for(lambda: int(checkpoint.read_text() or 0) > 3)
    process.send_signal(signal.SIGINT)
    out = said(process)
    assert process.returncode == 128 + signal.SIGINT, out
    assert pipes.statuses() == {"walk": "killed", "judge": "not started"}
    assert pipes.records()[-1]["status"] == "stopped"

    checkpoint.write_text("9998")  # nearly done
    code, out = pipes.run()
    assert code == 0, out
    assert pipes.statuses() == {"walk": "finished", "judge": "finished"}
    walk = next(info for info in pipes.runs().values() if info["pipeline"]["step"] == "walk")
    assert len(pipes.runs()) == 2 and [row["previous_status"] for row in walk["resumed"]] == ["killed"]


@pytest.mark.slow
def test_a_run_at_work_elsewhere_is_waited_for(pipes: Any) -> None:
    pipes.write("  - {name: walk, stage: make, overrides: [stage.until=waited_for]}\n")
    first = pipes.start()
    wait_for(lambda: list(pipes.folder.glob("outputs/*/checkpoints/last.pt")))

    def let_it_end() -> None:
        wait_for(lambda: any(row["run"] for row in pipes.records()[-1]["steps"] if row["status"] == "waiting"))
        (pipes.folder / "waited_for").touch()

    with ThreadPoolExecutor() as pool:
        end = pool.submit(let_it_end)
        code, out = pipes.run()
    end.result()
    told = said(first)
    assert (code, first.returncode) == (0, 0), out + told
    (run,) = pipes.runs()
    assert_names(next(line for line in out.splitlines() if re.match("waiting +walk ", line)), run)
    assert pipes.statuses() == {"walk": "reused"}


@pytest.mark.slow
def test_two_commands_given_at_once_start_each_step_once(pipes: Any) -> None:
    pipes.write(CHAIN)
    both = [pipes.start("hardware.max_jobs=2") for _ in range(2)]
    told = [said(process) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(pipes.runs()) == 5
    assert all(info["status"] == "finished" and not info["resumed"] for info in pipes.runs().values())


@pytest.mark.slow
def test_a_killed_pipeline_leaves_runs_that_the_same_command_takes_up(pipes: Any) -> None:
    pipes.write(f"{LONG}  - {{name: judge, stage: make, inputs: {{policy: walk}}}}\n")
    process = pipes.start()
    checkpoint = wait_for(lambda: next(iter(pipes.folder.glob("outputs/*/checkpoints/last.pt")), None))
    (run,) = pipes.runs()
    process.kill()
    process.communicate()
    os.kill(pipes.runs()[run]["supervisor"]["pid"], signal.SIGTERM)  # as when the machine goes down
    wait_for(lambda: pipes.runs()[run]["status"] == "killed")
    checkpoint.write_text("9998")
    code, out = pipes.run()
    assert code == 0 and f"resumed   walk  outputs/{run}" in out
    assert len(pipes.runs()) == 2


@pytest.mark.slow
def test_a_step_that_cannot_be_prepared_fails_alone(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make}\n  - {name: b, stage: make, inputs: {policy: a@77}}\n"
        "  - {name: c, stage: make, inputs: {policy: a@best}}\n"
    )
    code, out = pipes.run()
    assert code == 1 and pipes.statuses() == {"a": "finished", "b": "failed", "c": "finished"}
    assert_names(out, "@77", "@best", "@last")
    code, out = pipes.run()
    assert code == 2, "known before anything starts, now that the run is there"
    assert_names(out, "p.yaml:5", "`b`", "@77")


@pytest.mark.slow
def test_an_edit_meanwhile_changes_no_step_that_waits(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, overrides: [stage.until=edited]}\n"
        "  - {name: b, stage: make, inputs: {policy: a@best}}\n"
    )
    stage = pipes.folder / "lab_stage.py"
    before = stage.read_text()

    def edit() -> None:
        wait_for(lambda: list(pipes.folder.glob("outputs/*/checkpoints/last.pt")))
        stage.write_text(before.replace("class Make:", "class Renamed:"))
        write(pipes.folder / "conf/stage/make.yaml", "_target_: lab_stage.Renamed\n")
        (pipes.folder / "edited").touch()

    with ThreadPoolExecutor() as pool:
        edited = pool.submit(edit)
        code, out = pipes.run()
    edited.result()
    assert code == 0, out
    assert len({info["signature"]["code"] for info in pipes.runs().values()}) == 1
