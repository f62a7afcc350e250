"""The text of a data card as HTML: headings, lists and tables of the Markdown that `regimen card` writes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from regimen.ui import markup


@dataclass(frozen=True)
class Verdict:
    """Whether the data pass their checks: a tone of a status, and words."""

    tone: str
    text: str


def verdict(card: str) -> Verdict:
    """Return what a card says about its checks.

    Args:
        card: its text, empty without one.
    """
    if not card:
        return Verdict("quiet", "no card")
    failed = sum(line.startswith("- ") for line in card.partition("\n## ")[0].splitlines())
    if failed:
        return Verdict("bad", f"{failed} of its checks failed" if failed > 1 else "a check failed")
    passed = "Fit for" in card
    return Verdict("good", "passed") if passed else Verdict("quiet", "no checks apply")


def card_markup(card: str) -> Markup:
    """Return a card as HTML; its first part, the checks, as a notice.

    Args:
        card: its text.
    """
    top, _, rest = card.partition("\n|")
    lines = [line for line in top.splitlines() if line and not line.startswith("#")]
    checks = markup.notice(verdict(card).tone, [line.removeprefix("- ") for line in lines]) if lines else Markup("")
    return checks + _blocks(f"|{rest}" if rest else "")


def _blocks(text: str) -> Markup:
    parts = []
    for kind, group in groupby(text.splitlines(), key=_kind):
        lines = list(group)
        if kind == "table":
            cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
            body = [row for row in cells[1:] if not all(set(cell) <= set("-: ") for cell in row)]
            width = max(len(row) for row in cells)
            parts.append(markup.table([*cells[0], *[""] * (width - len(cells[0]))], body))
        elif kind == "heading":
            parts += [Markup("<h3>{}</h3>").format(line.lstrip("# ")) for line in lines]
        elif kind == "item":
            items = markup.joined(Markup("<li>{}</li>").format(line.removeprefix("- ")) for line in lines)
            parts.append(Markup("<ul>{}</ul>").format(items))
        elif kind:
            parts.append(Markup("<p>{}</p>").format(markup.text(" ".join(lines))))
    return markup.joined(parts)


def _kind(line: str) -> str:
    starts = {"|": "table", "#": "heading", "- ": "item"}
    return next((kind for start, kind in starts.items() if line.startswith(start)), "text" if line.strip() else "")
