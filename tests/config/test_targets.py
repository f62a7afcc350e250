from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import raises_naming
from regimen.config.targets import resolve
from regimen.config.task_schema import TermCfg
from regimen.system.errors import ConfigError


def test_both_spellings_name_the_same_object() -> None:
    assert resolve("regimen.config.task_schema:TermCfg") is resolve("regimen.config.task_schema.TermCfg") is TermCfg


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("regimen.config.task_schema:TermCgf", ("regimen.config.task_schema", "TermCgf", "TermCfg")),
        ("regimen.config.shema:TermCfg", ("regimen.config.shema", "schema")),
        ("TermCfg", ("TermCfg", "pkg.mod:function", "pkg.mod.Class")),
    ],
)
def test_wrong_names_offer_the_near_ones(target: str, named: tuple[str, ...]) -> None:
    with raises_naming(ConfigError, *named):
        resolve(target)


def test_a_module_that_fails_to_import_keeps_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with raises_naming(ModuleNotFoundError, "absent_dependency"):
        resolve("needs_more:thing")
