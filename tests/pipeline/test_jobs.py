"""Everything is composed and checked before the first step starts."""

from __future__ import annotations

from typing import Any

import pytest

from regimen.errors import ConfigError
from regimen.pipeline import jobs

TWO = "  - {name: a, stage: make}\n  - {name: b, stage: look, inputs: {policy: a@best}}\n"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  - {name: a, stage: make, overrides: [stage.stps=3]}\n", "p.yaml:4: step `a`: argument `stage.stps=3`:"),
        ("  - {name: a, stage: make, overrides: [seed=x]}\n", "step `a`: argument `seed=x`: `seed` must be a whole"),
        ("  - {name: a, stage: mke}\n", "step `a`: argument `stage=mke`: there is no stage `mke`. Did you"),
        ("  - {name: a, stage: make, foreach: {sed: [1, 2]}}\n", "argument `sed=1`: There is no key `sed`."),
        (f"{TWO}  - {{name: c, stage: look, inputs: {{policy: a, data: a}}}}\n", "step `c`: data.0=a: stage=look"),
        ("  - {name: a, stage: make}\n  - {name: b, stage: make, inputs: {policy: a}, overrides: [policy=x]}\n",
         "p.yaml:5: step `b`: argument `policy=x`: `policy` is what another step makes, see its `inputs`."),
        ("  - {name: a, stage: make, overrides: [hardware.scheduler=slurm]}\n  - {name: b, stage: make}\n",
         "the steps ask for hardware.scheduler=null and hardware.scheduler=slurm: a pipeline runs in one place."),
        ("  - {name: a, stage: evaluate}\n", "step `a`: stage=evaluate needs a policy"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_step_is_found_before_anything_starts(pipes: Any, steps: str, said: str) -> None:
    pipes.write(steps)
    code, out = pipes.run()
    assert code == 2 and said in out
    assert not (pipes.folder / "outputs").exists() and not (pipes.folder / "multirun").exists()


def test_the_mistakes_of_all_steps_are_said_at_once_each_once(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, overrides: [stage.stps=3], foreach: {seed: [0, 1, 2]}}\n"
        "  - {name: b, stage: make, overrides: [seeed=3]}\n"
    )
    code, out = pipes.run()
    assert code == 2 and out.startswith("2 problems, nothing was started:")


def test_arguments_of_the_command_are_for_every_step_but_name_and_stage(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make, overrides: [seed=1, stage.steps=2]}\n  - {name: b, stage: look}\n")
    a, b = pipes.jobs("seed=7")
    assert (a.composed.config["seed"], b.composed.config["seed"]) == (7, 7)
    assert a.composed.config["stage"]["steps"] == 2
    for argument in ("name=x", "stage=make"):
        with pytest.raises(ConfigError, match="take it away"):
            pipes.jobs(argument)


def test_runs_are_named_for_their_step_unless_it_says_otherwise(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, foreach: {seed: [0, 1]}}\n"
        "  - {name: b, stage: make, overrides: ['name=mine_{seed}'], foreach: {seed: [5]}}\n"
    )
    assert [job.composed.config["name"] for job in pipes.jobs()] == ["p.a.seed_0", "p.a.seed_1", "mine_5"]


def test_the_cores_are_shared_by_as_many_as_can_work_at_once(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, foreach: {seed: [0, 1, 2]}}\n  - {name: b, stage: make, inputs: {data: a}}\n"
    )
    assert jobs.parallel(pipes.jobs()) == 1
    assert jobs.parallel(pipes.jobs("hardware.max_jobs=2")) == 2
    assert jobs.parallel(pipes.jobs("hardware.max_jobs=9")) == 3


def test_inputs_stand_in_the_configuration_as_they_would_be_typed(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n  - {name: b, stage: make, inputs: {policy: a@best, data: [a, a]}}\n")
    both = pipes.jobs()
    b = both[1]
    inputs = {"policy": "/tmp/it's@best", "data.0": "/tmp/x", "data.1": "/tmp/y"}
    ready = jobs.prepare(b, both, inputs, pending=True)
    assert ready.composed.config["policy"] == "/tmp/it's@best"
    assert ready.composed.config["data"] == ["/tmp/x", "/tmp/y"]
    assert ready.composed.overrides[-2:] == [r"policy='/tmp/it\'s@best'", "data=['/tmp/x','/tmp/y']"]
    assert ready.found.pending == inputs
    assert b.composed.config["policy"] is None, "the job itself is as it was"
