"""The page on looking at runs does what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.transcripts import Replay
from stages.pictures import is_drawn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "history.md"


@pytest.mark.slow
def test_the_transcripts_of_looking_at_runs(tmp_path: Path) -> None:
    Replay(tmp_path).page(PAGE, start="## One run")
    assert is_drawn(tmp_path / "rates.png")
    assert (tmp_path / "lineage.svg").read_text().startswith("<?xml")
