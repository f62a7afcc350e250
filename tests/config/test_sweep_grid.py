"""The jobs that lists, ranges and paired lists span."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from helpers.messages import assert_names, raises_naming
from regimen.config import sweep_grid
from regimen.system.errors import ConfigError

PARSER = sweep_grid.make_parser(None)


def jobs(*arguments: str) -> list[list[str]]:
    return sweep_grid.jobs(PARSER.parse_overrides(list(arguments)))


def test_paired_lists_advance_together_within_the_grid_of_the_others() -> None:
    found = jobs("seed=0,1", "task=zip(go2,h1)", "name=x", "lr=zip(1,2)")
    assert found == [
        ["seed=0", "task=go2", "name=x", "lr=1"],
        ["seed=0", "task=h1", "name=x", "lr=2"],
        ["seed=1", "task=go2", "name=x", "lr=1"],
        ["seed=1", "task=h1", "name=x", "lr=2"],
    ]


@pytest.mark.parametrize(
    "values",
    [
        "'a,b',c",
        "[1,2],[3,[4,5]]",
        "{a:1,b:[2]},{a:2}",
        '"it\'s [here]",b',
        "'1','a'",
        "null,true,1e-3",
        "a b,c",
        "${x},${y}",
    ],
)
def test_values_of_a_list_keep_their_type_and_their_punctuation(values: str) -> None:
    plain = OverridesParser.create()
    expected = plain.parse_override(f"k=[{values}]").value()
    assert len(expected) >= 2
    for written in (f"k=zip({values})", f"k={values}", *([f"k=choice({values})"] if "null" not in values else [])):
        assert [plain.parse_override(text).value() for (text,) in jobs(written)] == expected, written


def test_a_range_can_be_paired() -> None:
    assert jobs("a=zip(range(1,4))", "b=zip(x,y,z)") == [["a=1", "b=x"], ["a=2", "b=y"], ["a=3", "b=z"]]


def test_unequal_lengths_name_every_list() -> None:
    with raises_naming(ConfigError, "a=zip(1,2)", "b=zip(1,2,3)") as caught:
        jobs("a=zip(1,2)", "b=zip(1,2,3)", "c=1,2,3,4")
    said = str(caught.value)
    assert_names(said.replace("a=zip(1,2)", "").replace("b=zip(1,2,3)", ""), 2, 3)
    assert "c=" not in said


@pytest.mark.parametrize("text", ["a=zip()", "a=zip(choice(1,2))", "a=zip(range(2),3)"])
def test_a_paired_list_holds_values(text: str) -> None:
    with raises_naming(OverrideParseException, text, "range()"):
        jobs(text)


def test_equal_jobs_run_once() -> None:
    assert jobs("seed=3,4,3", "x=1", "x=1") == [["seed=3", "x=1"], ["seed=4", "x=1"]]
    assert sweep_grid.size(PARSER.parse_overrides(["seed=3,4,3", "x=zip(1,2)", "y=zip(1,2)"])) == 6


def test_an_interval_needs_a_sweeper_that_chooses() -> None:
    with raises_naming(ConfigError, "a=interval(0,1)", "hydra/sweeper=optuna"):
        jobs("a=interval(0,1)")


def test_a_removed_key_stays_removed() -> None:
    assert jobs("~a.b", "x=1,2") == [["~a.b=null", "x=1"], ["~a.b=null", "x=2"]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("seed=0,1", "seed=2,3"),
        ("seed=0,1", "++seed=2"),
        ("task=reach", "task=idle,go2"),
        ("logger=[csv]", "logger=[mlflow]"),
        ("data=[a],[b]", "data.0=c"),
        ("env={num_envs:2},{num_envs:4}", "env.num_envs=8"),
        ("env.p={std:0.2}", "env.p={std:0.3},{other:1}"),
    ],
)
def test_a_key_that_two_arguments_set_is_refused(first: str, second: str) -> None:
    with raises_naming(ConfigError, first, second):
        jobs("name=x", first, second)


def test_mappings_for_one_key_are_merged_as_in_a_single_run() -> None:
    assert jobs("p={a:1}", "p={b:2},{b:3}", "p.c=4") == [
        ["p={a:1}", "p={b:2}", "p.c=4"],
        ["p={a:1}", "p={b:3}", "p.c=4"],
    ]


def test_a_choice_of_a_group_and_a_value_in_it_are_two_keys() -> None:
    assert jobs("stage=act,rest", "stage.sleep_s=1") == [
        ["stage=act", "stage.sleep_s=1"],
        ["stage=rest", "stage.sleep_s=1"],
    ]


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("name=12e5,2026_11,True,null,nan", ["12e5", "2026_11", "True", "null", "nan"]),
        ("name=choice(1e3,'1e4',\"b c\")", ["1e3", "'1e4'", "b\\ c"]),
        ("name=sort(1e3,5,1_0)", ["5", "1_0", "1e3"]),
        ("name=zip(1e3,1e4)", ["1e3", "1e4"]),
        ("tags=[1e3,2],[x]", ["[1e3,2]", "[x]"]),
        ("p={a:1e3},{a:2e3}", ["{a:1e3}", "{a:2e3}"]),
        ("seed=range(0,2)", ["0", "1"]),
    ],
)
def test_values_of_a_sweep_are_the_text_that_was_typed(argument: str, values: list[str]) -> None:
    key = argument.partition("=")[0]
    assert jobs(argument) == [[f"{key}={value}"] for value in values]
