"""Input files of a run: references, paths, recorded entries with checksums."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regimen.runs.references import resolve_data, resolve_policy, resolve_result
from regimen.system.files import read_json, sha256

SINGLE = ("policy", "estimator")
"""Keys of the configuration that hold one reference, each to a checkpoint."""

LISTS = ("data", "runs", "experts")
"""Keys that hold any number: references to datasets, to runs whose results are read, and to policies."""


def references(config: dict[str, Any]) -> dict[str, str]:
    """Return input name -> reference: `policy`, `estimator`, and `data.0`, `data.1`, …, `runs.0`, ….

    Args:
        config: resolved plain configuration.
    """
    named: dict[str, Any] = {key: config.get(key) for key in SINGLE}
    named |= {f"{key}.{i}": ref for key in LISTS for i, ref in enumerate(config.get(key) or [])}
    return {name: str(ref) for name, ref in named.items() if ref is not None}


@contextmanager
def cached_resolution() -> Iterator[None]:
    """Resolve each reference only once within this context: jobs of a sweep share their inputs."""
    _resolved.append({})
    try:
        yield
    finally:
        _resolved.pop()


_resolved: list[dict[tuple[str, str], Path]] = []


def resolve(name: str, reference: str) -> Path:
    """Return the path that the reference of the input `name` leads to.

    Raises:
        RunReferenceError: with candidates.
    """
    known: dict[tuple[str, str], Path] = _resolved[-1] if _resolved else {}
    kinds = {"data": resolve_data, "runs": resolve_result}
    kind = kinds.get(name.partition(".")[0], resolve_policy)
    if (key := (kind.__name__, reference)) not in known:
        known[key] = kind(reference)
    return known[key]


def put(config: dict[str, Any], name: str, path: Path) -> None:
    """Put the path of an input at its place in a plain configuration."""
    key, _, number = name.partition(".")
    if number:
        config[key][int(number)] = str(path)
    else:
        config[key] = str(path)


def read(files: dict[str, Path], references: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what is recorded of inputs: path, SHA-256, the run it belongs to, and the reference as typed.

    Args:
        files: name -> file or folder.
        references: name -> reference, where there was one.
    """
    return {
        name: {
            "path": str(path),
            "sha256": sha256(path),
            "run": owner(path),
            "ref": references.get(name, str(path)),
        }
        for name, path in files.items()
    }


def owner(path: Path) -> str | None:
    """Return the id of the run that a file belongs to, None where it belongs to none."""
    for folder in path.resolve().parents[:3]:
        info = read_json(folder / "run.json")
        if info is not None:
            return str(info.get("id") or folder.name)
    return None


def changed(info: dict[str, Any]) -> dict[str, str]:
    """Return input name -> what happened to it since the record was made: `changed` or `gone`.

    Args:
        info: content of run.json.
    """
    found = {}
    for name, row in (info.get("inputs") or {}).items():
        path = Path(row["path"])
        if not path.exists():
            found[name] = "gone"
        elif sha256(path) != row["sha256"]:
            found[name] = "changed"
    return found
