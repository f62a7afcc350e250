"""Terminal output of a run: its log, a progress line, and a final line."""

from __future__ import annotations

import codecs
import io
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from regimen.display.formatting import duration
from regimen.system import files

PLAIN_INTERVAL_S = 10.0
LIVE_INTERVAL_S = 0.5
SILENT_S = 120.0
"""Age from which a progress line says that nothing was reported since."""
MAX_SHOWN = 2**20
"""Bytes of output that are read at once; a longer line is broken."""
SCREEN_LOST = (OSError, ValueError)
"""Exceptions of writing to a terminal that was closed, or cannot show a character."""

IN_ASCII = {
    **dict.fromkeys("─━═–—−‐‑", "-"), **dict.fromkeys("│┃║", "|"), **dict.fromkeys("├└┌┐┘┤┬┴┼╭╮╯╰┏┓┗┛┡┩", "+"),
    **dict.fromkeys("█▉▊▋▌▍▎▏", "#"), **dict.fromkeys("‘’′", "'"), **dict.fromkeys("“”„", '"'),
    "…": "...", "→": "->", "←": "<-", "↑": "^", "↓": "v", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "×": "x",
    "·": "-", "•": "*", "±": "+/-", "°": " deg", "²": "^2", "✓": "+", "✗": "x", "σ": "sigma", "μ": "u", "π": "pi",
}  # fmt: skip
"""Characters of the output that some encodings lack -> what stands for them."""


class Screen:
    """Progress display: a rich progress line on a terminal, plain lines in a file.

    Output that fails (closed terminal, full disk) does not stop the run.
    """

    def __init__(self, run_dir: Path, out: TextIO | None = None) -> None:
        """Args: run_dir: whose worker.log and progress.json are shown; out: by default stdout."""
        self._out = out or sys.stdout
        self._progress_path = run_dir / "progress.json"
        self._log_path = run_dir / "logs" / "worker.log"
        self._offset = self._log_path.stat().st_size if self._log_path.exists() else 0
        self._partial = b""
        self._live: Any = None
        self._due = time.monotonic() + LIVE_INTERVAL_S
        self._shown = ""

    def refresh(self) -> None:
        """Show new complete lines of output; update the progress line at intervals."""
        self._show_output(last=False)
        if time.monotonic() < self._due:
            return
        text = describe(files.read_json(self._progress_path) or {}, files.age(self._progress_path))
        if self._out.isatty():
            self._due = time.monotonic() + LIVE_INTERVAL_S
            try:
                self._show_live(text)
            except SCREEN_LOST:
                _silence(self._out)
        elif text and text != self._shown:
            self._due = time.monotonic() + PLAIN_INTERVAL_S
            self.line(text)
        self._shown = text

    def line(self, text: str) -> None:
        """Print one line above the progress line."""
        if self._live is None:
            say(text, self._out)
            return
        try:
            self._live.console.out(text, highlight=False)
        except SCREEN_LOST:
            _silence(self._out)

    def close(self) -> None:
        """Show the rest of the output and remove the progress line."""
        self._show_output(last=True)
        if self._live is not None:
            with suppress(*SCREEN_LOST):
                self._live.stop()
            self._live = None

    def _show_output(self, last: bool) -> None:
        while True:
            try:
                with files.open_regular(self._log_path) as file:
                    file.seek(self._offset)
                    data = file.read(MAX_SHOWN)
            except OSError:
                return
            self._offset += len(data)
            text = (self._partial + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, self._partial = text.split(b"\n")
            if self._partial and (len(self._partial) > MAX_SHOWN or (last and not data)):
                lines.append(self._partial)
                self._partial = b""
            for line in lines:
                self.line(line.decode(errors="replace"))
            if not (last and data):
                return

    def _show_live(self, text: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            self._live = Live(console=Console(file=self._out), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(Text(text or "starting", no_wrap=True, overflow="ellipsis", style="bold cyan"), refresh=True)


def say(text: str, out: TextIO | None = None) -> None:
    """Print and flush one line; ignore output that fails (closed terminal, full disk).

    Args:
        text: the line.
        out: by default stdout.
    """
    out = out or sys.stdout
    try:
        print(text, file=out, flush=True)
    except SCREEN_LOST:
        _silence(out)


def print_in_any_encoding() -> None:
    """Let stdout and stderr replace a character that their encoding lacks, such as `…` in ISO 8859-1, by ASCII."""
    codecs.register_error("regimen.ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="regimen.ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    text = "".join(IN_ASCII.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in lost)
    return text, error.end


def _silence(out: TextIO) -> None:
    """Redirect failed output to /dev/null, so that Python's final flush cannot change the exit code."""
    with suppress(*SCREEN_LOST):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, out.fileno())
        os.close(null)


def describe(progress: dict[str, Any], age_s: float | None = None) -> str:
    """Return one line such as `iteration 12/400 · 2.9M samples · 15.2k/s · return 12.3 · episode 480 · ETA 3:12`.

    Args:
        progress: the fields of `Run.progress`; absent ones are left out.
        age_s: time since it was reported; from `SILENT_S` on the line names it, and has no ETA.

    Returns:
        The line; empty if there is no progress yet.
    """
    silent = age_s is not None and age_s >= SILENT_S
    iteration, total, eta = (progress.get(name) for name in ("iteration", "iterations", "eta_s"))
    texts = {
        "iteration {}": f"{iteration}/{total}" if iteration is not None and total else iteration,
        "{} samples": _short(progress.get("samples")),
        "{}/s": _short(progress.get("samples_per_s")),
        "return {}": _figure(progress.get("return_mean")),
        "episode {}": _figure(progress.get("episode_length")),
        "ETA {}": None if eta is None or silent else duration(eta, "clock"),
        "{}": progress.get("note"),
        "no progress for {} min": int((age_s or 0) // 60) if silent else None,
    }
    parts = [label.format(value) for label, value in texts.items() if value is not None]
    return " · ".join(parts)


def _short(number: float | None) -> str | None:
    if number is None:
        return None
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:  # which three digits of the next lower unit round to 1e+03
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _figure(number: float | None) -> str | None:
    return None if number is None else f"{number:.4g}"
