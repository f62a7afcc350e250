"""Fanning out and in, and every mistake of a graph."""

from __future__ import annotations

import re
from typing import Any

import pytest

from helpers.messages import assert_names
from regimen.config.overrides import make_loader, parse
from regimen.system.errors import ConfigError

WALK = "  - {name: walk, stage: make, foreach: {seed: [0, 1]}}\n"


def names(pipes: Any) -> list[str]:
    return [node.name for node in pipes.nodes()]


def refusal(pipes: Any, steps: str) -> str:
    pipes.write(steps)
    with pytest.raises(ConfigError) as error:
        pipes.nodes()
    return str(error.value)


def test_a_mapping_makes_all_combinations_and_a_list_these_alone(pipes: Any) -> None:
    pipes.write(
        "  - {name: a, stage: make, foreach: {seed: [0, 1], stage.steps: [5, 6]}}\n"
        "  - {name: b, stage: make, foreach: [{seed: 0, stage.steps: 5}, {seed: 1, stage.steps: 6}]}\n"
    )
    nodes = {node.name: node for node in pipes.nodes()}
    assert list(nodes) == [
        *("a.seed_0.steps_5", "a.seed_0.steps_6", "a.seed_1.steps_5", "a.seed_1.steps_6"),
        *("b.seed_0.steps_5", "b.seed_1.steps_6"),
    ]
    assert nodes["a.seed_1.steps_5"].overrides == ["seed=1", "stage.steps=5"]


def test_a_step_for_each_run_of_another_reads_that_one_also_further_down(pipes: Any) -> None:
    pipes.write(
        f"{WALK}  - {{name: collect, stage: make, foreach: walk, inputs: {{policy: walk@best}}}}\n"
        "  - {name: judge, stage: make, foreach: {step: collect, seed: [7]}, inputs: {policy: walk, data: collect}}\n"
    )
    nodes = {node.name: node for node in pipes.nodes()}
    assert nodes["collect.seed_1"].overrides == [], "the seed is that of the walk, not of the step"
    assert str(nodes["collect.seed_1"].inputs["policy"]) == "walk.seed_1@best"
    judge = nodes["judge.seed_1.seed_7"]
    assert {name: str(link) for name, link in judge.inputs.items()} == {
        "policy": "walk.seed_1",
        "data.0": "collect.seed_1",
    }
    assert judge.after == ["collect.seed_1", "walk.seed_1"]


def test_a_list_takes_all_runs_of_the_steps_it_names_and_one_may_be_named_alone(pipes: Any) -> None:
    pipes.write(
        f"{WALK}  - {{name: other, stage: make}}\n"
        "  - {name: model, stage: make, inputs: {data: [walk, other], policy: walk.seed_1@last}}\n"
    )
    model = pipes.nodes()[-1]
    assert {name: str(link) for name, link in model.inputs.items()} == {
        "data.0": "walk.seed_0",
        "data.1": "walk.seed_1",
        "data.2": "other",
        "policy": "walk.seed_1@last",
    }


def test_values_stand_in_arguments_also_those_of_the_step_before(pipes: Any) -> None:
    pipes.write(
        "  - {name: walk, stage: make, foreach: {task: [idle, lean], seed: [3]}, overrides: ['name=w_{task}']}\n"
        "  - {name: judge, stage: make, foreach: walk, inputs: {policy: walk}, overrides: ['task={task}']}\n"
    )
    nodes = {node.name: node for node in pipes.nodes()}
    assert nodes["walk.task_lean.seed_3"].overrides == ["name=w_lean", "task=lean", "seed=3"]
    assert nodes["judge.task_lean.seed_3"].overrides == ["task=lean"]


def test_steps_may_stand_in_any_order(pipes: Any) -> None:
    pipes.write("  - {name: b, stage: make, inputs: {policy: a}}\n  - {name: a, stage: make}\n")
    assert names(pipes) == ["a", "b"]


@pytest.mark.parametrize("value", [True, None, 1.5, "a b/c", "it's", "x=1,2", [1, "a b"], {"x": 1}])
def test_any_value_makes_a_name_and_an_argument(pipes: Any, value: Any) -> None:
    import json

    pipes.write(f"  - {{name: a, stage: make, foreach: {{stage.broken: [{json.dumps(value)}]}}}}\n")
    (node,) = pipes.nodes()
    assert node.name.replace("a.broken_", "").replace("_", "").replace(".", "").isalnum()
    (parsed,), wrong = parse(node.overrides, make_loader(pipes.dirs))
    assert not wrong and parsed.value() == value


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ("  - {name: b, stage: x, inputs: {policy: wlak@best}}\n", ["p.yaml:5", "wlak", "walk"]),
        ("  - {name: b, stage: x, foreach: wlak}\n", ["p.yaml:5", "wlak", "walk"]),
        ("  - {name: b, stage: x, foreach: {step: wlak}}\n", ["p.yaml:5", "wlak", "walk"]),
        ("  - {name: b, stage: x, inputs: {polcy: walk}}\n", ["p.yaml:5", "polcy", "policy"]),
        ("  - {name: b, stage: x, inputs: {policy: null}}\n", ["p.yaml:5", "policy"]),
        ("  - {name: b, stage: x, inputs: {data: walk@best}}\n", ["p.yaml:5", "walk@best", "`walk`"]),
        ("  - {name: b, stage: x, inputs: {experts: [walk@lst]}}\n", ["p.yaml:5", "walk@lst", "`last`"]),
        ("  - {name: b, stage: x, foreach: walk, inputs: {policy: 'walk@{seed}0x'}}\n", ["p.yaml:5", "walk@10x"]),
        ("  - {name: b, stage: x, foreach: walk, inputs: {policy: walk@}}\n", ["p.yaml:5", "walk@", "best_return"]),
        ("  - {name: b, stage: x, inputs: {policy: walk}}\n", ["policy", "walk", "2", "foreach: walk", "walk.seed_0"]),
        ("  - {name: b, stage: x, inputs: {policy: walk.seed_7}}\n", ["p.yaml:5", "walk.seed_7", "walk.seed_1"]),
        ("  - {name: b, stage: x, foreach: {seed: 1}}\n", ["p.yaml:5", "foreach", "{seed: [0, 1]}", "{'seed': 1}"]),
        ("  - {name: b, stage: x, foreach: [1, 2]}\n", ["foreach", "{seed: [0, 1]}", "[1, 2]"]),
        ("  - {name: b, stage: x, foreach: {seed: []}}\n", ["foreach", "{seed: [0, 1]}", "{'seed': []}"]),
        ("  - {name: b, stage: x, foreach: {seed: [1, 1]}}\n", ["p.yaml:5", "foreach", "b.seed_1"]),
        ("  - {name: b, stage: x, foreach: walk, overrides: ['a={sed}']}\n", ["p.yaml:5", "sed", "foreach", "seed"]),
        ("  - {name: b, stage: x, overrides: ['a={seed}']}\n", ["p.yaml:5", "seed", "foreach"]),
    ],
)
def test_what_cannot_be(pipes: Any, steps: str, names: list[str]) -> None:
    assert_names(refusal(pipes, WALK + steps), *names)


@pytest.mark.parametrize("which", ["best", "best_return", "last", "120", "0003_epoch"])
def test_each_checkpoint_that_a_run_may_have_can_be_named(pipes: Any, which: str) -> None:
    pipes.write(f"{WALK}  - {{name: b, stage: x, inputs: {{policy: walk.seed_1@{which}}}}}\n")
    (last,) = [node for node in pipes.nodes() if node.name == "b"]
    assert str(last.inputs["policy"]) == f"walk.seed_1@{which}"


@pytest.mark.parametrize(
    ("steps", "circle"),
    [
        ("  - {name: b, stage: x, inputs: {policy: b}}\n", ["b", "b"]),
        (
            "  - {name: b, stage: x, inputs: {data: [d]}}\n  - {name: c, stage: x, foreach: b}\n"
            "  - {name: d, stage: x, inputs: {policy: c}}\n",
            ["b", "d", "c", "b"],
        ),
    ],
)
def test_steps_that_need_each_other_are_named_in_their_order(pipes: Any, steps: str, circle: list[str]) -> None:
    told = refusal(pipes, WALK + steps)
    assert_names(told, "p.yaml:5")
    assert re.findall("`([bcd])`", told) == circle


def test_runs_that_were_fanned_out_for_the_same_step_go_together(pipes: Any) -> None:
    pipes.write(
        f"{WALK}"
        "  - {name: part, stage: make, foreach: {step: walk, stage.steps: [5, 6]}, inputs: {policy: walk}}\n"
        "  - {name: whole, stage: make, foreach: walk, inputs: {experts: part@best}}\n"
        "  - {name: all, stage: make, inputs: {experts: part}}\n"
    )
    nodes = {node.name: node for node in pipes.nodes()}
    assert [str(link) for link in nodes["whole.seed_1"].inputs.values()] == [
        "part.seed_1.steps_5@best",
        "part.seed_1.steps_6@best",
    ]
    assert len(nodes["all"].inputs) == 4
