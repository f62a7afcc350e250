"""The actors of a run: started, started again where they died, ended with it, whatever starts them."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regimen.agents.actor_learner.request_channel import LearnerUnreachableError
from regimen.system import wire
from regimen.system.errors import DivergedError
from regimen.system.message_client import PASSED_ON, ServerError, received_error

if TYPE_CHECKING:
    from regimen.agents.actor_learner.channel import Inbox
    from regimen.runs.run import Run

FAILURES = 3
"""Ends in a row of one actor, none of whose processes sent a row, after which the run fails."""

END_GRACE_S = 5.0
"""Time for an actor to end after its learner asked for it, or vanished."""


def log_name(name: str) -> str:
    """Return the name of an actor's log without suffix: `actor0` of all processes `actor0.<attempt>.<start>`."""
    return name.partition(".")[0]


def account_of(error: Exception, name: str, run: Run | None) -> wire.Message:
    """Print the error that an actor fails with, and return it for its learner.

    Args:
        error: what was raised.
        name: of the actor.
        run: receives the NaN dump; None: its directory is not on this machine.
    """
    traceback.print_exception(error)
    if run is not None and isinstance(error, DivergedError) and error.dump is not None:
        error.dump.write(run.nan_dump, run.id)
        run.artifact(run.nan_dump, "NaN dump")
    return {"error": type(error).__name__, "message": str(error), "actor": name}


@dataclass
class End:
    """How an actor ended.

    Attributes:
        how: end of the sentence `the actor ended with …`.
        account: made by `account_of`, None for an actor that died.
    """

    how: str
    account: wire.Message | None = None


class ActorGroup(ABC):
    """The actors of a run; what starts them is up to the subclass."""

    def __init__(self, run: Run, count: int, mailbox: Inbox) -> None:
        """Start nothing yet.

        Args:
            run: of the learner.
            count: number of actors.
            mailbox: receives the rows, by which an actor that works is recognised.
        """
        self._run, self._mailbox = run, mailbox
        self._attempt = len(run.record.resumed)
        self._names: dict[int, str] = {}
        self._starts = dict.fromkeys(range(count), 0)
        self._failures = dict.fromkeys(range(count), 0)

    def start(self) -> None:
        """Start all actors."""
        for number in self._starts:
            self._start(number)

    def watch(self) -> None:
        """Start an actor that died again, unless the run is to stop: then a signal may have ended the actor as well.

        One that ended because the learner did not answer counts as dead: the learner runs, or it would not be here.

        Raises:
            RegimenError: it failed with an error, or died several times before it sent a row.
        """
        for number, name in self._names.items():
            end = self._end_of(number, name)
            if end is None:
                continue
            if self._run.stop_signal is not None:
                return
            how = end.how
            if end.account is not None:
                if end.account.get("error") != LearnerUnreachableError.__name__:
                    raise _error(end.account, log_name(name))
                how = f"no answer of the learner: {str(end.account.get('message')).rstrip('.')}"
            self._failures[number] = 0 if self._mailbox.received(name) >= 0 else self._failures[number] + 1
            if self._failures[number] >= FAILURES:
                raise ServerError(
                    f"{log_name(name)} ended {FAILURES} times before it sent a row, the last time with {how}. "
                    f"Look at logs/{log_name(name)}.log of this run; then continue it by `resume=`."
                )
            self._run.warn(f"{log_name(name)} ended with {how}, and was started again")
            self._start(number)

    def _start(self, number: int) -> None:
        name = f"actor{number}.{self._attempt}.{self._starts[number]}"
        self._starts[number] += 1
        self._names[number] = name
        self._launch(number, name)

    @abstractmethod
    def _launch(self, number: int, name: str) -> None:
        """Start an actor under a name that none had before; drop what is left of the one before."""

    @abstractmethod
    def _end_of(self, number: int, name: str) -> End | None:
        """Return how an actor ended, None while it works.

        Raises:
            ServerError: it cannot be started.
        """

    @abstractmethod
    def stop(self) -> None:
        """End all actors, by force where they do not end by themselves."""


def _error(account: wire.Message, actor: str) -> Exception:
    kind, text = account.get("error"), account.get("message")
    named = kind in PASSED_ON or kind == DivergedError.__name__
    return received_error({"error": kind, "message": f"{actor}: {text}" if named else text}, actor)
