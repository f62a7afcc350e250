"""Checks of an MJCF as a file, without MuJoCo: there, XML, an MJCF and no URDF, with all that it includes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from regimen.system.errors import did_you_mean


def file_problems(path: Path) -> list[str]:
    """Return one line for each thing that keeps `path` from being read as an MJCF."""
    return _problems(path, "mjcf", path.parent, set())


def _problems(path: Path, what: str, folder: Path, seen: set[Path]) -> list[str]:
    """Check a file and what it includes.

    Args:
        path: the file.
        what: leads to it, for messages.
        folder: of the model, from which names of included files count.
        seen: files checked already.
    """
    seen.add(path)
    if path.is_dir():
        return [f"{what}: {path} is a folder; expected a file. {did_you_mean(path.name, _models(path))}"]
    if not path.exists():
        return [f"{what}: there is no file {path}. {did_you_mean(path.name, _models(path.parent))}"]
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        damage = "the file is empty" if path.stat().st_size == 0 else f"it is no valid XML: {error}"
        return [f"{what}: {path}: {damage}"]
    except OSError as error:
        return [f"{what}: {path} cannot be read: {error.strerror}"]
    if root.tag == "robot":
        return [f"{what}: {path} is a URDF (<robot>); expected an MJCF (<mujoco>). Type: regimen import-robot {path}"]
    if root.tag != "mujoco" and (what == "mjcf" or root.tag != "mujocoinclude"):
        return [f"{what}: {path} begins with <{root.tag}>; expected an MJCF, which begins with <mujoco>"]
    included = [folder / name for element in root.iter("include") if (name := element.get("file"))]
    return [
        line for file in included if file not in seen for line in _problems(file, f"{path.name} includes", folder, seen)
    ]


def _models(folder: Path) -> list[str]:
    return [file.name for file in folder.glob("*.xml")] if folder.is_dir() else []
