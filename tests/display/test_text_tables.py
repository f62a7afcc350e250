"""Tables of text: aligned, plain in a file, wrapped only in their last column."""

from __future__ import annotations

import io

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


def test_only_the_last_column_is_wrapped() -> None:
    name, params = "term_" * 12, ", ".join(f"parameter_{i}=[{i}.0, {i + 1}.0]" for i in range(12))
    lines = printed(TextTable("Events (1)", ("term", "params"), ((name, params),)))
    assert any(name in line for line in lines)
    assert all(len(line) <= WIDTH for line in lines)
    assert "".join(" ".join(lines[3:]).split()) == name + params.replace(" ", "")
