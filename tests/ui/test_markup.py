"""Text of runs is text in every part that is built as HTML."""

from __future__ import annotations

import pytest

pytest.importorskip("markupsafe", reason="NiceGUI is not installed: make extras")

from regimen.ui import markup
from regimen.ui.card_text import card_markup, verdict
from regimen.ui.evaluation_tables import evaluation_tables

BAD = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "built",
    [
        markup.table((BAD, f">{BAD}"), [(BAD, BAD)], "tight"),
        markup.facts([(BAD, BAD)]),
        markup.lines([BAD]),
        markup.command(BAD, BAD),
        markup.block(BAD),
        markup.notice("warn", [BAD]),
        markup.status(BAD),
        markup.run_link(BAD, BAD),
        card_markup(f"# Data card\n\n{BAD}\n\n| a |\n|---|\n| {BAD} |\n\n## {BAD}\n\n- {BAD}\n\n{BAD}\n"),
        evaluation_tables(
            {"commands": [{"command": None, "joint": BAD, BAD: {"value": 1.0, "low": 0.5, "high": 1.5}}]}
        ),
    ],
)
def test_it_is_escaped(built: str) -> None:
    assert "<script" not in built and "<img" not in built and "&lt;" in built


def test_an_evaluation_has_its_intervals() -> None:
    figures = {"return": {"value": 1.5, "low": 1.25, "high": 1.75}}
    result = {"overall": {"episodes": 8, "falls": 1, **figures}, "commands": [{"command": [0.5, 0.0], **figures}]}
    built = str(evaluation_tables(result))
    assert "1.25 … 1.75" in built and "0.5, 0" in built
    assert evaluation_tables({"headline": {"return": 1.0}}) == "" and evaluation_tables({}) == ""


def test_the_verdict_of_a_card() -> None:
    assert verdict("").tone == "quiet"
    assert verdict("# Data card\n\nFit for training a failure detector.\n").tone == "good"
    failed = verdict("# Data card\n\nNot fit for training a failure detector:\n\n- one\n- two\n\n## More\n- three\n")
    assert failed.tone == "bad" and "2" in failed.text
