"""`regimen terrain`: the ground of a task as a table and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from helpers.messages import assert_names, raises_naming
from regimen.cli.terrain import terrain_verb
from regimen.system.errors import ConfigError


@pytest.mark.slow
def test_it_lists_the_kinds_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ground.png"
    assert terrain_verb(["task=go2_rough", "env.terrain.columns=7", f"--out={out}"]) == 0
    assert_names(capsys.readouterr().out, "stairs_up", "random_rough", "ground.png", "1.50")
    with Image.open(out) as picture:
        assert min(picture.size) > 400 and len(picture.getcolors(1 << 24) or []) > 100


def test_flat_ground_is_not_drawn() -> None:
    with raises_naming(ConfigError, "go2_flat", "go2_rough"):
        terrain_verb(["task=go2_flat"])
