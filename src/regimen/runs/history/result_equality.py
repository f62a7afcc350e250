"""Bitwise comparison of the results of two runs: final checkpoint, logged metrics, result and datasets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from regimen.runs.history.run_view import RunView
from regimen.runs.judgements import FILE
from regimen.system import files, json_lines
from regimen.system.errors import CheckpointError

TIMED = ("run", "time_s", "wall_s", "samples_per_s", "first_step_at", "first_step_cpu_s", "ref", "path")
"""Keys of what differs between equal runs: identity, place and clock."""

TIMED_METRIC = re.compile(r"Perf/.*|.* time \((s|ms)\)")
"""Metrics of speed and time, which differ between equal runs."""

MOST = 12


def differences(a: RunView, b: RunView) -> list[str]:
    """Return what differs between the results of two runs; empty if they are equal.

    Args:
        a: the first run.
        b: the second run, of the same configuration.
    """
    found = [*_checkpoints(a, b), *_metrics(a, b), *_judgements(a, b), *_results(a, b), *_datasets(a, b)]
    return found if len(found) <= MOST else [*found[:MOST], f"… and {len(found) - MOST} more"]


def _checkpoints(a: RunView, b: RunView) -> Iterator[str]:
    paths = [run.dir / "checkpoints" / "last.pt" for run in (a, b)]
    there = [path.exists() for path in paths]
    if there[0] != there[1]:
        yield f"checkpoints/last.pt: {'only the first' if there[0] else 'only the second'} run has one"
    elif all(there):
        from regimen.runs import checkpoint

        try:
            old, new = (checkpoint.load(path) for path in paths)
        except CheckpointError as error:
            yield str(error)
        else:
            yield from (f"checkpoints/last.pt: {line}" for line in unequal(old, new))


def _metrics(a: RunView, b: RunView) -> Iterator[str]:
    """Yield for each metric the first step at which it differs, and the row from which the logged steps do."""
    both = (json_lines.rows(run.dir / "metrics.jsonl") for run in (a, b))
    said: set[str] = set()
    for number, (old, new) in enumerate(zip_longest(*both)):
        steps = [None if row is None else row.get("step") for row in (old, new)]
        if old is None or new is None or steps[0] != steps[1]:
            shown = ["no more" if step is None else f"step {step}" for step in steps]
            yield f"metrics.jsonl: the logged steps differ: row {number + 1} is {shown[0]} and {shown[1]}"
            return
        for line in unequal(old, new):
            name = line.partition(":")[0]
            if name not in said:
                said.add(name)
                yield f"metrics.jsonl: {line} at step {steps[0]}, where it differs first"


def _judgements(a: RunView, b: RunView) -> Iterator[str]:
    """Yield what differs between the evaluations alongside the trainings."""
    old, new = (
        {f"step {row.step} in {row.sim}": files.plain(row.figures) for row in run.judgements()} for run in (a, b)
    )
    yield from (f"{FILE}: {line}" for line in unequal(old, new))


def _results(a: RunView, b: RunView) -> Iterator[str]:
    old, new = (files.read_json(run.dir / "result.json") or {} for run in (a, b))
    yield from (f"result.json: {line}" for line in unequal(old, new))


def _datasets(a: RunView, b: RunView) -> Iterator[str]:
    kinds = ("dataset", "table")
    old, new = ({row.path: row.sha256 for row in run.record.artifacts if row.kind in kinds} for run in (a, b))
    yield from (f"{path}: its content differs" for path in sorted({*old, *new}) if old.get(path) != new.get(path))


def unequal(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Yield where two nested values differ; not-a-number equals itself.

    Args:
        a: dicts, lists, tensors and plain values.
        b: likewise.
        where: dotted key of both.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            if key not in TIMED and not TIMED_METRIC.fullmatch(str(key)):
                place = f"{where}.{key}" if where else str(key)
                if (key in a) != (key in b):
                    yield f"{place}: only the {'first' if key in a else 'second'} run has it"
                else:
                    yield from unequal(a[key], b[key], place)
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from unequal(x, y, f"{where}.{index}")
    elif hasattr(a, "shape") and hasattr(b, "shape"):
        yield from _unequal_tensors(a, b, where)
    elif type(a) is not type(b) or (a != b and not (a != a and b != b)):
        yield f"{where}: {_short(a)} and {_short(b)}"


def _unequal_tensors(a: Any, b: Any, where: str) -> Iterator[str]:
    import torch

    if a.shape != b.shape or a.dtype != b.dtype:
        yield f"{where}: {tuple(a.shape)} {a.dtype} and {tuple(b.shape)} {b.dtype}"
    elif not torch.equal(_bits(a), _bits(b)):
        number = int((_bits(a) != _bits(b)).sum())
        largest = float((a.double() - b.double()).abs().max())
        yield f"{where}: {number} of {a.numel()} values differ, by at most {largest:.3g}"


def _bits(tensor: Any) -> Any:
    """Return a tensor as integers where it holds floats, so that equal means the same bits."""
    import torch

    kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.cpu().view(kinds[tensor.element_size()]) if tensor.is_floating_point() else tensor.cpu()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
