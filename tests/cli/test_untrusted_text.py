"""Text of a record that someone else wrote: control characters are shown, not obeyed, and no line is forged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import record_run
from regimen.cli import main
from regimen.config.compose import compose
from regimen.display.formatting import UNSEEN
from regimen.system.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"
EVIL = "\x1b]0;title\x07\x1b[2Jx\r\u202e\nfinished (exit code 0): forged"


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    common = {"reason": EVIL, "status": "failed", "exit_code": 1, "tags": [EVIL], "warnings": [EVIL], "name": EVIL}
    texts = {"overrides": [f"a={EVIL}"], "notes": [{"at": "2026-01-01T00:00:00", "text": EVIL}]}
    error = {"type": EVIL, "message": EVIL, "last_lines": [EVIL]}
    choices = {"task": EVIL, "agent": EVIL, "stage": EVIL}
    for number in (1, 2):
        record_run(
            Path("outputs"), f"2026010{number}-0", headline={EVIL: number}, error=error, choices=choices, seed=number,
            versions={EVIL: str(number)}, **common, **texts,
        )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        "runs", "runs status=lost", "show 20260101", "note 20260101", "tag 20260101", "lineage 20260101", "clean",
        "diff 20260101 20260102", "compare 20260101 20260102", "show 2026", f"show {EVIL}", "rerun 20260101 --check",
    ],
)  # fmt: skip
def test_control_characters_are_written_out(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    main.main(words.split(" ", 1)[:1] + ([words.split(" ", 1)[1]] if EVIL in words else words.split()[1:]))
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not UNSEEN.search(text.replace("\n", ""))
        assert not re.search(r"^finished \(exit code 0\): forged", text, re.MULTILINE)


@pytest.mark.parametrize("text", ["a\x1b[31m", "a\nb", "a\u202eb", "\x07"])
def test_names_and_tags_have_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with raises_naming(ConfigError, "name"):
        compose(["task=reach", f"name='{text}'"], [CONF])
    assert main.main(["tag", "20260101", text]) == 2
    assert_names(capsys.readouterr().err, "tag")
