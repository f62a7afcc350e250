"""docs/pipelines.md: its file, its transcripts, its table of what is shipped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.transcripts import Replay
from helpers.user_folder import write
from regimen.config import groups

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/pipelines.md"


@pytest.mark.slow
def test_the_page_can_be_followed_to_the_letter(tmp_path: Path) -> None:
    files = re.findall(r"`mine/([^`]+)`\n\n```yaml\n(.*?)```", PAGE.read_text(), re.S)
    assert len(files) == 2
    for name, text in files:
        write(tmp_path / "mine" / name, text)
    Replay(tmp_path).page(PAGE)


def test_every_shipped_pipeline_is_named() -> None:
    shipped = groups.options("pipeline", [ROOT / "conf"])
    assert shipped and set(re.findall(r"^\| `(\w+)` \| \w", PAGE.read_text(), re.M)) >= set(shipped)
