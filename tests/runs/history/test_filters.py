"""Filters of runs: the text of a value, with and without quotes."""

from __future__ import annotations

import pytest

from regimen.runs.history import filters


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("name=12e5", ("12e5",)),
        ("name='12e5'", ("12e5",)),
        ('name="a,b",c', ("a,b", "c")),
        ("tag=", ("",)),
        ("name=it's,b", ("it's", "b")),
    ],
)
def test_values_are_the_text_that_was_typed(word: str, values: tuple[str, ...]) -> None:
    (parsed,) = filters.parse([word])
    assert parsed.values == values
