"""Motion clips by name: those that come with Regimen, and files of yours."""

from __future__ import annotations

from pathlib import Path

from regimen.system.errors import ConfigError, did_you_mean
from regimen.system.files import PACKAGE

SHIPPED = PACKAGE / "envs" / "motion" / "clips"
"""Folder of the clips that come with Regimen."""


def shipped_motions() -> dict[str, Path]:
    """Return name -> file of the clips that come with Regimen."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.npz"))}


def resolve_motion(reference: str) -> Path:
    """Return the file of a motion clip.

    Args:
        reference: name of a clip that comes with Regimen, or a file that ends in .npz.

    Raises:
        ConfigError: there is none.
    """
    shipped = shipped_motions()
    if reference in shipped:
        return shipped[reference]
    path = Path(reference).expanduser()
    if path.suffix == ".npz" and path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        beside = [str(file) for file in path.parent.glob("*.npz")] if path.parent.is_dir() else []
        raise ConfigError(f"There is no motion file {reference}; expected an .npz. {did_you_mean(reference, beside)}")
    raise ConfigError(
        f"There is no motion clip `{reference}`. {did_you_mean(reference, shipped)} A file of yours ends in .npz."
    )
