"""The page on lists, references and clearing away does what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.transcripts import Replay
from regimen.runs.history import filters
from regimen.runs.status import Status

PAGE = Path(__file__).resolve().parents[2] / "docs" / "history.md"


@pytest.mark.slow
def test_the_transcripts_of_lists_and_cleaning(tmp_path: Path) -> None:
    Replay(tmp_path).page(PAGE, end="## One run")
    assert len(list(tmp_path.glob("outputs/*/run.json"))) == 2


def test_every_status_and_every_key_is_described() -> None:
    page = PAGE.read_text()
    assert [word for word in (*Status, *filters.KEYS) if f"`{word}`" not in page] == []
