"""Files of runs that the page may show: those that a run lists, and its pictures and films, from inside its folder."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from regimen.runs.history.run_view import RunView

FOLDERS = {"figures": (".png", ".svg", ".jpg"), "video": (".mp4", ".webm")}
"""Folder of a run -> endings of the files in it that are shown, although the run does not list them yet."""

SHOWN = (".png", ".svg", ".jpg", ".mp4", ".webm", ".html")
"""Endings of files that a browser opens; all others are saved."""

SANDBOX = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'"
"""Content security policy of files of runs: a page or a picture with a script in it cannot run it."""


@dataclass(frozen=True)
class ServedFile:
    """A file that may be sent.

    Attributes:
        path: the file itself, without links.
        media_type: of its content.
        is_shown: whether a browser opens it; otherwise it is saved.
    """

    path: Path
    media_type: str
    is_shown: bool


def served(run: RunView, name: str) -> ServedFile | None:
    """Return a file of a run, None where it is none that may be sent.

    Args:
        run: the run.
        name: path below its folder, as asked for.
    """
    if name not in listed(run):
        return None
    try:
        path = (run.dir / name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    if not path.is_file() or not path.is_relative_to(run.dir.resolve()):
        return None
    suffix = path.suffix.lower()
    kind = mimetypes.guess_type(path.name)[0] if suffix in SHOWN else None
    return ServedFile(path, kind or "application/octet-stream", suffix in SHOWN)


def listed(run: RunView) -> list[str]:
    """Return the paths below the folder of a run that may be sent: its artifacts, pictures and films."""
    return list(dict.fromkeys([*(row.path for row in run.record.artifacts), *_in_folders(run.dir)]))


def of_kind(run: RunView, folder: str) -> list[str]:
    """Return the pictures (`figures`) or films (`video`) of a run that are there.

    Args:
        run: the run.
        folder: a key of `FOLDERS`.
    """
    return [name for name in listed(run) if name.lower().endswith(FOLDERS[folder]) and (run.dir / name).is_file()]


def address(run: RunView, name: str) -> str:
    """Return the address of a file of a run."""
    return f"/files/{quote(run.id, safe='')}/{quote(name)}"


def _in_folders(folder: Path) -> Iterator[str]:
    for name, endings in FOLDERS.items():
        try:
            files = sorted(path.name for path in (folder / name).iterdir())
        except OSError:
            continue
        yield from (f"{name}/{file}" for file in files if file.lower().endswith(endings))
