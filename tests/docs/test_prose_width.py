"""Prose of the pages is at most 100 columns wide; the tool that fills it changes nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from reflow import WIDTH, pages, reflow  # noqa: E402 - it stands beside the package


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_lines_of_prose_are_short(page: Path) -> None:
    """Tables, code blocks and headings excepted, and lines of a single link or name that cannot be broken."""
    wide, fenced = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        breakable = " " in line.lstrip("*- ").strip()
        if not fenced and len(line) > WIDTH and not line.startswith(("|", "#", "![")) and breakable:
            wide.append(f"{page.name}:{number}")
    assert wide == [], "type `make format`"


PAGE = """# A heading {long} {long}

A paragraph of several
short lines and of one {long} is filled, `inline code with spaces` and [a link of several words](page.md) unbroken.

* an item of a list {long} and 7. stays with its word
* another one

| a table | {long} {long} |
|---|---|

```
code {long} {long} {long}
   stays
```
"""


def test_what_is_no_prose_stays_and_words_stay() -> None:
    text = PAGE.format(long="which is made longer than it has to be so that its line is broken at some place")
    filled = reflow(text)
    assert filled.split() == text.split() and reflow(filled) == filled
    old, new = text.splitlines(), filled.splitlines()
    kept = [line for line in old if line.startswith(("#", "|", "code", "   stays", "```"))]
    assert [line for line in new if line in kept] == kept
    assert "A paragraph of several short lines and of one which" in filled
    assert any("`inline code with spaces`" in line for line in new)
    assert any("[a link of several words](page.md)" in line for line in new)
    assert all(len(line) <= WIDTH for line in new if line and line not in kept)
    assert any(line.startswith("  ") and "its word" in line for line in new), "an item goes on under its text"
