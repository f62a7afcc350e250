"""Atomic JSON files, exclusive directories, ids, locks, and a reserve for a full disk."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from regimen.system.errors import PreflightError

RESERVE_BYTES = 256 * 1024
"""Bytes reserved in a run directory so that the final record can be written on a full disk."""

READ_BYTES = 64 * 2**20
"""Size beyond which a file that is read whole is damaged."""

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the package `regimen`."""

DATA_FOLDERS = ("conf", "pretrained")
"""Folders of the repository that a wheel holds inside the package: options, and policies."""


def repository_root() -> Path | None:
    """Return the checkout that this package is imported from; None for an installed package or a code snapshot."""
    root = PACKAGE.parents[1]
    return root if (root / "conf" / "config.yaml").is_file() and (root / "launch.py").is_file() else None


def data_folder(name: str) -> Path:
    """Return a folder of files that come with Regimen: that of the checkout, else its copy in the installed package.

    Args:
        name: one of `DATA_FOLDERS`.
    """
    return (repository_root() or PACKAGE) / name


def display_path(path: Path) -> str:
    """Return a path as the user would type it: relative to the current directory when inside it."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def iso_now() -> str:
    """Return the local time in ISO format with its offset, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def new_id(*parts: str) -> str:
    """Return `YYYYMMDD-HHMMSS-<part>-…-<4 hex digits>`, safe as a directory name.

    Args:
        parts: words that describe the run, such as task and agent.
    """
    words = [re.sub(r"[^A-Za-z0-9_.]+", "_", part) for part in parts if part]
    return "-".join([datetime.now().strftime("%Y%m%d-%H%M%S"), *words, secrets.token_hex(2)])


def create_unique_dir(root: Path, *parts: str) -> Path:
    """Create a directory under `root` that did not exist before, and return it.

    Args:
        root: folder of runs; created if absent.
        parts: words of the id, see `new_id`.

    Raises:
        PreflightError: the disk is full, or `root` is not writable.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            path = root / new_id(*parts)
            if not path.exists():
                with suppress(FileExistsError):
                    path.mkdir()
                    return path
    except OSError as error:
        raise cannot_create_error(root, error) from error


def cannot_create_error(root: Path, error: OSError) -> PreflightError:
    """Return the error of a run whose directory could not be created because of `error`.

    Args:
        root: folder of runs.
        error: raised by the operating system.
    """
    if is_no_space(error):
        return PreflightError(f"Cannot start a run: {no_space_message(root)}. Free some.")
    why = error.strerror or error
    return PreflightError(f"Cannot make a run directory in {root.resolve()}: {why}. Start where you may write.")


UNCHANGED = frozenset((str, int, bool, type(None)))
"""Types whose values are JSON data as they are."""


def plain(value: Any) -> Any:
    """Return `value` as plain JSON data: paths as text, array scalars as numbers, non-finite numbers as null.

    Args:
        value: nested dicts, lists, scalars, and objects with a `to_dict`.
    """
    if type(value) in UNCHANGED:
        return value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file of a run: a regular file, never through a link.

    A run directory may have another origin: a link in it leads to any file of its user, and a pipe blocks.

    Args:
        path: the file.
        mode: as of `open`.

    Raises:
        OSError: it is a link, or no regular file.
    """
    return open(path, mode, opener=_open_regular)


def _open_regular(name: str, flags: int) -> int:
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", name)
    return descriptor


def write_atomic(path: Path, data: bytes | Iterable[bytes], durable: bool = True) -> None:
    """Replace `path` by `data` atomically: a reader, or a crash, sees the old or the new content, never a part.

    Args:
        path: file to write.
        data: its whole content, or the parts of it.
        durable: wait until the disk has it.
    """
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        tmp.unlink(missing_ok=True)  # of an earlier process with this number
        with open_own(tmp, "xb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        tmp.replace(path)
    except BaseException:
        tmp.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: dict[str, Any], reserve: Path | None = None, durable: bool = True) -> None:
    """Write JSON atomically; on a full disk delete the reserve and try once more.

    Args:
        path: file to write.
        data: passed through `plain`.
        reserve: file of `reserve_space`, if this write must succeed.
        durable: wait until the disk has it.
    """
    text = (json.dumps(plain(data), indent=2) + "\n").encode()
    try:
        write_atomic(path, text, durable)
    except OSError as error:
        if reserve is None or not is_no_space(error) or not reserve.exists():
            raise
        reserve.unlink()
        write_atomic(path, text, durable)


def age(path: Path) -> float | None:
    """Return the time since a file was written in seconds, None if there is none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return None


def read_bytes(path: Path, most: int = READ_BYTES) -> bytes:
    """Return the content of a regular file of a run; a pipe or device is not waited for.

    Args:
        path: the file.
        most: size that is not exceeded by a whole file of its kind.

    Raises:
        OSError: there is no such file, it is no regular file, or larger.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"Larger than {most >> 20} MiB", str(path))
        return file.read(most)


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading, links followed.

    Raises:
        OSError: there is no such file, or it is a folder, pipe or device, whose reading may have no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file, or None if it is missing, incomplete or no regular file."""
    try:
        data = json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, which is created if absent. The end of the process releases it.

    Args:
        path: the lock file; its folder must exist.
        wait: whether to wait until another process releases the lock.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is false.
        OSError: the file cannot be opened.
    """
    with open_own(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder whole or not at all: yield the folder to write to, which gets the name after the block.

    Args:
        folder: to make; what is written is removed after an error.
    """
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def reserve_space(path: Path) -> None:
    """Reserve `RESERVE_BYTES` at `path`; raise OSError if the disk is full already.

    macOS has no call for it: zeros are written there.
    """
    try:
        with open_own(path, "ab") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
            else:
                file.write(bytes(max(0, RESERVE_BYTES - file.tell())))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def is_no_space(error: BaseException | None) -> bool:
    """Return whether `error`, or what caused it, is a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def no_space_message(path: Path, needed: int | None = None) -> str:
    """Return a sentence naming the full file system that holds `path`.

    Args:
        path: a file or folder on it.
        needed: bytes that were to be written, if known.
    """
    mount = path.resolve()
    while not os.path.ismount(mount):
        mount = mount.parent
    free = shutil.disk_usage(mount).free / 1e6
    wanted = f"{needed / 1e6:.1f} MB needed, " if needed is not None else ""
    return f"no space left on {mount}: {wanted}{free:.1f} MB free"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; of a folder that of the names and hashes of its files."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        lines = "".join(f"{sha256(file)}  {file.relative_to(path)}\n" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """Return what `sha256` does; a file is read once in a process for each inode, size and modification time of it."""
    stat = path.stat()
    if path.is_dir():  # its own time does not change with the content of its files
        return sha256(path)
    key = (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size)
    if key not in _checksums:
        _checksums[key] = sha256(path)
    return _checksums[key]


_checksums: dict[tuple[str, int, int, int], str] = {}
