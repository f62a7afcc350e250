"""Actions on a run: cancel, resume, rerun, through the functions of the commands, which are shown before."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup
from nicegui import ui

from regimen.orchestration import repeated_run
from regimen.orchestration.launched_run import start_again
from regimen.orchestration.slurm.cancellation import cancel_named
from regimen.orchestration.supervisor_pool import SupervisorPool
from regimen.runs import resume_check
from regimen.runs.history.run_view import RunView
from regimen.runs.lock import is_free
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system.errors import RegimenError
from regimen.ui import markup
from regimen.ui.dialogs import refuse
from regimen.ui.history import History
from regimen.ui.layout import static

LOOK_S = 2.0

_supervisors = SupervisorPool()
"""Supervisors that were started here, each in a session of its own: Ctrl-C of the page does not reach them."""


@dataclass(frozen=True)
class Action:
    """Something that can be done with a run.

    Attributes:
        word: on its button.
        command: the command that does the same.
        explanation: what happens.
        cautions: what speaks against it.
        work: does it; returns a message.
    """

    word: str
    command: str
    explanation: str
    work: Callable[[], str]
    cautions: Callable[[], list[str]] = list


def possible(run: RunView) -> list[Action]:
    """Return the actions that a run allows as it is now."""
    name = shlex.quote(run.id)
    found = []
    if run.status.is_open or (run.status == Status.PREEMPTED and run.record.has_job):
        found.append(
            Action("Cancel", f"regimen cancel {name}", "The run saves a checkpoint and ends.", lambda: cancel(run))
        )
    if run.status.is_resumable:
        explanation = "The run continues in place from its last checkpoint, or from the beginning without one."
        found.append(Action("Resume", f"regimen resume {name}", explanation, lambda: resume(run)))
    if not run.status.is_open and run.config:
        explanation = "A new run repeats this one: same configuration, same seed."
        found.append(
            Action(
                "Rerun",
                f"regimen rerun {name}",
                explanation,
                lambda: rerun(run),
                lambda: list(repeated_run.cautions(run)),
            )
        )
    return found


def cancel(run: RunView) -> str:
    """Cancel a run as `regimen cancel` does; return what happens.

    Raises:
        RegimenError: the run has ended, or works on another machine.
    """
    return " ".join(" ".join(line.split()) for line in cancel_named([run.id]))


def resume(run: RunView) -> str:
    """Resume a run as `regimen resume` does, under a supervisor of its own; return a message.

    Raises:
        RegimenError: it cannot be resumed, with the command that starts a new run instead.
    """
    opened = Run.open(run.dir)
    if repeated_run.is_scheduled(run.config):
        from regimen.orchestration.slurm.submit import resume as submit_again

        submit_again(opened)
        return f"{run.id} was submitted again."
    if not is_free(opened):
        raise RegimenError(f"{run.id} is still worked on: its worker saves a checkpoint. Try again in a moment.")
    resume_check.require_resumable(opened)
    _supervisors.start(opened)
    return f"{run.id} continues."


def rerun(run: RunView) -> str:
    """Repeat a run as `regimen rerun` does, under a supervisor of its own; return a message.

    Raises:
        RegimenError: it cannot be repeated.
    """
    again = start_again(run, _supervisors)
    return f"{again.id} repeats {run.id}. After its end: regimen rerun {again.id} --check"


async def watch() -> None:
    """Correct the records of runs whose supervisor, started here, died, for as long as the server works."""
    while True:
        for _ in _supervisors.ended():
            pass
        await asyncio.sleep(LOOK_S)


def buttons(history: History, run: RunView, done: Callable[[], object]) -> None:
    """Build a button for each possible action.

    Args:
        history: the runs.
        run: the run.
        done: called after something was done.
    """
    for action in possible(run):
        color = "negative" if action.word == "Cancel" else "primary"
        button = ui.button(action.word, on_click=partial(_confirm, history, run, action, done))
        button.props(f"outline dense no-caps color={color}")


async def _confirm(history: History, run: RunView, action: Action, done: Callable[[], object]) -> None:
    """Open a dialog with the command and what speaks against it."""
    try:
        cautions = await asyncio.to_thread(action.cautions)  # it compares all inputs with their checksums
    except (RegimenError, OSError) as error:
        refuse(error)
        return
    with ui.dialog() as dialog, ui.card().style("min-width: min(90vw, 480px)"):
        title = f"{action.word} {run.record.name or run.id}"
        static(Markup("<h1>{}</h1><p>{}</p>").format(markup.text(title), action.explanation))
        if cautions:
            static(markup.notice("warn", cautions))
        static(markup.command(action.command, "the same from a shell"))

        async def go() -> None:
            dialog.close()
            try:
                message = await asyncio.to_thread(action.work)
            except (RegimenError, OSError) as error:
                refuse(error)
                return
            ui.notify(message, multi_line=True, timeout=8_000)
            history.refresh()
            done()

        with ui.row().style("width: 100%; justify-content: flex-end; gap: .5rem"):
            ui.button("Back", on_click=dialog.close).props("flat")
            ui.button(action.word, on_click=go).props("unelevated").mark("confirm")
    dialog.open()
