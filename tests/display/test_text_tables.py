"""Tables of text: aligned, plain in a file, wrapped only in their last column."""

from __future__ import annotations

import io

import pytest

from regimen.display.text_tables import WIDTH, TextTable, print_tables


def printed(*tables: TextTable) -> list[str]:
    out = io.StringIO()
    print_tables(tables, out)
    return out.getvalue().splitlines()


def test_a_file_gets_plain_aligned_lines() -> None:
    title, head, rule, first, second, end = printed(
        TextTable(
            "Rewards (2)", ("term", ">weight", "func"), (("near", "1", "near_exp"), ("action_rate", "-0.005", "[l2]"))
        )
    )
    assert title == "Rewards (2)" and end == ""
    assert head.split() == ["term", "weight", "func"] and set(rule) == {"─"}
    assert first.split() == ["near", "1", "near_exp"] and second.split() == ["action_rate", "-0.005", "[l2]"]
    assert head.index("weight") + len("weight") == first.index(" 1") + 2, "numbers are aligned to the right"
    assert all("\x1b" not in line and line == line.rstrip() for line in (title, head, rule, first, second))


def test_only_the_last_column_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name, params = "term_" * 12, ", ".join(f"parameter_{i}=[{i}.0, {i + 1}.0]" for i in range(12))
    lines = printed(TextTable("Events (1)", ("term", "params"), ((name, params),)))
    assert any(name in line for line in lines)
    assert all(len(line) <= WIDTH for line in lines)
    assert "".join(" ".join(lines[3:]).split()) == name + params.replace(" ", "")


@pytest.mark.parametrize("columns", [40, 60, 100, 200])
def test_a_wide_table_is_continued_below_and_no_cell_is_cut(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    heads = ["command", *(f"figure\n{i}" for i in range(12))]
    rows = [[f"v={v}", *(f"0.{v}{i:02d}\n0.100 … 0.9{i:02d}" for i in range(12))] for v in range(3)]
    lines = printed(TextTable("evaluation", heads, rows))
    assert all(len(line) <= columns for line in lines)
    text = "\n".join(lines)
    assert all(text.count(f"0.100 … 0.9{i:02d}") == len(rows) for i in range(12))
    assert "…" not in text.replace(" … ", "")
    assert text.count("v=1") == sum("command" in line for line in lines)


def test_a_name_wider_than_the_line_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = printed(TextTable("terms", ("name", "func"), (("long_" * 20, "f"),)))
    assert "".join(line[:36].strip() for line in lines).count("long_") == 20 and len(max(lines, key=len)) <= 40
