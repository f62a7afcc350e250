"""Files that the model of a robot or scene is made of: an MJCF or URDF, its includes, meshes, textures, height fields.

A simulator opens them from C, so nothing in Python sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

MODELS = (".xml", ".urdf")
"""Suffixes of model files, whose content is read for further files."""

FOLDER_ATTRIBUTES = ("meshdir", "texturedir", "assetdir")
"""Attributes of `<compiler>` that name the folder of assets."""


def model_files(model: Path) -> set[Path]:
    """Return `model` and the existing files that it names, directly or through another model file.

    Args:
        model: MJCF or URDF.
    """
    found, folders = {model}, [model.parent]
    waiting = [model]
    while waiting:
        path = waiting.pop()
        root = _parse(path)
        if root is None:
            continue
        bases = [*dict.fromkeys((*folders, path.parent))]
        names = {c.get(a, "") for c in root.iter("compiler") for a in FOLDER_ATTRIBUTES} - {""}
        folders = [*dict.fromkeys((*bases, *(base / name for base in bases for name in sorted(names))))]
        for name in _named(root):
            places = (folder / part for folder in folders for part in (name, Path(name).name))
            new = {place for place in places if place.is_file()} - found
            found |= new
            waiting += sorted(place for place in new if place.suffix.lower() in MODELS)
    return found


def _named(root: ElementTree.Element) -> Iterator[str]:
    """Yield the values of `file`, `filename`, `fileright`, …; of a URL, such as package://, the path below its host."""
    for element in root.iter():
        for key, value in element.attrib.items():
            if key.startswith("file") and value:
                scheme, _, rest = value.rpartition("://")
                yield rest.partition("/")[2] if scheme == "package" else rest


def _parse(path: Path) -> ElementTree.Element | None:
    with suppress(OSError, ElementTree.ParseError, ValueError):
        return ElementTree.parse(path).getroot()
    return None
