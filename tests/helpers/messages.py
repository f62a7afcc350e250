"""Assertions about messages: which names, keys and values they contain, never their sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def missing_names(text: str, *names: object) -> list[str]:
    """Return those of `names` that `text` does not contain as whole words."""
    return [str(name) for name in names if not re.search(rf"(?<!\w){re.escape(str(name))}(?!\w)", text)]


def assert_names(text: str, *names: object) -> None:
    """Assert that a message contains each name: a key, a file, a value, or what it proposes instead."""
    missing = missing_names(text, *names)
    assert not missing, f"the message does not name {missing}:\n{text}"


@contextmanager
def raises_naming(kind: type[BaseException], *names: object) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """Expect an exception of this type whose message contains each name."""
    with pytest.raises(kind) as caught:
        yield caught
    assert_names(str(caught.value), *names)
