"""Two runs have one signature exactly if the second need not be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.user_folder import write
from regimen.runs.signature import code_signature, config_signature, continued

CONFIG: dict[str, Any] = {
    "env": {"num_envs": 4, "low_level": {"policy": "/somewhere/walker.pt", "decimation": 25}},
    "agent": {"learning_rate": 0.1},
    "hardware": {"device": "cpu", "threads": 2, "max_jobs": 1, "nodes": 1, "processes": 1, "submitit": {}},
    "choices": {"task": "reach", "hardware": "cpu", "experiment": "none"},
    "seed": 0,
    "name": None,
    "policy": "/somewhere/policy.pt",
    "data": [],
    "logger": {},
    "dry_run": False,
}
INPUTS = {"policy": "ab12"}

CHANNEL = {"push_steps": 10, "ahead": 50, "transport": "http", "port": None, "token": None}
ACTORS: dict[str, Any] = {**CONFIG["hardware"], "actors": 1, "channel": CHANNEL}


def with_(**changes: Any) -> dict[str, Any]:
    return {**CONFIG, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "walker"},
        {"logger": {"csv": {"_target_": "regimen.runs.loggers.forwarder.csv.Csv"}}},
        {"policy": "/elsewhere/policy.pt"},
        {"env": {"num_envs": 4, "low_level": {"policy": "/elsewhere/walker.pt", "decimation": 25}}},
        {"hardware": {**CONFIG["hardware"], "scheduler": "slurm", "submitit": {"partition": "low"}}},
        {"choices": {**CONFIG["choices"], "hardware": "slurm", "experiment": "mine"}},
    ],
)
def test_what_cannot_change_the_result_does_not_count(changes: dict[str, Any]) -> None:
    assert config_signature(with_(**changes), INPUTS) == config_signature(CONFIG, INPUTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"env": {"num_envs": 5}},
        {"hardware": {**CONFIG["hardware"], "device": "cuda"}},
        {"hardware": {**CONFIG["hardware"], "processes": 2}},
        {"hardware": {**CONFIG["hardware"], "threads": 8}},
        {"choices": {**CONFIG["choices"], "task": "other"}},
    ],
)
def test_what_can_change_the_result_counts(changes: dict[str, Any]) -> None:
    assert config_signature(with_(**changes), INPUTS) != config_signature(CONFIG, INPUTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"actors": 8},
        *({"channel": CHANNEL | row} for row in ({"push_steps": 5}, {"ahead": 5000}, {"transport": "ray"})),
    ],
)
def test_the_mode_of_actors_counts(changes: dict[str, Any]) -> None:
    one, other = (config_signature(with_(hardware=row), INPUTS) for row in (ACTORS, ACTORS | changes))
    assert len({config_signature(CONFIG, INPUTS), one, other}) == 3


def test_where_actors_are_and_keys_of_actors_without_a_channel_do_not_count() -> None:
    alone, reached = ({**ACTORS, "channel": CHANNEL | {"port": port}} for port in (None, 5588))
    assert config_signature(with_(hardware=alone), INPUTS) == config_signature(with_(hardware=reached), INPUTS)
    without = with_(hardware={**CONFIG["hardware"], "actors": 0, "channel": None})
    assert config_signature(without, INPUTS) == config_signature(CONFIG, INPUTS)


def test_work_of_two_codes_is_that_of_neither() -> None:
    mixed = continued("a" * 16, "b" * 16)
    assert mixed not in ("a" * 16, "b" * 16, continued("b" * 16, "a" * 16)) and len(mixed) == 16
    assert continued(mixed, "a" * 16) != "a" * 16
    assert continued("a" * 16, "a" * 16) == continued(None, "a" * 16) == "a" * 16


def test_the_content_of_the_inputs_counts() -> None:
    assert config_signature(CONFIG, {"policy": "cd34"}) != config_signature(CONFIG, INPUTS)


def test_the_policy_below_a_task_is_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])  # has a folder `pretrained`
    below = [{"policy": text} for text in ("pretrained:go2_flat", "/somewhere/walker.pt")]
    one, other = (code_signature(with_(env={"num_envs": 4, "low_level": low})) for low in below)
    assert one == other


def test_an_edit_of_a_users_module_changes_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "signed_stage.py"
    module.write_text("VALUE = 1\n")
    config = {"stage": {"_target_": "signed_stage.Act"}}
    before = code_signature(config)
    assert code_signature(config) == before
    module.write_text("VALUE = 2  # another length\n")
    assert code_signature(config) != before
    assert code_signature({}) != before


@pytest.mark.parametrize("typed", ["{folder}/motions/walk.npz", "~/motions/walk.npz"])
def test_a_named_file_outside_of_the_current_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(elsewhere))
    config = {"env": {"motion": {"clips": {"walk": {"file": typed.format(folder=elsewhere)}}}}}
    signed = []
    for text in ("one", "another"):
        write(elsewhere / "motions/walk.npz", text)
        signed.append(code_signature(config))
    assert len({*signed, code_signature({})}) == 3


def test_a_new_token_or_certificate_of_a_server_does_not_count(tmp_path: Path) -> None:
    config = {"sim": {"token": str(tmp_path / "token"), "certificate": str(tmp_path / "cert.pem")}}
    signed = set()
    for text in ("one", "another"):
        write(tmp_path / "token", text)
        write(tmp_path / "cert.pem", text)
        signed.add(code_signature(config))
    assert len(signed) == 1
