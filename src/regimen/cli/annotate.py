"""`regimen note` and `regimen tag`: notes and tags of a run, stored in its run.json."""

from __future__ import annotations

from regimen.display.formatting import visible, when
from regimen.runs.history.annotations import add_note, change_tags
from regimen.runs.history.run_view import RunView, open_view
from regimen.runs.run import Run


def note_verb(argv: list[str]) -> int:
    """Add a note to a run, or list its notes: `regimen note <run> [text …]`.

    Args:
        argv: the arguments after the verb.
    """
    run = _named("regimen note <run> [text …]", argv)
    text = " ".join(argv[1:]).strip()
    if text:
        add_note(Run(run.dir), text)
    for note in open_view(str(run.dir)).record.notes:
        print(visible(f"{when(note.at)}  {note.text}"))
    return 0


def tag_verb(argv: list[str]) -> int:
    """Add, remove or list tags of a run: `regimen tag <run> [tag …] [-tag …]`.

    Args:
        argv: the arguments after the verb.
    """
    run = _named("regimen tag <run> [tag …] [-tag …]", argv)
    if argv[1:]:
        change_tags(Run(run.dir), argv[1:])
    print(visible(" ".join(open_view(str(run.dir)).record.tags)) or f"{run.id} has no tags")
    return 0


def _named(usage: str, argv: list[str]) -> RunView:
    """Return the run of the first argument; print the usage without arguments."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {usage}")
        raise SystemExit(0 if argv else 2)
    return open_view(argv[0])
