"""Everything is composed and checked before the first step starts."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.user_folder import write
from regimen.orchestration.memory_check import InsufficientMemoryError, estimate_of
from regimen.orchestration.pipeline import jobs
from regimen.system import host
from regimen.system.errors import ConfigError

TWO = "  - {name: a, stage: make}\n  - {name: b, stage: look, inputs: {policy: a@best}}\n"


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ("  - {name: a, stage: make, overrides: [stage.stps=3]}\n", ["p.yaml:4", "`a`", "stage.stps=3", "steps"]),
        ("  - {name: a, stage: make, overrides: [seed=x]}\n", ["p.yaml:4", "`a`", "seed=x", "`x`"]),
        ("  - {name: a, stage: mke}\n", ["p.yaml:4", "`a`", "stage=mke", "make"]),
        ("  - {name: a, stage: make, foreach: {sed: [1, 2]}}\n", ["p.yaml:4", "sed=1", "seed"]),
        (f"{TWO}  - {{name: c, stage: look, inputs: {{policy: a, data: a}}}}\n",
         ["p.yaml:6", "`c`", "data.0=a", "stage=look"]),
        ("  - {name: a, stage: make}\n  - {name: b, stage: make, inputs: {policy: a}, overrides: [policy=x]}\n",
         ["p.yaml:5", "`b`", "policy=x", "inputs"]),
        ("  - {name: a, stage: make, overrides: [hardware.scheduler=slurm]}\n  - {name: b, stage: make}\n",
         ["p.yaml:4", "hardware.scheduler=null", "hardware.scheduler=slurm"]),
        ("  - {name: a, stage: evaluate}\n", ["p.yaml:4", "`a`", "stage=evaluate", "policy"]),
    ],
)  # fmt: skip
def test_a_mistake_in_a_step_is_found_before_anything_starts(pipes: Any, steps: str, names: list[str]) -> None:
    pipes.write(steps)
    code, out = pipes.run()
    assert code == 2
    assert_names(out, *names)
    assert not (pipes.folder / "outputs").exists() and not (pipes.folder / "multirun").exists()


def test_the_mistakes_of_all_steps_are_said_at_once_each_once(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, overrides: [stage.stps=3], foreach: {seed: [0, 1, 2]}}\n"
        "  - {name: b, stage: make, overrides: [seeed=3]}\n"
    )
    code, out = pipes.run()
    assert code == 2
    assert_names(out, "stage.stps=3", "seeed=3")
    assert out.count("p.yaml:") == 2


def test_arguments_of_the_command_are_for_every_step_but_name_and_stage(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make, overrides: [seed=1, stage.steps=2]}\n  - {name: b, stage: look}\n")
    a, b = pipes.jobs("seed=7")
    assert (a.composed.plain["seed"], b.composed.plain["seed"]) == (7, 7)
    assert a.composed.plain["stage"]["steps"] == 2
    for argument in ("name=x", "stage=make"):
        with raises_naming(ConfigError, argument):
            pipes.jobs(argument)


def test_runs_are_named_for_their_step_unless_it_says_otherwise(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, foreach: {seed: [0, 1]}}\n"
        "  - {name: b, stage: make, overrides: ['name=mine_{seed}'], foreach: {seed: [5]}}\n"
    )
    assert [job.composed.plain["name"] for job in pipes.jobs()] == ["p.a.seed_0", "p.a.seed_1", "mine_5"]


def test_the_cores_are_shared_by_as_many_as_can_work_at_once(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, foreach: {seed: [0, 1, 2]}}\n  - {name: b, stage: make, inputs: {data: a}}\n"
    )
    assert jobs.parallel(pipes.jobs()) == 1
    assert jobs.parallel(pipes.jobs("hardware.max_jobs=2")) == 2
    assert jobs.parallel(pipes.jobs("hardware.max_jobs=9")) == 3


def test_the_memory_of_a_step_at_work_is_not_counted_twice(pipes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "  - {name: a, stage: make, foreach: {seed: [0, 1]}}\n"
    write(pipes.folder / "conf/pipeline/p.yaml", f"overrides: [task=reach]\nsteps:\n{step}")
    two = pipes.jobs("hardware.max_jobs=2")
    need = sum(estimate_of(two[0].composed).main.values())
    monkeypatch.setattr(host, "memory_available", lambda: int(2.2 * need))
    assert jobs.check_all(two) == []
    monkeypatch.setattr(host, "memory_available", lambda: int(1.2 * need))  # the other one is at work
    ready = jobs.prepare(two[1], two, {})
    assert ready.report.available == int(1.2 * need)
    assert ready.composed.plain["hardware"]["threads"] == max(1, host.cores() // 2)
    monkeypatch.setattr(host, "memory_available", lambda: int(0.8 * need))
    with raises_naming(InsufficientMemoryError, "memory"):
        jobs.prepare(two[1], two, {})


def test_inputs_stand_in_the_configuration_as_they_would_be_typed(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n  - {name: b, stage: make, inputs: {policy: a@best, data: [a, a]}}\n")
    both = pipes.jobs()
    b = both[1]
    inputs = {"policy": "/tmp/it's@best", "data.0": "/tmp/x", "data.1": "/tmp/y"}
    ready = jobs.prepare(b, both, inputs, pending=True)
    assert ready.composed.plain["policy"] == "/tmp/it's@best"
    assert ready.composed.plain["data"] == ["/tmp/x", "/tmp/y"]
    assert ready.composed.overrides[-2:] == [r"policy='/tmp/it\'s@best'", "data=['/tmp/x','/tmp/y']"]
    assert ready.report.pending == inputs
    assert b.composed.plain["policy"] is None, "the job itself is as it was"
