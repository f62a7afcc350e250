"""HTML of the parts of a page that nothing changes in: built by markupsafe, which escapes every value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlencode

from markupsafe import Markup

from regimen.display.formatting import figure, visible, visible_lines
from regimen.runs.history.lineage import FILE
from regimen.runs.history.run_view import GONE
from regimen.runs.status import Status

TONES: dict[str, str] = {
    **dict.fromkeys((Status.FINISHED, "reused"), "good"),
    Status.RUNNING: "busy",
    **dict.fromkeys((Status.QUEUED, Status.PREEMPTED, "waiting", "not started", "submitted"), "wait"),
    **dict.fromkeys((Status.FAILED, Status.DIVERGED, Status.UNREADABLE, GONE), "bad"),
    **dict.fromkeys((Status.KILLED, Status.LOST, "stopped"), "warn"),
    FILE: "quiet",
}
"""Status of a run, step or file -> tone of its mark; the word stands beside it."""

Cell = Markup | str | None
"""A value of a table: text, which is escaped, or markup."""


def text(value: object) -> str:
    """Return a value of a record as one line of text without control characters."""
    return "" if value is None else visible(str(value))


def number(value: float | None) -> str:
    """Return a headline figure: large ones with separated thousands."""
    return f"{value:,.0f}" if isinstance(value, float) and 1e4 <= abs(value) < 1e15 else figure(value)


def joined(parts: Iterable[Cell], between: str = "") -> Markup:
    """Return parts one after the other; texts are escaped."""
    return Markup(between).join(part for part in parts if part is not None)


def status(word: str) -> Markup:
    """Return the mark of a status with its word."""
    tone = TONES.get(word, "bad" if word.startswith("blocked") else "quiet")
    return Markup('<span class="status {}">{}</span>').format(tone, text(word))


def run_address(run_id: str) -> str:
    """Return the address of the page of a run."""
    return f"/run/{quote(run_id, safe='')}"


def runs_address(**parameters: str) -> str:
    """Return the address of the table of runs with parameters such as `filter`."""
    return f"/?{urlencode(parameters)}"


def link(address: str, label: object, title: str = "") -> Markup:
    """Return a link within the page."""
    return Markup('<a href="{}" title="{}">{}</a>').format(address, text(title), text(label))


def run_link(run_id: str, label: object = None) -> Markup:
    """Return a link to a run."""
    return link(run_address(run_id), run_id if label is None else label, run_id)


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], kind: str = "") -> Markup:
    """Return a table.

    Args:
        columns: headers; one that begins with `>` is aligned to the right; without any there is no head.
        rows: cells.
        kind: class of the table.
    """
    numeric = [name.startswith(">") for name in columns]
    classes = [' class="number"' if right else "" for right in numeric]
    head = joined(
        Markup("<th{}>{}</th>").format(Markup(kind_), name.removeprefix(">"))
        for kind_, name in zip(classes, columns, strict=True)
    )
    body = joined(
        Markup("<tr>{}</tr>").format(
            joined(
                Markup("<td{}>{}</td>").format(Markup(classes[i] if i < len(classes) else ""), "" if c is None else c)
                for i, c in enumerate(row)
            )
        )
        for row in rows
    )
    top = Markup("<thead><tr>{}</tr></thead>").format(head) if columns else Markup("")
    inside = Markup('<table class="plain {}">{}<tbody>{}</tbody></table>').format(kind, top, body)
    return Markup('<div class="scroll">{}</div>').format(inside)


def facts(rows: Iterable[tuple[str, Cell]]) -> Markup:
    """Return names with their values; rows without a value are left out."""
    inside = joined(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in rows if value)
    return Markup('<dl class="facts">{}</dl>').format(inside)


def lines(values: Iterable[object]) -> Markup:
    """Return one line below the other."""
    return joined(Markup("<div>{}</div>").format(text(value)) for value in values)


def command(words: str, title: str = "") -> Markup:
    """Return a command with a button that copies it."""
    return Markup(
        '<div class="command" title="{}"><code>{}</code><button type="button" data-copy="{}">copy</button></div>'
    ).format(title, text(words), text(words))


def block(content: str) -> Markup:
    """Return preformatted text of several lines."""
    return Markup("<pre>{}</pre>").format(visible_lines(content))


def notice(tone: str, values: Iterable[object]) -> Markup:
    """Return a box with lines, of the tone `good`, `warn`, `bad` or `quiet`."""
    return Markup('<div class="notice {}">{}</div>').format(tone, lines(values))
