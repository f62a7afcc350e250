"""Exception types, suggestions of near names, and one error for several problems.

Each message says what was wrong, what was expected, and what to type instead. The launcher prints the message of a
`RegimenError` without a traceback; any other exception is a bug or a failure of the work itself, and its traceback is
kept in the log of the run.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


def suggest(name: str, valid: Iterable[str], limit: int = 3) -> list[str]:
    """Return the names in `valid` nearest to `name`, best first.

    Args:
        name: the name as typed.
        valid: valid names.
        limit: largest number of names.
    """
    names = sorted(set(valid))
    lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), list(lower), n=limit, cutoff=0.5)
    part = [n for n in names if name and (name.lower() in n.lower() or n.lower() in name.lower())]
    return list(dict.fromkeys([lower[n] for n in near] + part))[:limit]


def did_you_mean(name: str, valid: Iterable[str], limit: int = 3) -> str:
    """Return "Did you mean `x`?", or the list of valid names if none is near.

    Args:
        name: the name as typed.
        valid: valid names.
        limit: largest number of near names.
    """
    names = sorted(set(valid))
    near = suggest(name, names, limit)
    if near:
        return "Did you mean " + " or ".join(f"`{n}`" for n in near) + "?"
    shown = ", ".join(f"`{n}`" for n in names[:12]) or "none"
    return f"Valid names: {shown}{', …' if len(names) > 12 else ''}."


class RegimenError(Exception):
    """Base of all errors whose message is written for the user."""


class ConfigError(RegimenError):
    """A key, value, option or file of the configuration is wrong. Found before anything starts."""


class ConfigErrors(ConfigError):
    """All problems of a configuration.

    Attributes:
        lines: one line for each problem.
    """

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        numbered = "\n".join(f"  {i}. {line}" for i, line in enumerate(lines, 1))
        super().__init__(lines[0] if len(lines) == 1 else f"{len(lines)} problems, nothing was started:\n{numbered}")


def of_system(error: OSError) -> str:
    """Return an error of the operating system as a sentence that names its file."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."


def raise_if_any(lines: list[str]) -> None:
    """Raise one `ConfigErrors` with all different lines, if there are any."""
    if lines:
        raise ConfigErrors(list(dict.fromkeys(lines)))


class RunReferenceError(RegimenError):
    """A run reference does not match exactly one run, or an input file does not exist."""


class IOMismatchError(RegimenError):
    """A policy or dataset does not fit the environment: the names that differ are in the message."""


class PreflightError(RegimenError):
    """The machine lacks something that the run needs: disk space, memory, an interpreter, a renderer."""


class EnvContractError(RegimenError):
    """An environment breaks the VecEnv contract; the message says which rule and how."""


class CheckpointError(RegimenError):
    """A checkpoint cannot be read or written, or lacks a required part."""


class SaveError(CheckpointError):
    """A checkpoint cannot be written: no space is left, or it holds a value that could not be loaded again."""


class DatasetError(RegimenError):
    """A dataset cannot be read, or fails the checks of its use; the message names the joint or file."""


class Dump(Protocol):
    """What is kept of an environment that diverged."""

    def write(self, path: Path, run: str) -> None:
        """Write the file `path` of the run with the id `run`."""
        ...


class DivergedError(RegimenError):
    """A state, the output of a term or a loss became non-finite; the message names the term or tensor.

    Attributes:
        env_ids: envs with values that are not finite; empty where the message is about none.
        of_state: whether the message is about the state of the simulator.
        dump: the steps before, which the worker writes into the run directory; None where none are kept.
    """

    def __init__(self, message: str, env_ids: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.env_ids = list(env_ids)
        self.of_state = False
        self.dump: Dump | None = None


class StopRequested(RegimenError):
    """A signal stopped the work after a checkpoint was saved.

    Attributes:
        signal: number of the signal.
        step: counter at which the checkpoint was saved.
    """

    def __init__(self, signal: int, step: int) -> None:
        super().__init__(f"stopped by signal {signal} at step {step}, checkpoint saved")
        self.signal = signal
        self.step = step
