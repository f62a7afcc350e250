"""Notes and tags of a run, stored in its run.json."""

from __future__ import annotations

import re

from regimen.display.formatting import visible
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import Note
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import ConfigError

TAG = re.compile(r"[^\s,=-][^\s,=]*")
"""A tag is one word without `=` and `,`, which does not start with `-`."""


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
