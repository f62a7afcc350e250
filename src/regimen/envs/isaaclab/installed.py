"""Versions of Isaac Lab's packages in an interpreter, without importing them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from regimen.envs.foreign import installed
from regimen.envs.isaaclab.library import ISAAC_LAB


def problems(python: str) -> Iterator[str]:
    """Yield a line if an interpreter lacks a package, or has one of a version that does not fit."""
    yield from installed.problems(ISAAC_LAB, python)


if __name__ == "__main__":
    sys.exit(installed.print_versions(ISAAC_LAB))
