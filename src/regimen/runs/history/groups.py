"""Groups of runs that differ only in their seed, labelled by the settings that distinguish them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regimen.runs.history.run_view import RunView, open_view_dir, settings
from regimen.runs.record import read_record
from regimen.runs.signature import HARDWARE_OF_ACTORS, INPUT_KEYS, IRRELEVANT, RELEVANT_HARDWARE

SECTIONS = {"task": "env", "sim": "sim", "agent": "agent", "stage": "stage"}
"""Choice -> the part of the configuration that it fills."""

ALONGSIDE = "stage.evaluation."
"""Beginning of the keys of the evaluation alongside a training."""

NOT_CHOICES = ("hardware", "experiment")
ONLY_GROUP = "all"


def grouped(runs: Sequence[RunView]) -> dict[str, list[RunView]]:
    """Return label -> runs that have the same settings apart from the seed, in the order in which they are first met.

    Args:
        runs: of one task.
    """
    known = [deciding(run) for run in runs]
    every = dict.fromkeys(key for row in known for key in row)
    keys = [key for key in every if len({_text(row, key) for row in known}) > 1]
    told = [key for key in keys if not _follows(key, known)]
    names = _short_names(told)
    groups: dict[tuple[str, ...], list[RunView]] = {}
    labels: dict[tuple[str, ...], str] = {}
    for run, row in zip(runs, known, strict=True):
        values = tuple(_text(row, key) for key in keys)
        groups.setdefault(values, []).append(run)
        labels[values] = " ".join(f"{names[key]}={_text(row, key)}" for key in told) or ONLY_GROUP
    return {labels[values]: members for values, members in groups.items()}


def deciding(run: RunView) -> dict[str, Any]:
    """Return dotted key -> value of all that decides what a run learns or measures, without the seed.

    A policy or dataset stands for the settings of the run that made it: the policies of three seeds are one kind.
    """
    own = {key: value for key, value in settings(run).items() if _decides(key)}
    for name, taken in run.inputs.items():
        maker = _maker(Path(taken.path))
        if maker is None:
            own[name] = f"{Path(taken.path).name} ({str(taken.sha256)[:8]})"
        else:
            rows = {key: value for key, value in settings(maker).items() if _decides(key)}
            own |= {f"{name}.{key}": value for key, value in rows.items() if key != "stage"}
    return own


def same_seeds(runs: Sequence[RunView]) -> list[Any]:
    """Return the seeds that occur more than once, those of the runs that made the inputs included."""
    seeds = []
    for run in runs:
        makers = [_maker(Path(taken.path)) for taken in run.inputs.values()]
        seeds.append((run.record.seed, *(maker.record.seed for maker in makers if maker)))
    return [seed[0] if len(seed) == 1 else seed for seed, count in Counter(seeds).items() if count > 1]


def _decides(key: str) -> bool:
    first, _, rest = key.partition(".")
    if first == "hardware":  # of which the threads change the last bits only
        return rest in (*RELEVANT_HARDWARE, *HARDWARE_OF_ACTORS) and rest != "threads"
    if key.startswith(ALONGSIDE):  # which changes no training, unless it ends one
        return key.removeprefix(ALONGSIDE) in ("patience", "stop_at")
    return first not in ("seed", *IRRELEVANT, *INPUT_KEYS, *NOT_CHOICES)


def _follows(key: str, known: Sequence[dict[str, Any]]) -> bool:
    """Return whether a setting differs only because another option was chosen, which then says it all."""
    *inputs, section = key.split(".")[: 2 if key.split(".")[0] in INPUT_KEYS else 1]
    choice = next((c for c, part in SECTIONS.items() if part == section), None)
    if choice is None or key.endswith(f".{choice}") or key == choice:
        return False
    chosen = ".".join([*inputs, choice])
    by_choice: dict[str, set[str]] = {}
    for row in known:
        by_choice.setdefault(_text(row, chosen), set()).add(_text(row, key))
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


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    return "null" if value is None else str(value).replace(" ", "")


def _maker(path: Path) -> RunView | None:
    """Return the run in whose directory a file lies, as far as its record and configuration can be read."""
    folder = next((folder for folder in path.parents if read_record(folder) is not None), None)
    run = open_view_dir(folder) if folder is not None else None
    return run if run is not None and run.config else None
