"""Transcripts of the documentation, replayed: every command is run, its output compared with what the page prints.

A transcript is a fence marked `console`. A line that starts with `$ ` is a command, the lines after it are what it
prints (both streams). In a printed line `…` stands for anything, also over several lines, and `<word>` for one token,
the same one wherever the page says `<word>` again, in commands too; two spaces or more stand for any number of them.
A command that fails says so: `$ regimen runs status=lots  # exit code 2`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```console\n(.*?)^```$", re.S | re.M)
WORD = re.compile(r"<([a-z]\w*)>")
EXIT_CODE = re.compile(r"\s+# exit code (\d+)$")


@dataclass
class Command:
    """One command of a page.

    Attributes:
        line: what is typed.
        expected: what the page prints after it.
        exit_code: what it ends with.
        at: line of the page.
    """

    line: str
    exit_code: int
    at: int
    expected: str = ""


@dataclass
class Replay:
    """A folder in which the commands of pages are run one after the other.

    Attributes:
        folder: where; gets links to launch.py and conf.
        words: what the placeholders stand for; grows while transcripts are replayed.
        env: variables set beyond those of this process.
    """

    folder: Path
    words: dict[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("launch.py", "conf"):
            link = self.folder / name
            if not link.exists():
                link.symlink_to(ROOT / name)

    def page(self, path: Path, start: str = "", end: str = "") -> None:
        """Run all transcripts of a page, or those from one heading up to another.

        Args:
            path: a Markdown file.
            start: a line to begin at, such as `## Clean`.
            end: a line to end before.
        """
        for command in commands(path.read_text(encoding="utf-8"), start, end):
            self.command(command, path.name)

    def command(self, command: Command, where: str) -> None:
        """Run one command and fail where it does not do what the page says."""
        line = WORD.sub(lambda m: self.words.get(m[1], m[0]), command.line)
        code, printed = self.run(line)
        place = f"{where}:{command.at}: $ {line}"
        assert code == command.exit_code, f"{place}\nexit code {code}, not {command.exit_code}\n{printed}"
        found = match(command.expected, printed, self.words)
        assert found is not None, f"{place}\n--- the page\n{command.expected}\n--- printed\n{printed}"
        self.words.update(found)

    def run(self, line: str) -> tuple[int, str]:
        """Run one line in bash; return its exit code and what it printed."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **self.env}
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.timeout_s,
        )
        return done.returncode, tidy(done.stdout)


def commands(text: str, start: str = "", end: str = "") -> list[Command]:
    """Return the commands of a page in order; `start` and `end` are whole lines that must be there."""
    lines = text.splitlines()
    first = lines.index(start) if start else 0
    last = lines.index(end) if end else len(lines)
    found: list[Command] = []
    for fence in FENCE.finditer(text):
        number = text.count("\n", 0, fence.start()) + 1
        if first <= number - 1 < last:
            found += _in_fence(fence[1], number)
    assert found, f"no transcript between {start!r} and {end!r}"
    return found


def _in_fence(text: str, number: int) -> list[Command]:
    found: list[Command] = []
    for offset, line in enumerate(text.splitlines(), 1):
        if found and found[-1].line.endswith("\\") and not found[-1].expected:
            found[-1].line = found[-1].line[:-1] + line.strip()
        elif line.startswith("$ "):
            found.append(Command(line[2:], 0, number + offset))
        else:
            assert found, f"line {number + offset}: a transcript begins with a command"
            found[-1].expected += line + "\n"
    for command in found:
        code = EXIT_CODE.search(command.line)
        if code:
            command.line, command.exit_code = command.line[: code.start()], int(code[1])
        command.expected = tidy(command.expected)
    return found


def match(expected: str, printed: str, words: Mapping[str, str]) -> dict[str, str] | None:
    """Return what the placeholders in `expected` stand for, or None where `printed` is something else."""
    pattern, seen = "", set()
    for part in re.split(r"(…|<[a-z]\w*>)", expected):
        word = WORD.fullmatch(part)
        if part == "…":
            pattern += r"[\s\S]*?"
        elif not word:
            pattern += re.sub(r"(\\ ){2,}", " +", re.escape(part))  # columns are as wide as what stands in them
        elif word[1] in words:
            pattern += re.escape(words[word[1]])
        elif word[1] in seen:
            pattern += f"(?P={word[1]})"
        else:
            seen.add(word[1])
            pattern += rf"(?P<{word[1]}>[^\s,;]+?)"
    found = re.fullmatch(pattern, printed)
    return None if found is None else found.groupdict()


def tidy(text: str) -> str:
    """Return text without spaces at the ends of lines and without empty lines at the end."""
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n")
