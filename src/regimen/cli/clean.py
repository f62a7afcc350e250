"""`regimen clean`: list runs and files that can be removed, and remove them with `--yes`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regimen.cli.run_filters import choose_runs, filter_parser, join_sort_flag
from regimen.display import formatting
from regimen.display.formatting import duration
from regimen.runs import code_snapshot, lock
from regimen.runs.checkpoint_header import BEST_JUDGED
from regimen.runs.history import removal, retention
from regimen.runs.history.filters import SPAN, moment, parse
from regimen.runs.index.index import ROOTS, Index
from regimen.runs.index.summary import RunSummary, seconds
from regimen.runs.status import Status
from regimen.system.errors import ConfigError

"""Statuses of runs that are removed by default if they have neither a checkpoint nor a dataset."""

DOES = (
    "Show what could be freed, and free it with --yes. Without status= or id=: runs that failed, were killed or "
    "preempted, diverged or got lost, and left neither a checkpoint nor a dataset. Never removed: runs that are queued "
    "or running, tagged keep, or inputs of another run."
)


@dataclass(frozen=True)
class Reclaimable:
    """A run, or files of a run, that can be removed.

    Attributes:
        run: the run.
        bytes: size on disk in bytes.
        what: description.
        files: the files; empty for the whole run.
    """

    run: RunSummary
    bytes: int
    what: str
    files: tuple[Path, ...] = ()


def clean_verb(argv: list[str]) -> int:
    """List or remove runs that are not needed any more: `regimen clean status=failed --older 30d --yes`.

    Args:
        argv: the arguments after the verb.
    """
    parser = filter_parser("clean", DOES)
    parser.add_argument("--older", metavar="TIME", help="only runs that ended longer ago than this, such as 30d")
    parser.add_argument(
        "--checkpoints", action="store_true", help="free step_*.pt, all but @best and @last, of any run"
    )
    parser.add_argument("--yes", action="store_true", help="remove them")
    args = parser.parse_intermixed_args(join_sort_flag(argv))
    filters = parse(args.filters)
    chosen, everything = choose_runs(args.filters, args.sort)
    if args.older:
        chosen = _older(chosen, args.older)
    if args.checkpoints:
        items, spared = _checkpoints(chosen, everything)
    else:
        wanted = [condition for condition in filters if not condition.negated]
        named = any(condition.key in ("status", "id") for condition in wanted)
        asked = {value for condition in wanted if condition.key in ("sweep", "pipeline") for value in condition.values}
        broken = [run for run in chosen if run.status.is_failure and not run.has_checkpoint and not run.has_data]
        items, spared = _whole_runs(chosen if named else broken, everything, asked)
    return _free(items, spared) if args.yes else _show(items, spared)


def size(path: Path) -> int:
    """Return the size of a file or folder on disk in bytes; hard links count once."""
    files = [path] if path.is_file() else [Path(at, name) for at, _, names in os.walk(path) for name in names]
    size_by_inode: dict[int, int] = {}
    for file in files:
        try:
            found = file.lstat()
        except OSError:
            continue
        size_by_inode[found.st_ino] = found.st_blocks * 512
    return sum(size_by_inode.values())


def _older(runs: Sequence[RunSummary], span: str) -> list[RunSummary]:
    if not SPAN.fullmatch(span):
        raise ConfigError(f"--older {span}: expected a time span, such as 30d, 12h or 2w.")
    before = moment(span)
    return [run for run in runs if _ended(run) < before]


def _ended(run: RunSummary) -> float:
    """Return the time of the end of a run in seconds of the epoch; without a recorded one, of its last heartbeat."""
    return seconds(run.ended) or max(run.began, time.time() - lock.seconds_since_heartbeat(run.dir))


def _whole_runs(
    runs: Sequence[RunSummary], everything: Sequence[RunSummary], asked: set[str]
) -> tuple[list[Reclaimable], dict[str, str]]:
    """Return what can be removed, and id -> reason of the runs that must stay."""
    spared: dict[str, str] = {}
    plans = retention.planned(ROOTS, asked, everything)
    for run in runs:
        useful = run.status == Status.FINISHED or run.has_checkpoint
        why = retention.reason(run) or (plans.get(run.id) if useful else None)
        if why:
            spared[run.id] = why
    spared |= retention.needed_by([run for run in runs if run.id not in spared], everything)
    going = [run for run in runs if run.id not in spared]
    return [Reclaimable(run, size(run.dir), _what(run)) for run in going], spared


def _what(run: RunSummary) -> str:
    holds = [word for word, has in (("checkpoints", run.has_checkpoint), ("data", run.has_data)) if has]
    return f"{run.status}, with {' and '.join(holds)}" if holds else f"{run.status}, no checkpoint"


def _checkpoints(
    runs: Sequence[RunSummary], everything: Sequence[RunSummary]
) -> tuple[list[Reclaimable], dict[str, str]]:
    """Return the intermediate checkpoints without references, and id -> reason of the runs that must stay."""
    inputs = [entry for run in everything for entry in run.inputs.values()]
    used = {entry.path for entry in inputs}
    used |= {f"{entry.run or Path(entry.path).parent.parent.name}/{Path(entry.path).name}" for entry in inputs}
    used |= {reference for run in everything for reference in run.pending.values()}
    items, spared = [], {}
    for run in runs:
        files = tuple(file for file in _intermediate(run.dir) if not _is_used(file, used))
        why = retention.reason(run)
        if files and why:
            spared[run.id] = why
        elif files:
            items.append(Reclaimable(run, sum(map(size, files)), f"{len(files)} intermediate checkpoints", files))
    return items, spared


def _intermediate(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints of a run that are neither the best nor the last."""
    steps = sorted((folder / "checkpoints").glob("step_*.pt"))
    named = [folder / "checkpoints" / name for name in ("best.pt", BEST_JUDGED, "last.pt")]
    ends = [path for path in named if path.exists()]
    for step in steps if ends else steps[:-1]:
        if not any(step.samefile(end) for end in ends):
            yield step


def _is_used(file: Path, used: set[str]) -> bool:
    folder, step = file.parent.parent, int(file.stem.removeprefix("step_"))
    names = {str(file.resolve()), f"{folder.name}/{file.name}"}  # the second after a move of all runs
    names |= {f"{name}@{step}" for name in (folder.name, folder, folder.resolve())}
    return not names.isdisjoint(used)


def _leftovers() -> list[Path]:
    """Return partly removed runs and code snapshots."""
    return removal.leftovers([*ROOTS, code_snapshot.STORE])


def _unused_code() -> list[Path]:
    """Return the code snapshots without a run; one younger than a day may belong to a run that is being created."""
    needed = {run.code for run in Index(ROOTS).rows()}
    copies = [path for path in sorted(code_snapshot.STORE.glob("*")) if not path.name.startswith(removal.TRASH)]
    return [path for path in copies if path.stat().st_mtime < _yesterday() and str(path.resolve()) not in needed]


def _yesterday() -> float:
    return time.time() - 86400


def _show(items: Sequence[Reclaimable], spared: dict[str, str]) -> int:
    for item in items:
        free = f"would free {formatting.size(item.bytes):>8}"
        print(formatting.visible(f"{free}  {item.run.path}  {item.what}, {_age(item.run)} old"))
    _explain(spared)
    left = dict.fromkeys(_leftovers(), "left by an interrupted clean")
    left |= dict.fromkeys(_unused_code(), "code snapshot without a run")
    for path, what in left.items():
        print(formatting.visible(f"would free {formatting.size(size(path)):>8}  {path}  {what}"))
    if not items and not left:
        print("nothing to free")
        return 0
    total = sum(item.bytes for item in items) + sum(map(size, left))
    print(f"{_runs(items)}: {formatting.size(total)}. Nothing was removed; add --yes to remove it.")
    return 0


def _free(items: Sequence[Reclaimable], spared: dict[str, str]) -> int:
    stayed = removal.remove([item.run for item in items if not item.files], ROOTS)
    stayed |= {item.run.id: why for item in items if item.files and (why := removal.remove_files(item.run, item.files))}
    for path in _leftovers():
        removal.delete(path)
    for path in _unused_code():
        removal.delete_unused(path, _yesterday())
    freed = [item for item in items if item.run.id not in stayed]
    for item in freed:
        freed_ = f"freed {formatting.size(item.bytes):>8}"
        print(formatting.visible(f"{freed_}  {item.run.path}  {item.what}, {_age(item.run)} old"))
    _explain(spared | stayed)
    print(f"{_runs(freed)}: {formatting.size(sum(item.bytes for item in freed))} freed")
    return 0


def _explain(spared: dict[str, str]) -> None:
    for run, why in spared.items():
        print(formatting.visible(f"spared  {run}: {why}"))


def _age(run: RunSummary) -> str:
    return duration(time.time() - _ended(run), "compact")


def _runs(items: Sequence[Reclaimable]) -> str:
    return "1 run" if len(items) == 1 else f"{len(items)} runs"
