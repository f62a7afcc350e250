"""Kinds of files by their first bytes: for messages about files that are not what their name says."""

from __future__ import annotations

import stat
from pathlib import Path

ZIP = b"PK\x03\x04"
HDF5 = b"\x89HDF\r\n\x1a\n"

BEGINNINGS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer, not the file itself; `git lfs pull` fetches it",
    b"/annex/objects/": "a git-annex pointer, not the file itself; `git annex get` fetches it",
    ZIP: "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    HDF5: "an HDF5 file",
    b"\x93NUMPY": "a numpy array",
    b"SQLite format 3\x00": "an SQLite database",
    b"\x80\x02": "a pickle of Python objects",
    b"\x80\x03": "a pickle of Python objects",
    b"\x80\x04": "a pickle of Python objects",
    b"\x80\x05": "a pickle of Python objects",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF document",
}
"""First bytes -> what such a file is."""

LOOKED_AT = 4096


def this_is(path: Path, expected: bytes) -> str:
    """Return a sentence on what a file is, such as `This is a text file. `; empty if it begins as expected.

    Args:
        path: the file.
        expected: first bytes of a file of the expected kind.
    """
    kind = _kind(path, expected)
    return f"This is {kind}. " if kind else ""


def _kind(path: Path, expected: bytes) -> str:
    """Return what a file is. Only a regular file is opened: a pipe or device would block."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        with path.open("rb") as file:
            head = file.read(LOOKED_AT)
    except OSError as error:
        return f"unreadable ({error.strerror})"
    if not head:
        return "empty"
    if head.startswith(expected):
        return _cut_hdf5(head, path.stat().st_size) if expected == HDF5 else ""
    for beginning, kind in BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    if not head.strip(b"\x00"):
        return "filled with zero bytes, as an interrupted copy leaves it"
    if head[8:10] == b'{"':
        return "a safetensors file"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page, such as the login or error page of a download"
    return "a text file" if _is_text(head) else ""


def is_growing_hdf5(head: bytes) -> bool:
    """Return whether the superblock marks an HDF5 file as open in a writer with readers.

    Args:
        head: first bytes, 12 or more (HDF5 file format 3.0, II.A: version 3, consistency flags).
    """
    return len(head) >= 12 and head[8] == 3 and head[11] & 0b100 != 0


def _cut_hdf5(head: bytes, size: int) -> str:
    """Return that an HDF5 file is shorter than its superblock says, or nothing."""
    version, width = head[8:9], head[13 if head[8:9] in (b"\0", b"\1") else 9 : 14][:1]
    first = {b"\0": 24, b"\1": 28, b"\2": 12, b"\3": 12}.get(version)
    if first is None or not width or is_growing_hdf5(head):
        return ""
    at = first + 2 * width[0]  # behind the base address and one more
    end = int.from_bytes(head[at : at + width[0]], "little")
    return f"an HDF5 file that was cut short: {size:,} of {end:,} bytes" if size < end else ""


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a letter that the limit cut
    return b"\x00" not in head
