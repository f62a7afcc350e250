"""`regimen note` and `regimen tag`: what people think of a run, kept in its run.json."""

from __future__ import annotations

import re
from typing import Any

from regimen.display.formatting import when
from regimen.runs.history.run_view import RunView, see
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import ConfigError

TAG = re.compile(r"[^\s,=-][^\s,=]*")
"""A tag is one word, so that it can be typed, taken away with `-`, and filtered by."""


def note_verb(argv: list[str]) -> int:
    """Add a note to a run, or list its notes: `regimen note <run> [text …]`.

    Args:
        argv: the arguments after the verb.
    """
    run = _named("regimen note <run> [text …]", argv)
    text = " ".join(argv[1:]).strip()
    if text:
        add_note(Run(run.dir), text)
    for note in see(str(run.dir)).info.get("notes") or []:
        print(f"{when(note['at'])}  {note['text']}")
    return 0


def tag_verb(argv: list[str]) -> int:
    """Add tags to a run, take tags away, or list them: `regimen tag <run> [tag …] [-tag …]`.

    Args:
        argv: the arguments after the verb.
    """
    run = _named("regimen tag <run> [tag …] [-tag …]", argv)
    if argv[1:]:
        change_tags(Run(run.dir), argv[1:])
    print(" ".join(see(str(run.dir)).info.get("tags") or []) or f"{run.id} has no tags")
    return 0


def add_note(run: Run, text: str) -> None:
    """Append a note with the present time; safe while the run is worked on.

    Args:
        run: the run.
        text: what to remember.
    """
    note = {"at": files.now(), "text": text}
    run.amend(lambda info: {"notes": [*(info.get("notes") or []), note]})


def change_tags(run: Run, words: list[str]) -> None:
    """Add tags, or take away those that begin with `-`; safe while the run is worked on.

    Args:
        run: the run.
        words: `tag` or `-tag`.

    Raises:
        ConfigError: a word is no tag, or the run does not have the tag to be taken away.
    """
    wrong = [word for word in words if not TAG.fullmatch(word.removeprefix("-"))]
    if wrong:
        raise ConfigError(f"`{wrong[0]}` is no tag: expected one word without comma and `=`, such as `keep`.")

    def changed(info: dict[str, Any]) -> dict[str, Any]:
        tags = list(info.get("tags") or [])
        for word in words:
            name = word.removeprefix("-")
            if word.startswith("-") and name not in tags:
                has = ", ".join(tags) or "none"
                raise ConfigError(f"{run.id} has no tag `{name}` to take away. Its tags: {has}.")
            tags = [tag for tag in tags if tag != name] + ([] if word.startswith("-") else [name])
        return {"tags": tags}

    run.amend(changed)


def _named(usage: str, argv: list[str]) -> RunView:
    """Return the run that the first argument names, or say how the verb is used."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {usage}")
        raise SystemExit(0 if argv else 2)
    return see(argv[0])
