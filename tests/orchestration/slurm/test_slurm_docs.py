"""docs/slurm.md: its transcripts, typed into a real Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.transcripts import Replay
from orchestration.slurm.sandbox import Sandbox

pytestmark = pytest.mark.slow


def test_the_page_says_what_happens(tmp_path: Path, slurm: Sandbox, repo_root: Path) -> None:
    Replay(tmp_path, env={"SLURM_CONF": slurm.env["SLURM_CONF"]}).page(repo_root / "docs" / "slurm.md")
