"""`regimen note` and `regimen tag`: notes and tags of a run, stored in its run.json."""

from __future__ import annotations

import re

from regimen.display.formatting import visible, when
from regimen.runs.history.run_view import RunView, open_view
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import Note
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import ConfigError

TAG = re.compile(r"[^\s,=-][^\s,=]*")
"""A tag is one word without `=` and `,`, which does not start with `-`."""


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


def add_note(run: Run, text: str) -> None:
    """Append a note with the current time; safe while the run is running.

    Args:
        run: the run.
        text: text of the note.
    """
    note = Note(files.iso_now(), text)
    run.change(lambda record: record.notes.append(note))


def change_tags(run: Run, words: list[str]) -> None:
    """Add tags, or remove those that start with `-`; safe while the run is running.

    Args:
        run: the run.
        words: `tag` or `-tag`.

    Raises:
        ConfigError: a word is no valid tag, or the run does not have the tag to remove.
    """
    wrong = [word for word in words if not TAG.fullmatch(word.removeprefix("-")) or visible(word) != word]
    if wrong:
        raise ConfigError(f"`{visible(wrong[0])}` is no tag: expected one word without comma and `=`, such as `keep`.")

    def alter(record: RunRecord) -> None:
        tags = record.tags
        for word in words:
            name = word.removeprefix("-")
            if word.startswith("-") and name not in tags:
                existing = ", ".join(tags) or "none"
                raise ConfigError(f"{run.id} has no tag `{name}` to remove. Its tags: {existing}.")
            tags = [tag for tag in tags if tag != name] + ([] if word.startswith("-") else [name])
        record.tags = tags

    run.change(alter)


def _named(usage: str, argv: list[str]) -> RunView:
    """Return the run of the first argument; print the usage without arguments."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {usage}")
        raise SystemExit(0 if argv else 2)
    return open_view(argv[0])
