"""Reflow the prose of Markdown pages at 100 columns: `python tools/reflow.py [page …]`, by default all of the docs.

Code blocks, tables, headings, images, HTML and quotes stay as they are; inline code and links are never broken.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100
ITEM = re.compile(r"\s*(?:[*-]|\d+\.)\s+")
"""Start of an item of a list."""
FENCE = re.compile(r"\s*(```+)")
UNBROKEN = re.compile(r"`[^`]+`|\[[^\]]*\]\([^)\s]*\)")
"""Inline code and links."""
STARTS_A_BLOCK = re.compile(r"(?:[*+-]|\d+[.)]|#+|>|\|.*)$")
"""A word that at the beginning of a line would mean something else; it stays with the word before it."""


def pages() -> list[Path]:
    """Return the pages whose prose is kept at this width."""
    beside = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "src/regimen/envs/robots/README.md")
    return [*(ROOT / name for name in beside), *sorted((ROOT / "docs").glob("*.md"))]


def is_prose(line: str) -> bool:
    """Return whether a line outside code blocks is part of a paragraph or of an item."""
    text = line.strip()
    return bool(text) and not text.startswith(("#", "|", "<", "![", ">", "```")) and not re.match(r"[-=]{3,}$", text)


def fill(text: str, first: str, rest: str) -> list[str]:
    """Return `text` as lines of at most `WIDTH` columns, where its words allow it.

    Args:
        text: a paragraph or an item.
        first: what stands before its first line.
        rest: what stands before the others.
    """
    protected = UNBROKEN.sub(lambda match: match[0].replace(" ", "\0"), text)
    words: list[str] = []
    for word in protected.split():
        if words and STARTS_A_BLOCK.match(word):
            words[-1] += f" {word}"
        else:
            words.append(word)
    words = [word.replace("\0", " ") for word in words]
    lines, line = [], first + words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = rest + word
        else:
            line += f" {word}"
    return [*lines, line]


def reflow(text: str) -> str:
    """Return the page with every paragraph and item filled again."""
    lines, out, at, fence = text.split("\n"), [], 0, ""
    while at < len(lines):
        line = lines[at]
        at += 1
        mark = FENCE.match(line)
        if fence or mark or not is_prose(line):
            out.append(line)
            if fence and line.strip() == fence:
                fence = ""
            elif mark and not fence:
                fence = mark[1]
            continue
        item = ITEM.match(line)
        first = item[0] if item else line[: len(line) - len(line.lstrip())]
        body = [line[len(first) :]]
        while at < len(lines) and is_prose(lines[at]) and not ITEM.match(lines[at]):
            body.append(lines[at].strip())
            at += 1
        out += fill(" ".join(body), first, " " * len(first))
    return "\n".join(out)


if __name__ == "__main__":
    for page in [Path(name) for name in sys.argv[1:]] or pages():
        old = page.read_text(encoding="utf-8")
        if (new := reflow(old)) != old:
            page.write_text(new, encoding="utf-8")
