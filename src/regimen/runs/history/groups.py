"""Groups of runs that differ only in their seed, labelled by the settings that distinguish them."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.runs import inputs
from regimen.runs.history.run_view import RunView, open_view_dir, settings
from regimen.runs.record import read_record
from regimen.runs.record_parts import InputEntry
from regimen.runs.signature import HARDWARE_OF_ACTORS, INPUT_KEYS, IRRELEVANT, RELEVANT_HARDWARE

SECTIONS = {"task": "env", "sim": "sim", "agent": "agent", "stage": "stage"}
"""Choice -> the part of the configuration that it fills."""

ALONGSIDE = "stage.evaluation."
"""Beginning of the keys of the evaluation alongside a training."""

NOT_CHOICES = ("hardware", "experiment")
ONLY_GROUP = "all"

ORIGIN = re.compile(
    rf"(?:(?:{'|'.join(inputs.SINGLE)}|(?:{'|'.join(inputs.LISTS)})\.\d+|{re.escape(inputs.LOW_LEVEL)})\.)*"
)
"""Beginning of a key: names of inputs, which lead to the run whose setting it is."""


def grouped(runs: Sequence[RunView], by_file: bool = True) -> dict[str, list[RunView]]:
    """Return label -> runs that have the same settings apart from the seed, in the order in which they are first met.

    Args:
        runs: of one task.
        by_file: whether runs with different files of one run, such as two checkpoints, are in different groups.
    """
    makers = _Makers()
    known = [_deciding(run, makers) for run in runs]
    if by_file:
        _add_files(known)
    every = dict.fromkeys(key for row in known for key in row.values)
    keys = [key for key in every if len({row.text(key) for row in known}) > 1]
    told = [key for key in keys if _differs_itself(key, known) and not _follows(key, known)]
    names = _short_names(told)
    groups: dict[tuple[str, ...], list[RunView]] = {}
    labels: dict[tuple[str, ...], str] = {}
    for run, row in zip(runs, known, strict=True):
        values = tuple(row.text(key) for key in keys)
        groups.setdefault(values, []).append(run)
        labels[values] = " ".join(f"{names[key]}={row.text(key)}" for key in told) or ONLY_GROUP
    return {labels[values]: members for values, members in groups.items()}


def same_seeds(runs: Sequence[RunView]) -> list[Any]:
    """Return the seeds that occur more than once, those of all runs that the inputs come from included."""
    seeds, makers = [], _Makers()
    for run in runs:
        first_met = (use.maker for use in _uses(run, makers) if use.maker is not None and use.same_as is None)
        seeds.append((run.record.seed, *(maker.record.seed for maker in first_met)))
    return [seed[0] if len(seed) == 1 else seed for seed, count in Counter(seeds).items() if count > 1]


@dataclass
class _Row:
    """What decides what a run learns or measures.

    Attributes:
        values: dotted key -> value, without the seed; of the run that made an input under the name of the input.
        origins: names of the inputs whose makers' settings are in `values`, each ending with a dot.
        files: name of an input -> directory of its maker, name and checksum of the file.
    """

    values: dict[str, Any]
    origins: set[str] = field(default_factory=lambda: {""})
    files: dict[str, tuple[Path, str, str | None]] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """Return a value in a label."""
        value = self.values.get(key)
        return "null" if value is None else str(value).replace(" ", "")


@dataclass
class _Use:
    """A file that a run, or a run before it, read.

    Attributes:
        name: of the input, after the names that lead to the run that read it: `policy.data.0`.
        entry: the file.
        maker: the run that made it; None for a file of no run.
        same_as: name under which the maker was met before; None at the first time.
    """

    name: str
    entry: InputEntry
    maker: RunView | None
    same_as: str | None


class _Makers:
    """Runs in whose directories files lie, each read once."""

    def __init__(self) -> None:
        self._by_folder: dict[Path, RunView | None] = {}
        self._decisions: dict[Path, dict[str, Any]] = {}

    def of(self, path: Path) -> RunView | None:
        """Return the run in whose directory a file lies, as far as its record can be read."""
        if path.parent not in self._by_folder:
            folder = next((folder for folder in path.parents if read_record(folder) is not None), None)
            self._by_folder[path.parent] = None if folder is None else open_view_dir(folder)
        return self._by_folder[path.parent]

    def decisions(self, run: RunView) -> dict[str, Any]:
        """Return the settings of a run that decide; none where its configuration cannot be read."""
        if run.dir not in self._decisions:
            kept = {key: value for key, value in settings(run).items() if _decides(key)} if run.config else {}
            self._decisions[run.dir] = kept
        return self._decisions[run.dir]


def _uses(run: RunView, makers: _Makers) -> Iterator[_Use]:
    """Yield the files that a run read, then those that their makers read, and so on; each maker is followed once."""
    met, waiting = {run.dir: ""}, deque([("", run)])
    while waiting:
        before, reader = waiting.popleft()
        for name, entry in reader.inputs.items():
            use = _Use(f"{before}{name}", entry, makers.of(Path(entry.path)), None)
            if use.maker is not None:
                use.same_as = met.get(use.maker.dir)
                if use.same_as is None:
                    met[use.maker.dir] = use.name
                    waiting.append((f"{use.name}.", use.maker))
            yield use


def _deciding(run: RunView, makers: _Makers) -> _Row:
    """Return what decides what a run learns or measures.

    A policy or dataset stands for the settings of the run that made it, and of all runs before: the policies of three
    seeds are one kind.
    """
    row = _Row(dict(makers.decisions(run)))
    for use in _uses(run, makers):
        path = Path(use.entry.path)
        decisions = makers.decisions(use.maker) if use.maker is not None else {}
        if use.maker is None or not decisions:
            row.values[use.name] = f"{path.name} ({str(use.entry.sha256)[:8]})"
            continue
        row.files[use.name] = (use.maker.dir, path.name, use.entry.sha256)
        row.values[use.name] = use.same_as if use.same_as is not None else decisions.get("stage")
        if use.same_as is None:
            row.origins.add(f"{use.name}.")
            row.values |= {f"{use.name}.{key}": value for key, value in decisions.items() if key != "stage"}
    return row


def _add_files(known: Sequence[_Row]) -> None:
    """Add the names of the files of an input where several files of one run occur under it, such as two checkpoints."""
    contents: dict[tuple[str, Path], set[str | None]] = {}
    versions: dict[tuple[str, Path, str], set[str | None]] = {}
    for row in known:
        for name, (folder, file, checksum) in row.files.items():
            contents.setdefault((name, folder), set()).add(checksum)
            versions.setdefault((name, folder, file), set()).add(checksum)
    several = {name for (name, _), checksums in contents.items() if len(checksums) > 1}
    for row in known:
        for name, (folder, file, checksum) in row.files.items():
            if name in several:
                is_one = len(versions[name, folder, file]) == 1  # else best.pt was replaced in between
                row.values[f"{name}.file"] = file if is_one else f"{file} ({str(checksum)[:8]})"


def _decides(key: str) -> bool:
    first, _, rest = key.partition(".")
    if first == "hardware":  # of which the threads change the last bits only
        return rest in (*RELEVANT_HARDWARE, *HARDWARE_OF_ACTORS) and rest != "threads"
    if key.startswith(ALONGSIDE):  # which changes no training, unless it ends one
        return key.removeprefix(ALONGSIDE) in ("patience", "stop_at")
    return first not in ("seed", *IRRELEVANT, *INPUT_KEYS, *NOT_CHOICES)


def _origin(key: str) -> str:
    """Return the names of inputs at the beginning of a key, with the dot; empty for a setting of the run itself."""
    found = ORIGIN.match(key)
    return found.group() if found else ""


def _differs_itself(key: str, known: Sequence[_Row]) -> bool:
    """Return whether a setting differs among the runs that have the input it belongs to; else the input says it all."""
    return len({row.text(key) for row in known if _origin(key) in row.origins}) > 1


def _follows(key: str, known: Sequence[_Row]) -> bool:
    """Return whether a setting differs only because another option was chosen, which then says it all."""
    origin = _origin(key)
    section, _, rest = key.removeprefix(origin).partition(".")
    choice = next((c for c, part in SECTIONS.items() if part == section), None)
    if choice is None or not rest:
        return False
    chosen = origin.rstrip(".") if origin and choice == "stage" else f"{origin}{choice}"
    by_choice: dict[str, set[str]] = {}
    for row in known:
        if origin in row.origins:
            by_choice.setdefault(row.text(chosen), set()).add(row.text(key))
    return len(by_choice) > 1 and all(len(values) == 1 for values in by_choice.values())


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return key -> its shortest ending that no other key has."""
    names = {}
    for key in keys:
        words = key.split(".")
        endings = [".".join(words[-n:]) for n in range(1, len(words) + 1)]
        others = [f".{other}" for other in keys if other != key]
        names[key] = next((e for e in endings if not any(o.endswith(f".{e}") for o in others)), key)
    return names
