"""Determinism classes: how exactly a simulator repeats a run, as its dataclass declares it for each kind of device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regimen.config.static_types import class_variable

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

CLASSES = ("none", "run", "bit")
"""From the weakest: nothing repeats bit for bit; a run from its start does; one from a restored state does as well."""


def declared_class(config: PlainConfig) -> str | None:
    """Return the class that the simulator of a run declares; None for a task without one, or without a declaration.

    The dataclass of a simulator declares it by `DETERMINISM: ClassVar[dict[str, str]]`, kind of device -> class.

    Args:
        config: resolved configuration of the run.
    """
    env, sim = config.get("env") or {}, config.get("sim") or {}
    if not class_variable(env, "MANAGER_BASED"):  # it opens no `World`
        return None
    classes: dict[str, str] = class_variable(sim, "DETERMINISM") or {}
    return classes.get(str(sim.get("device") or "cpu").partition(":")[0])
