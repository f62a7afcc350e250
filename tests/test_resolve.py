from __future__ import annotations

from pathlib import Path

import pytest

from regimen.errors import ConfigError
from regimen.resolve import resolve
from regimen.schema import TermCfg


def test_both_spellings_name_the_same_object() -> None:
    assert resolve("regimen.schema:TermCfg") is resolve("regimen.schema.TermCfg") is TermCfg


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("regimen.schema:TermCgf", "Did you mean `TermCfg`"),
        ("regimen.shema:TermCfg", "Did you mean `schema`"),
        ("TermCfg", "names no module"),
    ],
)
def test_wrong_names_offer_the_near_ones(target: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(target)
    assert said in str(caught.value)


def test_a_module_that_fails_to_import_keeps_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import absent_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_dependency"):
        resolve("needs_more:thing")
