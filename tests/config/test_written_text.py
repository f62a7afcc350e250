"""Names, references and other text are what was typed, also where YAML or Hydra read a number."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from helpers.messages import raises_naming
from helpers.user_folder import make_lab, write
from regimen.config.compose import compose
from regimen.config.yaml_io import as_yaml, parse_exactly, parse_yaml
from regimen.system.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"

NUMBERS = ["12e5", "1e3", "2026_11", "20261130", "012", "0x10", "1_000", "true", "False", "nan", "inf", "-1", ".5"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return make_lab(tmp_path)


@pytest.mark.parametrize("text", NUMBERS)
def test_an_argument_of_text_is_what_was_typed(text: str) -> None:
    arguments = ["task=reach", f"name={text}", f"policy={text}", f"data=[{text},x]", f"env.robot={text}"]
    config = compose(arguments, [CONF]).plain
    assert (config["name"], config["policy"], config["data"], config["env"]["robot"]) == (text, text, [text, "x"], text)


@pytest.mark.parametrize("typed", ["'1e3'", '"1e3"', "1e3"])
def test_quotes_are_no_part_of_the_text(typed: str) -> None:
    assert compose(["task=reach", f"name={typed}"], [CONF]).config.name == "1e3"


def test_text_in_a_mapping_and_in_the_keys_of_a_library() -> None:
    arguments = ["task=reach", "hardware=slurm", "hardware.submitit={partition: 2026_11, account: 012}"]
    submitit = compose([*arguments, "env.rewards.near.params.command=1e3"], [CONF]).plain["hardware"]["submitit"]
    assert (submitit["partition"], submitit["account"]) == ("2026_11", "012")
    assert (
        compose(["task=reach", "env.rewards={near: {params: {command: 1e3}}}"], [CONF]).plain["env"]["rewards"]["near"][
            "params"
        ]["command"]
        == "1e3"
    )


def test_a_number_stays_a_number_and_null_stays_null() -> None:
    config = compose(["task=reach", "seed=1_0", "name=null", "sim.dt=5e-3"], [CONF]).plain
    assert (config["seed"], config["name"], config["sim"]["dt"]) == (10, None, 0.005)


@pytest.mark.parametrize("text", ["12e5", "2026_11", "012", "true"])
def test_text_of_an_experiment_file_is_what_was_written(lab: Path, text: str) -> None:
    write(
        lab / "experiment/mine.yaml",
        f"""
        # @package _global_
        # Mine
        name: {text}
        data: [{text}]
        """,
    )
    composed = compose(["task=reach", "experiment=mine", "seed=1"], [CONF, lab])
    assert (composed.config.name, composed.plain["data"]) == (text, [text])
    assert [value for path, value, *_ in composed.tree.changed() if path in ("name", "data")] == [text, [text]]


@pytest.mark.parametrize("text", NUMBERS)
def test_text_survives_the_frozen_file_for_every_reader(text: str) -> None:
    frozen = as_yaml({"name": text, "tags": [text]})
    assert parse_yaml(frozen) == yaml.safe_load(frozen) == {"name": text, "tags": [text]}
    assert OmegaConf.to_container(OmegaConf.create(frozen)) == {"name": text, "tags": [text]}


@pytest.mark.parametrize("name", ["1e3", "2026_11", "null"])
def test_options_may_be_called_like_numbers(lab: Path, name: str) -> None:
    write(
        lab / f"experiment/{name}.yaml",
        """
        # @package _global_
        # Numbered
        seed: 7
        """,
    )
    write(
        lab / f"task/{name}.yaml",
        """
        # @package env
        # Numbered
        defaults:
          - reach
          - _self_
        """,
    )
    write(
        lab / "experiment/above.yaml",
        f"""
        # @package _global_
        # Names it in its defaults
        defaults:
          - override /task: {name}
        """,
    )
    assert compose([f"experiment={name}"], [CONF, lab]).config.seed == 7
    assert compose([f"task={name}"], [CONF, lab]).choices["task"] == name
    assert compose([f"task='{name}'"], [CONF, lab]).choices["task"] == name
    if name != "null":
        assert compose(["experiment=above"], [CONF, lab]).choices["task"] == name


ENCODINGS = {"utf-8-sig": "utf-8-sig", "utf-16": "utf-16", "utf-32": "utf-32", "crlf": "utf-8", "cr": "utf-8"}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_files_as_editors_on_windows_save_them(lab: Path, kind: str) -> None:
    end = {"crlf": "\r\n", "cr": "\r"}.get(kind, "\n")
    text = f"# @package _global_{end}# Mine{end}name: grün{end}"
    (lab / "experiment").mkdir()
    (lab / "experiment/mine.yaml").write_bytes(text.encode(ENCODINGS[kind]))
    assert compose(["task=reach", "experiment=mine"], [CONF, lab]).config.name == "grün"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("# @package _global_\r\n# Mine\r\nname: grün\r\n".encode("latin-1"), ["mine.yaml:3", "UTF-8"]),
        ("# @package _global_\nname: x\n".encode("utf-16-le"), ["mine.yaml:1", "UTF-8"]),
        (b"# @package _global_\nenv:\n\tnum_envs: 4\n", ["mine.yaml:3", "tab"]),
        (b"# @package _global_\nname: a\x07b\n", ["mine.yaml", "character"]),
        (b"# @package _global_\nword\n", ["mine.yaml", "word"]),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(lab: Path, content: bytes, names: list[str]) -> None:
    (lab / "experiment").mkdir()
    (lab / "experiment/mine.yaml").write_bytes(content)
    with raises_naming(ConfigError, *names):
        compose(["task=reach", "experiment=mine"], [CONF, lab])


def test_numbers_of_a_pipeline_file_keep_their_text_also_in_merged_mappings() -> None:
    text = "base: &base {task: 2026_11, seeds: [0, 1e-4]}\nfull: {<<: *base, on: true, half: 0.50}\n"
    base = {"task": "2026_11", "seeds": [0, "1e-4"]}
    assert parse_exactly(text) == {"base": base, "full": {**base, True: True, "half": "0.50"}}
