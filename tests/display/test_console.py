"""The progress line says what is known and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from regimen.display.console import Screen, describe, print_in_any_encoding, say


def test_describe() -> None:
    progress = {
        "iteration": 120, "iterations": 400, "samples": 2_949_120, "samples_per_s": 15_210.0,
        "return_mean": 12.3456, "episode_length": 480.0, "eta_s": 192.4,
    }  # fmt: skip
    assert describe(progress) == "iteration 120/400 · 2.95M samples · 15.2k/s · return 12.35 · episode 480 · ETA 3:12"
    assert "· 1M samples" in describe({"iteration": 0, "samples": 999_700})
    assert describe({"iteration": 0, "samples": 512, "return_mean": None, "eta_s": 3700, "note": "evaluating"}) == (
        "iteration 0 · 512 samples · ETA 1:01:40 · evaluating"
    )
    assert describe({}) == ""


def test_screen_shows_whole_lines_of_output(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "worker.log"
    log.parent.mkdir()
    log.write_bytes(b"from an earlier attempt\n")
    out = io.StringIO()
    screen = Screen(tmp_path, out)
    with log.open("ab") as file:
        file.write(b"one\r\ntw")
        file.flush()
        screen.refresh()
        assert out.getvalue() == "one\n"
        file.write(b"o\nthree")
    screen.close()
    assert out.getvalue() == "one\ntwo\nthree\n"


def test_a_screen_that_went_away_is_no_error(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("terminal closed")

    Screen(tmp_path, Gone()).line("anything")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_nothing_is_lost_in_another_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", out)
    print_in_any_encoding()
    say("finished — return 0.3 … 0.4 → 名前 \udce9")
    out.seek(0)
    shown = out.read()
    assert shown.startswith("finished ") and shown.endswith("\n")
    if encoding != "utf-8":
        assert "return 0.3 ... 0.4 ->" in shown and "\\u540d" in shown
    assert "\\udce9" in shown


def test_output_of_any_size_is_shown_in_parts(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "worker.log"
    log.parent.mkdir()
    log.write_bytes(b"")
    out = io.StringIO()
    screen = Screen(tmp_path, out)
    log.write_bytes(b"a" * 3 * 2**20 + b"\n" + b"line\n" * 500_000 + b"end")
    screen.refresh()
    assert len(out.getvalue()) < 2 * 2**20
    screen.close()
    shown = out.getvalue()
    assert shown.count("a") == 3 * 2**20 and shown.count("line\n") == 500_000 and shown.endswith("end\n")
