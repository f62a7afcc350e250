"""Sizes of a pipeline, their values, steps that only some sizes have, and steps that are given."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.user_folder import write
from regimen.orchestration.pipeline import graph, sizes
from regimen.system.errors import ConfigError

FILE = """# A study
overrides: [task=idle, sim=idle, agent=idle]
sizes:
  small: {seeds: [0], steps: 2, more: false}
  full: {seeds: [0, 1], steps: 9, more: true}
steps:
  - {name: walk, stage: make, overrides: ["stage.steps={steps}"], foreach: {seed: "{seeds}"}}
  - {name: again, stage: make, when: more, foreach: walk, inputs: {policy: walk@best}}
  - name: data
    stage: make
    overrides: [stage.data=true]
    foreach: walk
    inputs: {policy: "walk.seed_{seed}@best"}
  - {name: all, stage: make, inputs: {data: [data], policy: walk.seed_0}}
  - {name: both, stage: make, inputs: {runs: [walk, again]}}
"""


@pytest.fixture
def study(pipes: Any) -> Any:
    write(pipes.folder / "conf/pipeline/p.yaml", FILE)
    return pipes


def chosen(pipes: Any, *arguments: str) -> tuple[dict[str, graph.Node], list[str]]:
    pipeline, left = sizes.choose(pipes.read(), list(arguments))
    return {node.name: node for node in graph.expand(pipeline)}, left


def refusal(pipes: Any, text: str, *arguments: str) -> str:
    write(pipes.folder / "conf/pipeline/p.yaml", text)
    with pytest.raises(ConfigError) as error:
        chosen(pipes, *arguments)
    return str(error.value)


def test_the_first_size_is_the_default(study: Any) -> None:
    nodes, left = chosen(study, "hardware.max_jobs=2")
    assert set(nodes) == {"walk.seed_0", "data.seed_0", "all", "both"} and left == ["hardware.max_jobs=2"]
    assert nodes["walk.seed_0"].overrides == ["stage.steps=2", "seed=0"]
    assert {k: str(v) for k, v in nodes["both"].inputs.items()} == {"runs.0": "walk.seed_0"}


def test_another_size_has_more_runs_and_more_steps(study: Any) -> None:
    nodes, _ = chosen(study, "size=full")
    assert {"walk.seed_1", "again.seed_0", "again.seed_1"} <= set(nodes) and len(nodes) == 8
    assert str(nodes["data.seed_1"].inputs["policy"]) == "walk.seed_1@best"
    assert len(nodes["both"].inputs) == 4


def test_single_values_are_chosen_too(study: Any) -> None:
    nodes, left = chosen(study, "seeds=[0,4]", "steps=5")
    assert nodes["walk.seed_4"].overrides == ["stage.steps=5", "seed=4"] and not left


def test_a_step_that_is_given_is_not_made(study: Any) -> None:
    nodes, left = chosen(study, "size=full", "walk=pretrained:h1_flat", "seed=3")
    assert left == ["seed=3"], "no run of this step gets it"
    assert not any(name.startswith("walk") for name in nodes)
    assert nodes["data.seed_1"].inputs["policy"].reference("") == "pretrained:h1_flat"
    assert nodes["data.seed_1"].after == [] and nodes["all"].after == ["data.seed_0", "data.seed_1"]


def test_of_a_run_that_is_given_each_input_takes_its_checkpoint(study: Any) -> None:
    nodes, _ = chosen(study, "size=full", "walk=20260101-a")
    taken = {name: nodes[name].inputs["policy"].reference("") for name in ("data.seed_0", "again.seed_1", "all")}
    assert taken == {"data.seed_0": "20260101-a@best", "again.seed_1": "20260101-a@best", "all": "20260101-a"}


@pytest.mark.parametrize(("given", "instead"), [("pretrained:h1", "<run>"), ("a/b.pt", "<run>"), ("2026@7", "2026")])
def test_one_checkpoint_is_not_given_for_several(pipes: Any, given: str, instead: str) -> None:
    text = FILE.replace("inputs: {policy: walk@best}", "inputs: {policy: walk@last}")
    said = refusal(pipes, text, "size=full", f"walk={given}")
    assert_names(said, f"walk={given}", "@last", "@best", "p.yaml:8", "p.yaml:13", f"walk={instead}")


@pytest.mark.parametrize(
    ("text", "arguments", "names"),
    [
        (FILE, ["size=ful"], ["size=ful", "full"]),
        (FILE, ["seeds=[3"], ["seeds=[3", "[0,1]"]),
        (FILE.replace("steps: 9, ", ""), [], ["p.yaml:5", "full", "steps"]),
        (FILE.replace("seeds", "seed"), [], ["p.yaml:4", "seed"]),
        (FILE.replace("steps: 2", "walk: 2").replace("steps: 9", "walk: 9"), [], ["p.yaml:4", "walk"]),
        (FILE.replace("when: more", "when: mor"), [], ["p.yaml:8", "when", "sizes", "more"]),
        (
            FILE.replace("policy: walk.seed_0", "policy: again.seed_0"),
            [],
            ["p.yaml:14", "all", "again", "when"],
        ),
        (FILE, ["seed=3"], ["seed=3", "p.yaml:7", "`walk`", "seeds=[3]"]),
        (FILE.replace('"{seeds}"', "[0, 1]"), ["++seed=3"], ["++seed=3", "p.yaml:7", "`walk`"]),
        (FILE.replace('{seed: "{seeds}"}', "[{seed: 0, video: true}]"), ["video=false"], ["video=false", "p.yaml:7"]),
        (FILE.replace("walk.seed_{seed}@", "walk.seed_{sed}@"), [], ["p.yaml:13", "sed", "foreach", "seed"]),
    ],
)
def test_mistakes(pipes: Any, text: str, arguments: list[str], names: list[str]) -> None:
    assert_names(refusal(pipes, text, *arguments), *names)


@pytest.mark.parametrize(
    ("argument", "names"), [("walk", ["`walk`", "walk=<run>"]), ("walk=", ["walk=<run>"]), ("seeds", ["seeds=<value>"])]
)
def test_a_name_without_a_value_is_refused(pipes: Any, argument: str, names: list[str]) -> None:
    assert_names(refusal(pipes, FILE, argument), *names)


def test_a_size_of_a_pipeline_without_sizes_is_refused(pipes: Any) -> None:
    text = "# A test\nsteps:\n  - {name: walk, stage: make}\n"
    said = refusal(pipes, text, "size=small")
    assert_names(said, "size=small", "`p`")
    assert "Did you mean" not in said
    assert "`size`" not in refusal(pipes, text, "sise=small")


@pytest.mark.slow
def test_it_runs_from_what_is_given(study: Any) -> None:
    """A given run takes the place of a step; its fan-out stays."""
    assert study.run()[0] == 0
    made = study.records()[-1]["steps"][0]["run"]
    code, said = study.run("size=full", "steps=2", f"walk={made}")
    statuses = study.statuses()
    assert code == 0, said
    assert not any(name.startswith("walk") for name in statuses)
    assert statuses["data.seed_0"] == "reused" and "again.seed_1" in statuses
    again = study.runs()[study.records()[-1]["steps"][0]["run"]]
    assert again["inputs"]["policy"]["run"] == made


def test_a_misspelt_name_is_told_once_with_the_right_one(study: Any) -> None:
    for text, right in (("seed_s=[1]", "seeds"), ("wlak=x", "walk"), ("sise=full", "size")):
        told = refusal(study, FILE, text)
        assert_names(told, text, right)
        assert told.count(text) == 1
