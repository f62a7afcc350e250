"""Every error a user can meet, in one place.

Each message says what was wrong, what was expected, and what to type instead. The launcher prints the
message of a `RegimenError` as it is, without a traceback; anything else is a bug or a failure of the work
itself, and keeps its traceback in the run's log.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the names in `known` nearest to `name`, best first.

    Args:
        name: what was typed.
        known: the valid names.
        most: how many to return at most.
    """
    names = sorted(set(known))
    lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), list(lower), n=most, cutoff=0.5)
    part = [n for n in names if name and (name.lower() in n.lower() or n.lower() in name.lower())]
    return list(dict.fromkeys([lower[n] for n in near] + part))[:most]


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """Return "Did you mean `x`?", or the list of valid names where nothing is near.

    Args:
        name: what was typed.
        known: the valid names.
        most: how many near names to offer at most.
    """
    names = sorted(set(known))
    near = suggest(name, names, most)
    if near:
        return "Did you mean " + " or ".join(f"`{n}`" for n in near) + "?"
    shown = ", ".join(f"`{n}`" for n in names[:12]) or "none"
    return f"Valid names: {shown}{', …' if len(names) > 12 else ''}."


class RegimenError(Exception):
    """Base of all errors whose message is written for the user."""


class ConfigError(RegimenError):
    """A key, value, option or file of the configuration is wrong. Found before anything starts."""


class ConfigErrors(ConfigError):
    """Everything that is wrong with a configuration.

    Attributes:
        lines: one for each problem.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        numbered = "\n".join(f"  {i}. {line}" for i, line in enumerate(lines, 1))
        super().__init__(lines[0] if len(lines) == 1 else f"{len(lines)} problems, nothing was started:\n{numbered}")


def raise_if_any(lines: list[str]) -> None:
    """Raise one `ConfigErrors` for all lines, each said once, if there are any."""
    if lines:
        raise ConfigErrors(list(dict.fromkeys(lines)))


class RunReferenceError(RegimenError):
    """A run reference or file named as an input does not lead to exactly one thing."""


class IOMismatchError(RegimenError):
    """A policy or dataset does not fit the environment: the names that differ are in the message."""


class PreflightError(RegimenError):
    """The machine cannot do what was asked: no space, no memory, no interpreter, no renderer."""


class EnvContractError(RegimenError):
    """An environment breaks the VecEnv contract; the message says which rule and how."""


class CheckpointError(RegimenError):
    """A checkpoint cannot be read or written, or lacks what was asked of it."""


class DatasetError(RegimenError):
    """A dataset cannot be read, or is not fit for what it was to be used for; the message names the joint or file."""


class DivergedError(RegimenError):
    """The state or a loss became non-finite; the message names the term or tensor."""


class StopRequested(RegimenError):
    """A signal asked the work to stop, and it did so after saving a checkpoint.

    Attributes:
        signal: number of the signal.
        step: counter at which the checkpoint was saved.
    """

    def __init__(self, signal: int, step: int) -> None:
        super().__init__(f"stopped by signal {signal} at step {step}, checkpoint saved")
        self.signal = signal
        self.step = step
