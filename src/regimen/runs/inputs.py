"""Input files of a run: references, paths, recorded entries with checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from regimen.config import static_types
from regimen.config.yaml_io import PlainSection
from regimen.runs.code_snapshot import content
from regimen.runs.record_parts import InputEntry
from regimen.runs.references import resolve_data, resolve_policy, resolve_result
from regimen.runs.run import Run
from regimen.runs.user_files import files_of_actuators
from regimen.system.errors import ConfigError, RunReferenceError, did_you_mean
from regimen.system.files import read_json, sha256

SINGLE = ("policy", "estimator", "encoder")
"""Keys of the configuration that hold one reference, each to a checkpoint."""

LISTS = ("data", "runs", "experts")
"""Keys that hold any number: references to datasets, to runs whose results are read, and to policies."""

LOW_LEVEL = "env.low_level.policy"
"""Key of the policy that follows the actions of the agent."""

OF_TASK = "env."
"""Beginning of the keys of inputs that belong to the task: `LOW_LEVEL`, and the networks of actuators."""

LARGE_BYTES = 256 * 2**20
"""Larger files are judged by their time of change where a run is only shown or advised on."""


def references(config: dict[str, Any]) -> dict[str, str]:
    """Return input name -> reference: `policy`, `estimator`, `encoder`, `LOW_LEVEL`, `data.0`, …, `runs.0`, ….

    Networks of actuators are files, named by their keys: `env.actuators.legs.params.network_file`.

    A `policy` that the stage declares in `DEMONSTRATORS: ClassVar[tuple[str, ...]]` is no reference.

    Args:
        config: resolved plain configuration.
    """
    named: dict[str, Any] = {key: config.get(key) for key in SINGLE}
    if named["policy"] in (static_types.class_variable(config.get("stage") or {}, "DEMONSTRATORS") or ()):
        named["policy"] = None  # a word that the stage itself understands, and no file
    named |= {f"{key}.{i}": ref for key in LISTS for i, ref in enumerate(config.get(key) or [])}
    named[LOW_LEVEL] = ((config.get("env") or {}).get("low_level") or {}).get("policy")
    named |= files_of_actuators(config)
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
    kinds: dict[str, Callable[[str], Path]] = {"data": resolve_data, "runs": resolve_result, "env": _resolve_file}
    kind = resolve_policy if name == LOW_LEVEL else kinds.get(name.partition(".")[0], resolve_policy)
    if (key := (kind.__name__, reference)) not in known:
        known[key] = kind(reference)
    return known[key]


def _resolve_file(reference: str) -> Path:
    """Return a file that is named by its path.

    Raises:
        RunReferenceError: there is none.
    """
    path = Path(reference).expanduser().absolute()
    if path.is_file():
        return path
    beside = [str(file) for file in path.parent.iterdir()] if path.parent.is_dir() else []
    raise RunReferenceError(f"There is no file {path}. {did_you_mean(str(path), beside)}")


def put(config: dict[str, Any], name: str, path: Path) -> None:
    """Put the path of an input at its place in a plain configuration."""
    *parents, last = name.split(".")
    place: Any = config
    for key in parents:
        place = place[key]
    place[int(last) if isinstance(place, list) else last] = str(path)


def read(files: Mapping[str, Path], references: Mapping[str, str]) -> dict[str, InputEntry]:
    """Return what is recorded of inputs: path, SHA-256, the run it belongs to, and the reference as typed.

    Args:
        files: name -> file or folder.
        references: name -> reference, where there was one.
    """
    return {
        name: InputEntry(str(path), _checksum(path), owner(path), references.get(name, str(path)))
        for name, path in files.items()
    }


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file or folder; that of a file that has not changed is computed once in a process."""
    return content(path) if path.is_file() else sha256(path)


def owner(path: Path) -> str | None:
    """Return the id of the run that a file belongs to, None where it belongs to none."""
    for folder in path.resolve().parents[:3]:
        info = read_json(folder / "run.json")
        if info is not None:
            return str(info.get("id") or folder.name)
    return None


def recorded(path: Path, name: str) -> InputEntry | None:
    """Return the input `name` of the run that a file belongs to, as recorded; None where there is none."""
    for folder in path.resolve().parents[:3]:
        with suppress(RunReferenceError, ValueError, TypeError, KeyError):
            return Run(folder).record.inputs.get(name)
    return None


def agent_of(path: Path) -> tuple[str, PlainSection] | None:
    """Return option and settings of the agent that made a policy, by the configuration of its run; None if unknown."""
    for folder in path.resolve().parents[:3]:
        with suppress(RunReferenceError, ValueError, TypeError, KeyError):
            config = Run(folder).config
            return str(config["choices"]["agent"]), dict(config["agent"])
    return None


def agent_follows_policy(config: Mapping[str, Any]) -> bool:
    """Return whether a run takes its agent from its policy: its stage loads one, and calls no agent of its own.

    Args:
        config: resolved plain configuration.
    """
    stage, agent = config.get("stage") or {}, config.get("agent") or {}
    loads, needs = (static_types.class_variable(stage, name) for name in ("LOADS_POLICY", "NEEDS"))
    adopts = stage.get("joints") is not None
    return bool(loads) and not needs and not adopts and not static_types.class_variable(agent, "EVALUATOR")


def changed(inputs: Mapping[str, InputEntry], since: str | None = None) -> dict[str, str]:
    """Return input name -> what happened to it since the record was made: `changed` or `gone`.

    Args:
        inputs: as recorded.
        since: time of the record, ISO. A large file that was not written since then is not read; None reads all.
    """
    states = {}
    for name, entry in inputs.items():
        path = Path(entry.path)
        if not path.exists():
            states[name] = "gone"
        elif not (since and is_large(path) and not written_since(path, since)) and _checksum(path) != entry.sha256:
            states[name] = "changed"
    return states


def is_large(path: Path) -> bool:
    """Return whether a file is too large to be read for a piece of advice."""
    return path.is_file() and path.stat().st_size > LARGE_BYTES


def written_since(path: Path, since: str) -> bool:
    """Return whether a file was written after a time (ISO)."""
    return path.stat().st_mtime > datetime.fromisoformat(since).timestamp()


def not_read_again(run: Run) -> tuple[str, ...]:
    """Return the inputs that a resumed run does not read: a training continues from its own policy.

    A student reads its teacher at each start.
    """
    continues = run.record.stage == "train" and (run.checkpoints / "last.pt").exists()
    return ("policy",) if continues and not has_teacher(run) else ()


def has_teacher(run: Run) -> bool:
    """Return whether the policy of a training is the teacher of its agent, see `regimen.agents.base.TaughtAgent`."""
    with suppress(ConfigError, RunReferenceError):  # of an agent whose class is gone, of a damaged configuration
        return "use_teacher" in static_types.methods(str((run.config.get("agent") or {}).get("_target_", "")))
    return False


def require_unchanged(run: Run, except_for: tuple[str, ...] = (), since: str | None = None) -> None:
    """Verify that inputs are the files that the record names.

    Args:
        run: about to start or to continue.
        except_for: inputs that are not read again.
        since: see `changed`.

    Raises:
        RunReferenceError: naming each input that changed since.
    """
    inputs = run.record.inputs
    states = changed({name: entry for name, entry in inputs.items() if name not in except_for}, since)
    if lines := [f"{name} ({inputs[name].path}): {state}" for name, state in states.items()]:
        raise RunReferenceError(
            f"Inputs of {run.id} are not what they were when it was created: {'; '.join(lines)}. "
            "Launch a new run to use the present files."
        )
