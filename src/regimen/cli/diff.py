"""`regimen diff A B`: differences between two runs in settings, code, packages, host and metrics."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from regimen.display.formatting import figure, table, visible, visible_lines
from regimen.runs.history.code_diff import CodeDifference, code_difference
from regimen.runs.history.run_diff import differences
from regimen.runs.history.run_view import RunView, open_view
from regimen.system import files

ABSENT = "–"
NO_DIFFERENCE = "no difference"


def diff_verb(argv: list[str]) -> int:
    """Print the differences of two runs: `regimen diff A B [--code] [--json]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen diff", description="Print the differences of two runs.")
    parser.add_argument("a", help="run reference")
    parser.add_argument("b", help="run reference")
    parser.add_argument("--code", action="store_true", help="print the whole difference of the code")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    args = parser.parse_args(argv)
    a, b = open_view(args.a), open_view(args.b)
    code = code_difference(a, b)
    if args.json:
        print(json.dumps(files.plain({**differences(a, b), "code": code.lines, "code_diff": code.text}), indent=2))
    else:
        print("\n".join(map(visible, describe(a, b, code))))
        if args.code and code.text:
            print(f"\n{visible_lines(code.text)}", end="")
    return 0


def describe(a: RunView, b: RunView, code: CodeDifference) -> Iterator[str]:
    """Yield the lines of the output.

    Args:
        a: the first run.
        b: the second run.
        code: difference of their code.
    """
    yield from table([("A", a.label, a.status), ("B", b.label, b.status)])
    found = differences(a, b)
    for title in ("settings", "inputs"):
        yield from _section(title, [(key, _value(x), _value(y)) for key, (x, y) in found[title].items()])
    yield from _lines("code", code.lines)
    for title in ("packages", "host"):
        yield from _section(title, [(key, _value(x), _value(y)) for key, (x, y) in found[title].items()])
    yield from _section("how it went", [(key, figure(x), figure(y)) for key, (x, y) in found["run"].items()])
    rows = [(key, figure(x), figure(y), *_distance(x, y)) for key, (x, y) in found["headline"].items()]
    yield from _section("headline", rows, ("B − A", "relative"))


def _section(title: str, rows: Sequence[tuple[str, ...]], more: tuple[str, ...] = ()) -> Iterator[str]:
    head = [("", "A", "B", *more)] if rows else []
    yield from _lines(title, table([*head, *rows]))


def _lines(title: str, lines: list[str]) -> Iterator[str]:
    yield ""
    yield title if lines else f"{title}: {NO_DIFFERENCE}"
    yield from (f"  {line}" for line in lines)


def _distance(a: Any, b: Any) -> tuple[str, str]:
    """Return the absolute and relative difference of two numbers, empty for other values."""
    if not isinstance(a, int | float) or not isinstance(b, int | float):
        return "", ""
    return f"{b - a:+.4g}", f"{(b - a) / abs(a):+.1%}" if a else ""


def _value(value: Any) -> str:
    """Return a setting as text, shortened to the width of a column."""
    if value is None:
        return ABSENT
    text = json.dumps(value) if isinstance(value, bool | list | dict) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
