"""Dialogs that change something; each shows the command that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from markupsafe import Markup
from nicegui import ui

from regimen.display.formatting import when
from regimen.runs.history.annotations import add_note, change_tags
from regimen.runs.run import Run
from regimen.system.errors import RegimenError
from regimen.ui import markup
from regimen.ui.history import History
from regimen.ui.layout import static

Done = Callable[[], object]


def edit_notes(history: History, run_id: str, done: Done) -> None:
    """Open the notes of a run, with a field for another one.

    Args:
        history: the runs.
        run_id: id of the run.
        done: called after a note was saved.
    """
    with attempt(), ui.dialog() as dialog, ui.card().style("min-width: min(90vw, 460px)"):
        run = history.open(run_id)
        _title("Notes", run_id)
        if run.record.notes:
            static(markup.table((), [(when(note.at), markup.text(note.text)) for note in run.record.notes]))
        field = ui.textarea("Another note").props("outlined autogrow autofocus").classes("w-full").style("width: 100%")
        shown = static(markup.command(_note_command(run_id, "…")))
        field.on_value_change(lambda: shown.set_content(markup.command(_note_command(run_id, field.value or "…"))))

        def save() -> None:
            text = (field.value or "").strip()
            if text and act(lambda: add_note(Run(run.dir), text), "Saved."):
                dialog.close()
                history.refresh()
                done()

        _buttons(dialog, "Save", save)
        dialog.open()


def edit_tags(history: History, run_id: str, done: Done) -> None:
    """Open the tags of a run.

    Args:
        history: the runs.
        run_id: id of the run.
        done: called after they were saved.
    """
    with attempt(), ui.dialog() as dialog, ui.card().style("min-width: min(90vw, 460px)"):
        run = history.open(run_id)
        before = run.record.tags
        _title("Tags", run_id)
        field = ui.input("Words, separated by spaces", value=" ".join(before)).props("outlined autofocus")
        field.style("width: 100%")

        def words() -> list[str]:
            now = (field.value or "").split()
            return [word for word in now if word not in before] + [f"-{tag}" for tag in before if tag not in now]

        shown = static(markup.command(f"regimen tag {shlex.quote(run_id)}"))
        field.on_value_change(
            lambda: shown.set_content(markup.command(shlex.join(["regimen", "tag", run_id, *words()])))
        )

        def save() -> None:
            if not words() or act(lambda: change_tags(Run(run.dir), words()), "Saved."):
                dialog.close()
                history.refresh()
                done()

        field.on("keydown.enter", save)
        _buttons(dialog, "Save", save)
        dialog.open()


def act(work: Callable[[], object], message: str) -> bool:
    """Do something that may be refused; show the refusal, or a message; return whether it was done.

    Args:
        work: may raise `RegimenError` or `OSError`.
        message: shown afterwards.
    """
    try:
        work()
    except (RegimenError, OSError) as error:
        refuse(error)
        return False
    ui.notify(message, type="positive")
    return True


def refuse(error: Exception) -> None:
    """Show why something was refused."""
    ui.notify(str(error), type="negative", multi_line=True, timeout=12_000, close_button="Close")


class attempt:  # noqa: N801 a context manager
    """Show a refusal that is raised within."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, (RegimenError, OSError)):
            refuse(error)
            return True
        return False


def _note_command(run_id: str, text: str) -> str:
    return shlex.join(["regimen", "note", run_id, text])


def _title(title: str, run_id: str) -> None:
    static(Markup("<h1>{}</h1><div class='soft mono'>{}</div>").format(title, run_id))


def _buttons(dialog: ui.dialog, word: str, save: Callable[[], object]) -> None:
    with ui.row().style("width: 100%; justify-content: flex-end; gap: .5rem"):
        ui.button("Cancel", on_click=dialog.close).props("flat")
        ui.button(word, on_click=save).props("unelevated")
