"""Interpolations of one plain value are resolved as OmegaConf would; all others are left to it."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from regimen.config.interpolation import resolved

ROOT: dict[str, Any] = {"a": {"n": 3, "text": "x", "none": None, "list": [1], "on": True}, "b": 1.5}


@pytest.mark.parametrize("text", ["${b}", "${a.n}", "${a.text}", "${a.none}", "${a.on}", "no ${", "plain"])
def test_a_plain_value_is_what_omegaconf_makes_of_it(text: str) -> None:
    data = ROOT | {"k": {"deep": [text, {"x": text}]}}
    if text == "no ${":
        assert resolved(data) is None
    else:
        assert resolved(data) == OmegaConf.to_container(OmegaConf.create(data), resolve=True)


@pytest.mark.parametrize(
    "text",
    ["${a}", "${a.list}", "${a.list.0}", "${.n}", "${nothing}", "${a.nothing}", "${nothing.b}", "${a.nothing.b}",
     "${b.b}", "${oc.env:HOME}", "x${b}", r"\${b}", "${c}"],
)  # fmt: skip
def test_everything_else_is_for_omegaconf(text: str) -> None:
    assert resolved(ROOT | {"k": text, "c": "${b}"}) is None


def test_nothing_is_shared_with_what_it_came_from() -> None:
    found = resolved(ROOT)
    assert found == ROOT and found is not None
    assert found["a"] is not ROOT["a"] and found["a"]["list"] is not ROOT["a"]["list"]
