"""Vocabulary of pages, docstrings, comments and messages: terms of the field, no personification, no former names."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from regimen.system.moved_modules import MOVED

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.md")])
MODULES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "tools").glob("*.py"), ROOT / "launch.py"])
OPTIONS = sorted((ROOT / "conf").rglob("*.yaml"))

PERSONIFIED = (
    r"who|whom|whoever|nobody|somebody|someone|anybody|everybody",
    r"tells?|told|telling|says? so|say by|said|last words?|word (?:of|on|for it)",
    r"lives?|lived|living|dies|born|guilty|innocent|blames?|moods?|honest(?:ly)?",
    r"knows?|knew|knowing|wants?|wishes|remembers?|forgets?|forgotten|promises?|believes?",
    r"signs? of life|to and fro|in peace|in hand|in step|at work|set right|put right|mend(?:s|ed)?",
    r"reckon(?:s|ed)?|yardstick|anew|silence|go(?:es|ing)? on|went on",
    r"(?<!ground )(?<!ground-)truth|truthful(?:ly)?",
)
"""Phrases with a plainer form: a run resumes, a message names, a record holds, a process exists."""
FORMER_NAMES = (
    "RunRow",
    "FaultJudgement",
    "CheckpointWalk",
    "HistoryCollection",
    "EpisodeTable",
    "TaskFacts",
    "Unrewarded",
    "peeked?",
)
"""Names of version 0.1 that are no module."""
PHRASE = re.compile(rf"\b(?:{'|'.join(PERSONIFIED)})\b", re.IGNORECASE)
FORMER_NAME = re.compile(rf"\b(?:{'|'.join(FORMER_NAMES)})\b")
QUESTION = re.compile(r"(?:what|who|whom|whose|whether|which|when|where|why|how)\b", re.IGNORECASE)

STORED = {("src/regimen/envs/fault_estimate/oracle.py", "told")}
"""(file, phrase): names of attributes that stand in checkpoints."""
STRINGS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@cache
def source(path: Path) -> str:
    """Return the text of a file."""
    return path.read_text(encoding="utf-8")


@cache
def prose(path: Path) -> list[tuple[int, str]]:
    """Return (line, text) as `pieces` yields them, read once for all patterns."""
    return list(pieces(path))


def pieces(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of comments and strings of a module, comments of an option file, and prose of a page."""
    text = source(path)
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in STRINGS and re.search(r"\s", token.string):  # a single word is a key, not prose
                yield token.start[0], token.string
        return
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if path.suffix == ".yaml":
            yield number, line.partition("#")[2]
        elif not fenced:
            yield number, line


def without_code(text: str) -> str:
    """Return the text with inline code of the same length, so that lines stay countable."""
    return re.sub(r"`[^`]*`", lambda code: re.sub(r"[^\n]", "`", code[0]), text)


def found(path: Path, pattern: re.Pattern[str], *, in_code: bool = False) -> list[tuple[str, int, str]]:
    """Return (file, line, phrase) for each match of `pattern` in the prose of a file."""
    if not pattern.search(source(path)):  # most files: reading their tokens takes longer than all else here
        return []
    places = []
    for line, text in prose(path):
        searched = text if in_code else without_code(text)
        for match in pattern.finditer(searched):
            row = line + searched[: match.start()].count("\n")
            places.append((str(path.relative_to(ROOT)), row, " ".join(match[0].lower().split())))
    return places


def vocabulary() -> list[tuple[str, int, str]]:
    """Return every place with a phrase or a name that is to be avoided."""
    files = [*PAGES, *MODULES, *OPTIONS]
    places = [place for path in files for place in found(path, PHRASE) + found(path, FORMER_NAME, in_code=True)]
    return [place for place in places if (place[0], place[2]) not in STORED]


def docstring(path: Path) -> str:
    """Return the docstring of a module, empty without one: its first token that is neither comment nor blank line."""
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE)
    tokens = tokenize.generate_tokens(io.StringIO(source(path)).readline)
    first = next(token for token in tokens if token.type not in blank)
    return str(ast.literal_eval(first.string)).strip() if first.type == tokenize.STRING else ""


def questions() -> list[tuple[str, int, str]]:
    """Return the public modules whose docstring is missing or begins with a question word."""
    places = []
    for path in (p for p in MODULES if p.is_relative_to(ROOT / "src") and (p.stem == "__init__" or p.stem[0] != "_")):
        summary = docstring(path)
        question = QUESTION.match(summary)
        if question or not summary:
            places.append((str(path.relative_to(ROOT)), 1, question[0].lower() if question else "no docstring"))
    return places


@pytest.mark.slow
def test_prose_has_the_vocabulary_of_the_field() -> None:
    assert vocabulary() == []


@pytest.mark.slow
def test_docstrings_of_modules_begin_with_their_subject() -> None:
    assert questions() == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_files_named_on_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    roots = (ROOT, ROOT / "src", ROOT / "src" / "regimen", page.parent)
    paths = re.findall(r"`((?:src|tests|conf|tools|benchmarks|examples|docs|regimen)/[\w./-]+)`", text)
    packages = "|".join(path.parent.name for path in (ROOT / "src" / "regimen").glob("*/__init__.py"))
    paths += re.findall(rf"`((?:{packages})/[\w/]+\.py)`", text)
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []
    named = set(re.findall(r"\bregimen(?:\.\w+)+", re.sub(r"\S*://\S*|`regimen\.json`", "", text)))
    for module, imported in re.findall(r"^ *from (regimen[\w.]*) import ([\w, ]+)", text, re.M):
        named |= {f"{module}.{name}" for name in imported.split(", ")}
    assert sorted(name for name in named if not is_defined(name) and name not in MOVED) == []


def is_defined(name: str) -> bool:
    """Return whether a dotted name is a module of the source tree, or a name that occurs in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        stem = (ROOT / "src").joinpath(*parts[:count])
        file = stem.with_suffix(".py") if stem.with_suffix(".py").exists() else stem / "__init__.py"
        if file.exists():
            return count == len(parts) or re.search(rf"\b{parts[count]}\b", file.read_text()) is not None
    return False
