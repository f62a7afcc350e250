"""Run references: how a run or a policy is named as an input, turned into exactly one path or a clear error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from regimen import facts, record
from regimen.errors import ReferenceError_, did_you_mean, suggest

ROOTS = (Path("outputs"), Path("multirun"))
"""Where runs are looked for: directly below, and one folder deeper for the jobs of a sweep."""

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"

FORMS = (
    "A run is named by its id, a unique beginning of it, its name, `latest` or its directory; a policy also by "
    "<run>@best, <run>@last, <run>@<step>, pretrained:<name> or a file."
)


@dataclass(frozen=True)
class KnownRun:
    """What a reference needs to know of a run: identity, state and age.

    A run whose record says `running`, while nothing works on it, is `lost`: it can be resumed.
    """

    id: str
    name: str | None
    status: str
    started: str
    dir: Path

    @property
    def has_checkpoint(self) -> bool:
        """Whether a policy can be taken from it."""
        return any((self.dir / "checkpoints").glob("*.pt"))

    def describe(self) -> str:
        """Return one line to choose by: id, name, status, age, directory."""
        name = f" (name {self.name})" if self.name else ""
        return f"{self.id}{name}: {self.status}, started {_age(self.started)}, {self.dir}"


def known_runs(roots: Sequence[Path] = ROOTS) -> list[KnownRun]:
    """Return all runs under `roots`, newest first.

    Args:
        roots: folders of runs and of sweeps.
    """
    found = [_read(path.parent) for root in roots for depth in ("*", "*/*") for path in root.glob(f"{depth}/run.json")]
    runs = [run for run in found if run is not None]
    return sorted(runs, key=lambda run: (_time(run.started), run.id), reverse=True)


def resolve_run(ref: str, roots: Sequence[Path] = ROOTS) -> Path:
    """Return the directory of the run that `ref` names.

    Args:
        ref: id, unique beginning of an id, name, `latest`, or a directory.
        roots: folders of runs and of sweeps.

    Raises:
        ReferenceError_: no run or several runs are meant; the message lists candidates.
    """
    folder = Path(ref).expanduser()
    if (folder / "run.json").is_file():
        return folder.resolve()
    return _one(ref, known_runs(roots), roots).dir.resolve()


def resolve_policy(ref: str, roots: Sequence[Path] = ROOTS, pretrained: Path = PRETRAINED) -> Path:
    """Return the checkpoint file that `ref` names.

    Args:
        ref: a run (see `resolve_run`), optionally with `@best`, `@last` or `@<step>` (default: best if there is
            one, else last); a file; or `pretrained:<name>`.
        roots: folders of runs and of sweeps.
        pretrained: folder of the policies that come with the repository.

    Raises:
        ReferenceError_: no checkpoint or several runs are meant; the message lists candidates.
    """
    if ref.startswith("pretrained:"):
        return _pretrained(ref.removeprefix("pretrained:"), pretrained)
    if Path(ref).expanduser().is_file():
        return Path(ref).expanduser().resolve()
    if ref.endswith((".pt", ".pth")):
        raise ReferenceError_(f"There is no file {ref} (from {Path.cwd()}). {FORMS}")
    name, at, which = ref.rpartition("@")
    if not at or (Path(ref).expanduser() / "run.json").is_file():
        name, which = ref, ""
    if name == "latest":
        runs = [run for run in known_runs(roots) if run.has_checkpoint]
        folder = _one(name, runs, roots, "with a checkpoint ").dir.resolve()
    else:
        folder = resolve_run(name, roots)
    return _checkpoint(folder, which)


def _one(ref: str, runs: list[KnownRun], roots: Iterable[Path], kind: str = "") -> KnownRun:
    if not runs:
        places = ", ".join(str(root) for root in roots)
        raise ReferenceError_(
            f"`{ref}` names no run: there is no run {kind}under {places}. Start one first "
            "(python launch.py stage=train …), or name a policy by its file or as pretrained:<name>."
        )
    if ref == "latest":
        return runs[0]
    for matches in (
        [run for run in runs if run.id == ref],
        [run for run in runs if run.name == ref],
        [run for run in runs if ref and run.id.startswith(ref)],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ReferenceError_(
                f"`{ref}` names {len(matches)} runs; say which by its id or directory:\n{_listing(matches)}"
            )
    raise ReferenceError_(_not_found(ref, runs))


def _not_found(ref: str, runs: list[KnownRun]) -> str:
    near = set(suggest(ref, [run.id for run in runs] + [run.name for run in runs if run.name]))
    candidates = [run for run in runs if run.id in near or run.name in near]
    heading = "The nearest" if candidates else "The newest"
    return f"`{ref}` names no run. {heading}:\n{_listing(candidates or runs[:5])}\n{FORMS}"


def _checkpoint(folder: Path, which: str) -> Path:
    checkpoints = folder / "checkpoints"
    steps = sorted(int(path.stem.removeprefix("step_")) for path in checkpoints.glob("step_*.pt"))
    names = {"best": checkpoints / "best.pt", "last": checkpoints / "last.pt"}
    there = [name for name, path in names.items() if path.exists()]
    if not there and not steps:
        run = _read(folder)
        raise ReferenceError_(f"This run has no checkpoint yet:\n{_listing([run] if run else [])}\nName another run.")
    which = which or [*map(str, steps), *reversed(there)][-1]
    if which in there:
        return names[which]
    if re.fullmatch(r"\d+", which) and int(which) in steps:
        return checkpoints / f"step_{int(which):09d}.pt"
    offers = [f"@{name}" for name in (*there, *steps)]
    raise ReferenceError_(f"Run {folder.name} has no checkpoint @{which}. It has {', '.join(offers)}.")


def _pretrained(name: str, folder: Path) -> Path:
    path = folder / name / "policy.pt"
    if path.is_file():
        return path
    known = [file.parent.name for file in folder.glob("*/policy.pt")]
    raise ReferenceError_(f"There is no policy `{name}` in {folder}. {did_you_mean(name, known)}")


def _read(folder: Path) -> KnownRun | None:
    data = record.read_json(folder / "run.json")
    if data is None:
        return None
    status = str(data.get("status"))
    if status == "running" and facts.is_alive(data.get("supervisor")) is False:
        status = "lost"
    return KnownRun(folder.name, data.get("name"), status, str(data.get("started")), folder)


def _listing(runs: list[KnownRun], most: int = 8) -> str:
    lines = [f"  {run.describe()}" for run in runs[:most]]
    return "\n".join(lines + ([f"  … and {len(runs) - most} more"] if len(runs) > most else []))


def _time(started: str) -> float:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return 0.0


def _age(started: str) -> str:
    seconds = datetime.now().timestamp() - _time(started)
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
