"""Isaac Lab's tasks and their configurations for the launcher; see `regimen.envs.foreign.catalogue`."""

from __future__ import annotations

from pathlib import Path

from regimen.envs.foreign import catalogue
from regimen.envs.isaaclab.library import ISAAC_LAB

CACHE = ISAAC_LAB.cache
"""Folder of catalogues, compiled kernels and robots; it may be deleted."""


class Catalogue(catalogue.Catalogue):
    """The tasks of the Isaac Lab in an interpreter."""

    def __init__(self, python: str, folder: Path | None = None) -> None:
        """Take an interpreter.

        Args:
            python: its path.
            folder: where documents are kept; by default below `CACHE`.
        """
        super().__init__(ISAAC_LAB, python, folder)
