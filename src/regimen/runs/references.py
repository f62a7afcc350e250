"""Run references: how a run or a policy is named as an input, turned into exactly one path or a clear error."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

from regimen.display.formatting import duration, visible
from regimen.runs.checkpoint_header import BEST_JUDGED
from regimen.runs.index import summary
from regimen.runs.index.index import ROOTS, Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.status import Status
from regimen.system.errors import RunReferenceError, did_you_mean, suggest
from regimen.system.files import data_folder

MAX_LENGTH = 1024
"""Longest reference in characters."""

FORMS = (
    "A run is named by its id, a unique beginning of it, its name, `latest` or its directory; a policy also by "
    "<run>@best, <run>@last, <run>@<step>, pretrained:<name> or a file."
)

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".onnx")

CHECKPOINT_NAMES = ("best", "best_return", "last")
"""What may follow the `@` of a policy, beside a step and `<NNNN>_epoch`."""

DATA_FORMS = (
    "A dataset is named by the run that made it (id, a unique beginning of it, name, `latest`), a folder or a file."
)


def is_checkpoint_name(which: str) -> bool:
    """Return whether a run may have a checkpoint of this name: the part of a reference after `@`."""
    return which in CHECKPOINT_NAMES or re.fullmatch(r"\d+(_epoch)?", which) is not None


def pretrained_folders() -> list[Path]:
    """Return the folders of published policies, in order of precedence: `./pretrained`, then that of Regimen."""
    return [Path.cwd() / "pretrained", data_folder("pretrained")]


def known_runs(roots: Sequence[Path] = ROOTS) -> list[RunSummary]:
    """Return all runs under `roots` whose record can be read, newest first.

    Args:
        roots: folders of runs and of sweeps.
    """
    return [run for run in Index(roots).rows() if run.status != Status.UNREADABLE]


def resolve_run(ref: str, roots: Sequence[Path] = ROOTS) -> Path:
    """Return the directory of the run that `ref` names.

    Args:
        ref: id, unique beginning of an id, name, `latest`, or a directory.
        roots: folders of runs and of sweeps.

    Raises:
        RunReferenceError: no run or several runs are meant; the message lists candidates.
    """
    folder = _as_path(ref)
    if (folder / "run.json").is_file():
        return folder.resolve()
    return _one(ref, Index(roots).rows(), roots).dir.resolve()


def resolve_policy(ref: str, roots: Sequence[Path] = ROOTS, pretrained: Sequence[Path] | None = None) -> Path:
    """Return the checkpoint file that `ref` names.

    Args:
        ref: a run (see `resolve_run`), optionally with `@best`, `@best_return`, `@last`, `@<step>` or, of an agent
            that keeps such, `@<NNNN>_epoch` (default: best if there is one, else last); a file; or `pretrained:<name>`.
            `@best` is the checkpoint judged best of a training that was evaluated alongside (`stage.evaluation`), of
            any other the one with the highest return, which `@best_return` always names.
        roots: folders of runs and of sweeps.
        pretrained: folders of published policies; by default those of `pretrained_folders`.

    Raises:
        RunReferenceError: no checkpoint or several runs are meant; the message lists candidates.
    """
    if ref.startswith("pretrained:"):
        return _pretrained(ref.removeprefix("pretrained:"), pretrained or pretrained_folders())
    if (path := _as_path(ref)).is_file():
        return path.resolve()
    if ref.endswith(CHECKPOINT_SUFFIXES):
        raise RunReferenceError(f"There is no file {ref} (from {Path.cwd()}). {FORMS}")
    name, at, which = ref.rpartition("@")
    if not at or (path / "run.json").is_file():
        name, which = ref, ""
    folder = _newest(roots, "a checkpoint", _has_checkpoint) if name == "latest" else resolve_run(name, roots)
    return _checkpoint(folder, which)


def is_one_checkpoint(ref: str) -> bool:
    """Return whether `ref` names one checkpoint: a file, `pretrained:<name>`, or a run with `@`; no run alone.

    Args:
        ref: see `resolve_policy`; what it names need not exist.
    """
    path = _as_path(ref)
    is_file = path.is_file() or ref.endswith(CHECKPOINT_SUFFIXES) or ref.startswith("pretrained:")
    return is_file or ("@" in ref and not (path / "run.json").is_file())


def resolve_data(ref: str, roots: Sequence[Path] = ROOTS) -> Path:
    """Return the dataset that `ref` names: a file, or a folder of files; of learning histories their histories.json.

    Args:
        ref: a run (see `resolve_run`) that made a dataset, `latest` being the newest of these; a file or a folder.
        roots: folders of runs and of sweeps.

    Raises:
        RunReferenceError: no dataset or several runs are meant; the message lists candidates.
    """
    path = _as_path(ref)
    if path.is_file():
        return path.resolve()
    if ref.endswith((".h5", ".hdf5")):
        raise RunReferenceError(f"There is no file {ref} (from {Path.cwd()}). {DATA_FORMS}")
    if path.is_dir() and not (path / "run.json").is_file():
        files, folder = _datasets(path), path.resolve()
        if not files:
            raise RunReferenceError(f"The folder {ref} holds no dataset: there is no *.h5 in it. {DATA_FORMS}")
    else:
        run = _newest(roots, "a dataset", _has_data) if ref == "latest" else _run_of_data(ref, roots)
        files, folder = _datasets(run / "data") or [*run.glob("data/histories/histories.json")], run / "data"
        if not files:
            raise RunReferenceError(f"Run {run.name} made no dataset. {_with_data(roots)}")
    return files[0].resolve() if len(files) == 1 else folder


def resolve_result(ref: str, roots: Sequence[Path] = ROOTS) -> Path:
    """Return the result.json of the run that `ref` names.

    Args:
        ref: a run (see `resolve_run`), or a result.json.
        roots: folders of runs and of sweeps.

    Raises:
        RunReferenceError: no run or several runs are meant, or the run has no result.
    """
    path = _as_path(ref)
    if path.is_file():
        return path.resolve()
    run = resolve_run(ref, roots)
    if not (run / "result.json").is_file():
        raise RunReferenceError(f"Run {run.name} left no result: it has not finished. Resume it, or name another run.")
    return run / "result.json"


def _datasets(folder: Path) -> list[Path]:
    """Return the datasets in a folder: the index of learning histories, whose files are no datasets each, or files."""
    index = folder / "histories.json"
    return [index] if index.is_file() else sorted(folder.glob("*.h5"))


def _as_path(ref: str) -> Path:
    """Return a reference as a path.

    Raises:
        RunReferenceError: it can be neither a path nor a name.
    """
    if len(ref) > MAX_LENGTH or visible(ref) != ref:
        start = f"{visible(ref[:60])}{' …' * (len(ref) > 60)}"
        raise RunReferenceError(f"`{start}` names no run: it is too long, or has characters that no name has. {FORMS}")
    try:
        path = Path(ref).expanduser()
        path.exists()
    except (RuntimeError, OSError) as error:  # of `~user`; a name that no file can have; a folder that cannot be read
        raise RunReferenceError(f"`{ref}`: {getattr(error, 'strerror', error)}. {FORMS}") from error
    return path


def _has_checkpoint(run: RunSummary) -> bool:
    return run.has_checkpoint


def _has_data(run: RunSummary) -> bool:
    return run.has_data


def _newest(roots: Sequence[Path], what: str, has: Callable[[RunSummary], bool]) -> Path:
    newest = [*islice(filter(has, known_runs(roots)), 1)]
    return _one("latest", newest, roots, f"with {what} ").dir.resolve()


def _run_of_data(ref: str, roots: Sequence[Path]) -> Path:
    try:
        return resolve_run(ref, roots)
    except RunReferenceError as error:
        name, at, which = ref.rpartition("@")
        if not at:
            raise
        raise RunReferenceError(f"`{ref}`: a dataset has no @{which}; write `{name}`. {DATA_FORMS}") from error


def _with_data(roots: Sequence[Path]) -> str:
    runs = [*islice(filter(_has_data, known_runs(roots)), 6)]
    if not runs:
        return "No run has: make one with `python launch.py stage=collect policy=<run> …`."
    return f"Runs that did:\n{_listing(runs, 5)}"


def _one(ref: str, runs: list[RunSummary], roots: Iterable[Path], kind: str = "") -> RunSummary:
    readable = [run for run in runs if run.status != Status.UNREADABLE]
    if not readable:
        places = ", ".join(str(root) for root in roots)
        raise RunReferenceError(
            f"`{ref}` names no run: there is no run {kind}under {places}. Start one first "
            "(python launch.py stage=train …), or name a policy by its file or as pretrained:<name>."
        )
    if ref == "latest":
        return readable[0]
    for matches in (
        [run for run in runs if run.id == ref],
        [run for run in runs if run.name == ref],
        [run for run in runs if ref and run.id.startswith(ref)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise RunReferenceError(
                f"`{ref}` names {len(matches)} runs; say which by its id or directory:\n{_listing(matches)}"
            )
    raise RunReferenceError(_not_found(ref, runs))


def _not_found(ref: str, runs: list[RunSummary]) -> str:
    near = set(suggest(ref, [run.id for run in runs] + [run.name for run in runs if run.name]))
    candidates = [run for run in runs if run.id in near or run.name in near]
    heading = "The nearest" if candidates else "The newest"
    return f"`{ref}` names no run. {heading}:\n{_listing(candidates or runs[:5])}\n{FORMS}"


def _checkpoint(folder: Path, which: str) -> Path:
    checkpoints = folder / "checkpoints"
    steps = sorted(int(path.stem.removeprefix("step_")) for path in checkpoints.glob("step_*.pt"))
    judged, by_return = checkpoints / BEST_JUDGED, checkpoints / "best.pt"
    names = {"best": judged if judged.exists() else by_return, "last": checkpoints / "last.pt"}
    names |= {"best_return": by_return} if judged.exists() or which == "best_return" else {}
    there = [name for name, path in names.items() if path.exists()]
    if not there and not steps:
        run = summary.read(os.path.relpath(folder))
        raise RunReferenceError(f"This run has no checkpoint yet:\n{_listing([run] if run else [])}\nName another run.")
    which = which or [*map(str, steps), *reversed(there)][-1]
    if which in there:
        return names[which]
    if re.fullmatch(r"\d+", which) and int(which) in steps:
        return checkpoints / f"step_{int(which):09d}.pt"
    epochs = {path.stem: path for path in sorted(checkpoints.glob("*_epoch.pt"))}
    if which in epochs:
        return epochs[which]
    offers = [f"@{name}" for name in (*there, *steps, *epochs)]
    raise RunReferenceError(f"Run {folder.name} has no checkpoint @{which}. It has {', '.join(offers)}.")


def _pretrained(name: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (path := folder / name / "policy.pt").is_file():
            return path
    known = [file.parent.name for folder in folders for file in folder.glob("*/policy.pt")]
    raise RunReferenceError(f"There is no policy `{name}` in {folders[-1]}. {did_you_mean(name, known)}")


def _listing(runs: list[RunSummary], most: int = 8) -> str:
    lines = [f"  {_describe(run)}" for run in runs[:most]]
    return "\n".join(lines + ([f"  … and {len(runs) - most} more"] if len(runs) > most else []))


def _describe(run: RunSummary) -> str:
    """Return one line to choose by: id, name, status, age, directory."""
    name = f" (name {run.name})" if run.name else ""
    began = duration(max(0.0, time.time() - run.began))
    return visible(f"{run.id}{name}: {run.status}, started {began} ago, {run.path}")
