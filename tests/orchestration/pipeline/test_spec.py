"""The file of a pipeline: what is wrong with it is said with its line."""

from __future__ import annotations

import re
from typing import Any

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.user_folder import write
from regimen.cli import list_options
from regimen.config import groups
from regimen.orchestration.pipeline import graph
from regimen.system.errors import ConfigError


def refusal(pipes: Any, text: str) -> str:
    write(pipes.folder / "conf/pipeline/p.yaml", text)
    with pytest.raises(ConfigError) as error:
        pipes.read()
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("steps:\n  - name: a\n    stge: make\n", ["p.yaml:3", "stge", "steps.0", "stage"]),
        ("stepz: []\n", ["p.yaml:1", "stepz", "steps"]),
        ("steps:\n  - stage: make\n", ["p.yaml:2", "steps.0.name"]),
        ("steps:\n  - name: a\n", ["p.yaml:2", "steps.0.stage"]),
        (
            "steps:\n  - name: a\n    stage: make\n    overrides: seed=1\n",
            ["p.yaml:4", "steps.0.overrides", "list", "seed=1"],
        ),
        ("steps: [{name: a, stage: make, overrides: [{b: 1}]}]", ["p.yaml:1", "steps.0.overrides.0", "mapping"]),
        ("steps:\n  - {name: a.b, stage: make}\n", ["p.yaml:2", "a.b"]),
        ("steps:\n  - {name: a, stage: x}\n  - {name: a, stage: x}\n", ["p.yaml:3", "`a`", "p.yaml:2"]),
        ("steps: []\n", ["p.yaml:1", "steps"]),
        ("steps:\n  - {name: a, stage: make, overrides: [seed=1], overrides: []}\n", ["p.yaml:2", "overrides"]),
        ("overrides: [seed=1]\nsteps: [{name: a, stage: make}]\noverrides: []\n", ["p.yaml:3", "overrides"]),
        ("- a\n", ["p.yaml:1", "['a']"]),
        ("steps: [\n", ["p.yaml:2", "YAML"]),
        ("", ["p.yaml", "steps"]),
    ],
)
def test_mistakes_are_said_with_their_line(pipes: Any, text: str, names: list[str]) -> None:
    assert_names(refusal(pipes, text), *names)


def test_all_mistakes_are_said_at_once(pipes: Any) -> None:
    said = refusal(pipes, "stepz: 1\nsteps:\n  - {name: a, stage: x, input: {}}\n  - {name: b}\n")
    assert_names(said, "stepz", "input", "steps.1.stage")
    assert said.count("p.yaml:") == 3


def test_an_unknown_pipeline(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n", "study")
    with raises_naming(ConfigError, "studdy", "study"):
        graph.read("studdy", pipes.dirs)


def test_the_shipped_ones_are_listed_and_are_no_option_of_a_run(
    repo_root: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_options.list_verb(["pipelines"]) == 0
    said = capsys.readouterr().out
    description = groups.description(repo_root / "conf/pipeline/reach_study.yaml")
    assert re.search(f"reach_study +{re.escape(description)}", said) and "go2_walk" in said
    assert "pipeline" not in groups.GROUPS
