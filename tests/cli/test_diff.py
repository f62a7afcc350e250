"""The difference of two runs holds what differs, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.run_directories import add, add_file
from regimen.cli import main
from regimen.runs.history.run_diff import differing


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def diff(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main.main(["diff", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_equal_runs_have_no_difference(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(outputs, "a", headline={"return": 1.0})
    add(outputs, "b", headline={"return": 1.0})
    first, second, *sections = filter(None, diff(capsys, "a", "b"))
    assert (first, second) == ("A  a  finished", "B  b  finished")
    assert not [line for line in sections if line.startswith(" ")], "no section has a row"
    assert {"settings", "inputs", "code", "packages", "host", "headline"} < {s.partition(":")[0] for s in sections}
    assert not any(json.loads("\n".join(diff(capsys, "a", "b", "--json"))).values())


def test_settings_inputs_packages_and_figures(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = add(outputs, "teacher")
    policies = [add_file(teacher, f"checkpoints/{name}.pt", name) for name in ("best", "last")]
    add(outputs, "a", {"policy": policies[0]}, headline={"return": 2.0, "falls": 0.0, "only": 1.0})
    change = {"agent": {"agent": {"learning_rate": 0.01}}, "env": {"rewards": {"near": {"weight": None}}}}
    add(outputs, "b", {"policy": policies[1]}, change, seed=1, versions={"python": "3.11", "torch": "2.2"},
        headline={"return": 3.0, "falls": 2.0}, host={"name": "there", "cores": 2, "gpus": []})  # fmt: skip
    said = diff(capsys, "a", "b")
    sections = "\n".join(said).split("\n\n")
    rows = {section.split("\n")[0]: [line.split() for line in section.splitlines()[1:]] for section in sections}
    assert rows["settings"] == [["A", "B"], ["env.rewards.near.weight", "1.0", "–"],
                                ["agent.agent.learning_rate", "0.001", "0.01"], ["seed", "0", "1"]]  # fmt: skip
    assert rows["inputs"][1][:2] == ["policy", "sha256"] and rows["packages"][1] == ["torch", "2.1", "2.2"]
    assert rows["host"] == [["A", "B"], ["name", "here", "there"]]
    assert rows["headline"][1:] == [["return", "2", "3", "+1", "+50.0%"], ["falls", "0", "2", "+2"], ["only", "1", "–"]]


def test_json_has_the_same_sections(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(outputs, "a")
    add(outputs, "b", seed=1)
    found = json.loads("\n".join(diff(capsys, "a", "b", "--json")))
    assert found["settings"] == {"seed": [0, 1]}
    assert {name for name, rows in found.items() if rows} == {"settings"}


def test_absent_and_null_are_the_same() -> None:
    assert differing({"a": None, "b": 1}, {"b": 2, "c": 3}) == {"b": (1, 2), "c": (None, 3)}
