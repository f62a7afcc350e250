"""The file of a pipeline: what is wrong with it is said with its line."""

from __future__ import annotations

from typing import Any

import pytest

from lab import write
from regimen import catalogue
from regimen.errors import ConfigError
from regimen.pipeline import spec


def refusal(pipes: Any, text: str) -> str:
    write(pipes.folder / "conf/pipeline/p.yaml", text)
    with pytest.raises(ConfigError) as error:
        pipes.read()
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "steps:\n  - name: a\n    stge: make\n",
            "p.yaml:3: There is no key `stge` in `steps.0`. Did you mean `stage`?",
        ),
        ("stepz: []\n", "p.yaml:1: There is no key `stepz` here. Did you mean `steps`?"),
        ("steps:\n  - stage: make\n", "p.yaml:2: `steps.0.name` has no value."),
        ("steps:\n  - name: a\n", "p.yaml:2: `steps.0.stage` has no value."),
        (
            "steps:\n  - name: a\n    stage: make\n    overrides: seed=1\n",
            "p.yaml:4: `steps.0.overrides` must be a list",
        ),
        ("steps: [{name: a, stage: make, overrides: [{b: 1}]}]", "`steps.0.overrides.0` must be text, not a mapping."),
        ("steps:\n  - {name: a.b, stage: make}\n", "p.yaml:2: `a.b` cannot name a step"),
        ("steps:\n  - {name: a, stage: x}\n  - {name: a, stage: x}\n", "p.yaml:3: there are two steps `a`; the other"),
        ("steps: []\n", "p.yaml:1: the pipeline has no steps."),
        ("- a\n", "p.yaml:1: the file holds keys, not the value"),
        ("steps: [\n", "p.yaml:2: not valid YAML"),
        ("", "`steps` has no value"),
    ],
)
def test_mistakes_are_said_with_their_line(pipes: Any, text: str, said: str) -> None:
    assert said in refusal(pipes, text)


def test_all_mistakes_are_said_at_once(pipes: Any) -> None:
    said = refusal(pipes, "stepz: 1\nsteps:\n  - {name: a, stage: x, input: {}}\n  - {name: b}\n")
    assert said.startswith("3 problems, nothing was started:")


def test_an_unknown_pipeline(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n", "study")
    with pytest.raises(ConfigError, match="There is no pipeline `studdy`. Did you mean `study`?"):
        spec.read("studdy", pipes.dirs)


def test_the_shipped_ones_are_listed_and_are_no_option_of_a_run(
    repo_root: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert catalogue.list_verb(["pipelines"]) == 0
    said = capsys.readouterr().out
    assert "reach_study  Three seeds of the reaching arm" in said and "go2_walk" in said
    assert "pipeline" not in catalogue.GROUPS
