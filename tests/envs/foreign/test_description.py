"""Configurations as trees, settings by path, and the values below an object: on dataclasses of this file."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch

from helpers.messages import assert_names, raises_naming
from regimen.envs.foreign import settings, walk
from regimen.envs.foreign.catalogue import TaskDescription
from regimen.envs.foreign.description import describe
from regimen.envs.foreign.library import Library, TaskMemory
from regimen.envs.foreign.walk import Walk
from regimen.system.errors import CheckpointError, ConfigError

LIBRARY = Library("mine", "Mine", "mine", "mine.reader", {}, ("mine",), {}, TaskMemory(0, 0, 0, "rows", 0, 0))


class View(enum.Enum):
    WORLD = "world"
    BODY = "body"


@dataclass
class ManagerTermBaseCfg:  # the name by which terms are recognized
    func: Any
    params: dict[str, Any] = field(default_factory=dict)


def push(env, env_ids, speed, angle=0.5):
    """A function of an event."""


@dataclass
class Cfg:
    dt: float = 0.02
    solver: Literal["newton", "cg"] = "newton"
    view: View = View.WORLD
    joints: tuple[str, ...] = (".*",)
    range: tuple[float, float] = (0.0, 1.0)
    axes: dict[int, tuple[float, float]] = field(default_factory=lambda: {0: (0.0, 1.0)})
    events: dict[str, ManagerTermBaseCfg] = field(
        default_factory=lambda: {"push": ManagerTermBaseCfg(push, {"speed": 1.0})}
    )
    recorders: dict[str, ManagerTermBaseCfg] = field(default_factory=dict)


def problems(given: dict[str, Any]) -> list[str]:
    return list(TaskDescription(LIBRARY, "manager", {}, describe(Cfg())).problems(given))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"solver": "newtn"}, ("newton",)),
        ({"view": "WORD"}, ("WORLD",)),
        ({"range": [1.0]}, ("mine.range",)),
        ({"joints": "a"}, ("mine.joints",)),
        ({"recorders": {"mine": None}}, ("mine.recorders.mine",)),
        ({"events": {"push": {"params": {"sped": 1.0}}}}, ("speed",)),
        ({"dt": None}, ("mine.dt=null",)),
    ],
)
def test_what_a_configuration_does_not_take_is_refused(given, named):
    (line,) = problems(given)
    assert_names(line, *named)


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({"solver": "cg"}, "solver", "cg"),
        ({"view": "BODY"}, "view", View.BODY),
        ({"joints": ["a", "b"]}, "joints", ("a", "b")),
        ({"axes": {"0": [0, 2]}}, "axes", {0: (0, 2)}),
        ({"events": {"push": None}}, "events", {"push": None}),
        ({"dt": 1}, "dt", 1.0),
    ],
)
def test_what_a_configuration_takes_is_set_in_its_types(given, path, value):
    assert problems(given) == []
    cfg = Cfg()
    settings.apply(cfg, given, "env.mine")
    assert getattr(cfg, path) == value
    assert type(getattr(cfg, path)) is type(value)


def test_a_parameter_with_a_default_may_be_set_and_a_function_be_replaced():
    given = {"events": {"push": {"params": {"angle": 0.1}, "func": "math:sin"}}}
    assert problems(given) == []
    cfg = Cfg()
    settings.apply(cfg, given, "env.mine")
    assert cfg.events["push"].params == {"speed": 1.0, "angle": 0.1}
    assert cfg.events["push"].func(0.0) == 0.0


def test_a_function_that_cannot_be_imported_is_named():
    with raises_naming(ConfigError, "env.mine.events.push.func", "math:sinn"):
        settings.apply(Cfg(), {"events": {"push": {"func": "math:sinn"}}}, "env.mine")


class Term:
    def __init__(self) -> None:
        self.rows = torch.arange(4.0)
        self.alias = self.rows
        self.repeated = torch.tensor([1.0, 2.0]).expand(3, 2)
        self.limits = (0.0, 1.0)
        self.count = 3
        self._env = self  # leads away


def values(term: Term) -> Any:
    return Walk(frozenset(("_env",))).values(term, "term", None, None)


def test_tensors_numbers_and_tuples_are_restored_in_place():
    term = Term()
    rows, kept = term.rows, walk.read(values(term))
    term.rows += 1
    term.repeated.select(0, 0)[:] = 5.0
    term.limits, term.count = (2.0, 3.0), 7
    walk.write(values(term), kept)
    assert rows.tolist() == [0.0, 1.0, 2.0, 3.0] and term.alias is rows
    assert term.repeated.tolist() == [[1.0, 2.0]] * 3
    assert (term.limits, term.count) == ((0.0, 1.0), 3)


def test_a_tensor_of_an_inference_is_restored_as_well():
    term = Term()
    kept = walk.read(values(term))
    with torch.inference_mode():
        term.rows = torch.ones(4)
    walk.write(values(term), kept)
    assert term.rows.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_state_of_other_objects_is_refused():
    kept = walk.read(values(Term()))
    with raises_naming(CheckpointError, "term.rows"):
        walk.write(values(Term()), kept | {"term.rows": torch.ones(5)})
    with raises_naming(CheckpointError, "term.more"):
        walk.write(values(Term()), kept | {"term.more": torch.ones(5)})
