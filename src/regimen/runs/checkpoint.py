"""Checkpoints: one file of tensors and plain values, written whole or not at all, loaded without running code."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import torch

from regimen.runs import checkpoint_header
from regimen.runs.checkpoint_header import BEST_JUDGED, StateDict
from regimen.runs.run import Run
from regimen.system.errors import CheckpointError, SaveError
from regimen.system.file_kinds import ZIP, this_is
from regimen.system.files import is_no_space, no_space_message, open_own

FORMAT = 1
PLAIN_TYPES = (str, bytes, bool, int, float, type(None), torch.Tensor)


def save(path: Path, bundle: Mapping[str, Any]) -> None:
    """Write a checkpoint; a failed attempt leaves an earlier file at `path` as it was.

    Args:
        path: file to write.
        bundle: nested dicts, lists and tuples of tensors and plain values.

    Raises:
        SaveError: no space left, or a value that could not be loaded again safely.
    """
    _require_plain(bundle, "bundle")
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    sink = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_own(tmp, "wb") as file:
            sink = _Sink(file)
            torch.save(bundle, cast(IO[bytes], sink))
            sink.finish()
            os.fsync(file.fileno())
        tmp.replace(path)
    except OSError as error:
        if not is_no_space(error):
            raise
        with suppress(OSError):
            tmp.unlink(missing_ok=True)
        needed = sink.bytes if sink else None
        raise SaveError(
            f"{no_space_message(path.parent, needed)} for {path.name}. Free some space, then resume: the "
            "checkpoints saved before are whole."
        ) from error
    finally:
        with suppress(OSError):
            tmp.unlink(missing_ok=True)


def load(path: Path, device: str | torch.device = "cpu") -> StateDict:
    """Read a checkpoint written by `save`.

    Args:
        path: the file.
        device: where its tensors go.

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours; the message says what to do.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}. {_others(path)}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: the checksum of {damaged} is wrong. {_others(path)}")
        bundle = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects, so this launcher did not write it. {_others(path)}"
        ) from error
    except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
        kind = this_is(path, ZIP)
        raise CheckpointError(f"{path} is cut short or is not a checkpoint. {kind}{_others(path)}") from error
    checkpoint_header.require_regimen_checkpoint(path, bundle)
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        found = f"format {bundle['format']}" if isinstance(bundle, dict) and "format" in bundle else "no format number"
        raise CheckpointError(
            f"{path} was not written by this version: expected format {FORMAT}, found {found}. {_others(path)}"
        )
    require_weights(path, bundle.get("policy"), lambda tensor: ~tensor.isnan(), "policy")
    return bundle


def require_weights(path: Path, state: Any, usable: Callable[[torch.Tensor], torch.Tensor], where: str) -> None:
    """Raise unless each value of the weights is usable.

    Args:
        path: of the checkpoint, for the message.
        state: tensors, nested in dicts and lists.
        usable: returns a mask of the usable values of a tensor, such as `torch.isfinite`.
        where: dotted key of `state`.

    Raises:
        CheckpointError: naming the first tensor with another value.
    """
    if isinstance(state, dict | list | tuple):
        for key, item in state.items() if isinstance(state, dict) else enumerate(state):
            require_weights(path, item, usable, f"{where}.{key}")
    elif isinstance(state, torch.Tensor) and state.is_floating_point() and not (mask := usable(state)).all():
        bad = int((~mask).sum())
        raise CheckpointError(
            f"{path} holds no usable policy: {bad} of {state.numel()} values of `{where}` are NaN or infinite. Its "
            f"training diverged; take an earlier checkpoint. {_others(path)}"
        )


class Checkpoints:
    """The checkpoints of a run: `step_*.pt` every so often, `last.pt`, and `best.pt` by a metric."""

    def __init__(self, run: Run, interval: int, keep: int = 3) -> None:
        """Read the existing checkpoints of the run, so that a resumed run continues their schedule.

        Args:
            run: the run.
            interval: steps between two checkpoints.
            keep: how many of the newest `step_*.pt` stay; the targets of `last`, `best` and `best_judged` always do.
        """
        self.folder = run.checkpoints
        self._run = run
        self._interval = interval
        self._keep = keep
        if run.leads:
            for cut in self.folder.glob(".*.tmp"):  # what a killed attempt was writing
                cut.unlink(missing_ok=True)
        last = newest(self.folder)
        self._saved = 0 if last is None else step_of(last)
        self._best: float | None = load(self.best).get("metric") if self.best.exists() else None

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest metric."""
        return self.folder / "best.pt"

    @property
    def saved(self) -> int:
        """Step of the newest checkpoint, 0 before the first; the same in all workers."""
        return self._saved

    def steps(self) -> list[Path]:
        """Return the `step_*.pt` files, oldest first."""
        return sorted(self.folder.glob("step_*.pt"))

    def due(self, step: int) -> bool:
        """Return whether a multiple of the interval has been passed since the last save; independent of stops.

        Args:
            step: environment steps per env so far.
        """
        return step // self._interval > self._saved // self._interval

    def save(
        self, step: int, bundle: Mapping[str, Any], metric: float | None = None, links: Sequence[Path] = ()
    ) -> Path:
        """Write the checkpoint of `step`, point `last` (and `best`) to it, remove old ones; return its path.

        Args:
            step: environment steps per env so far.
            bundle: see `save`; `format`, `run`, `step` and `metric` are added.
            metric: higher is better; None (or not a number) never becomes the best.
            links: further names of the file, which exist before `last` leads to it.
        """
        path = self.folder / f"step_{step:09d}.pt"
        if not self._run.leads:  # the first worker writes; all count alike
            self._saved = step
            return path
        save(path, {**bundle, "format": FORMAT, "run": self._run.id, "step": step, "metric": metric})
        for link in links:
            point(link, path)
        if metric is not None and metric == metric and (self._best is None or metric > self._best):
            point(self.best, path)
            self._best = float(metric)
            self._run.artifact(self.best, "checkpoint")
        point(self.last, path)  # after `best`: work cut off in between continues from before and finds it again
        self._saved = step
        self._run.artifact(self.last, "checkpoint")
        self._prune()
        return path

    def _prune(self) -> None:
        targets = [t for t in (self.last, self.best, self.folder / BEST_JUDGED) if t.exists()]
        for path in self.steps()[: -self._keep]:
            if not any(_same(path, target) for target in targets):
                path.unlink()


def saved_part(run: Run, name: str) -> Any:
    """Return a part of the run's last checkpoint; None for a run without one.

    Args:
        run: the run.
        name: key of the part, such as `collect`.
    """
    last = run.checkpoints / "last.pt"
    return load(last)[name] if last.exists() else None


def step_of(path: Path) -> int:
    """Return the step in the name of a `step_*.pt` file."""
    return int(path.stem.removeprefix("step_"))


def rng_state() -> StateDict:
    """Return the states of the global generators of torch, numpy and Python, fit for a checkpoint.

    Those of all visible GPUs are among them: a run may compute on another than torch's current one.
    """
    twister: StateDict = np.random.get_state(legacy=False)
    version, words, gauss_next = random.getstate()
    state: StateDict = {
        "torch": torch.get_rng_state(),
        "numpy": {**twister, "state": {**twister["state"], "key": twister["state"]["key"].tolist()}},
        "python": [version, list(words), gauss_next],
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: StateDict) -> None:
    """Restore `rng_state`; the generators then continue the same sequence. GPUs that are not visible now are left out.

    Args:
        state: from `rng_state`, possibly through a checkpoint.
    """
    torch.set_rng_state(state["torch"].cpu())
    np.random.set_state({**state["numpy"], "state": {**state["numpy"]["state"], "key": _words(state["numpy"])}})
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        for device, generator in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(generator.cpu(), device)


@contextmanager
def unchanged_rng() -> Iterator[None]:
    """Restore on exit the global generators of torch, numpy and Python, which a library seeds or draws from."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def _words(twister: StateDict) -> np.ndarray:
    return np.array(twister["state"]["key"], dtype=np.uint32)


class _Sink:
    """Output file of `torch.save` that keeps the first disk error and counts the bytes of the whole checkpoint."""

    def __init__(self, file: IO[bytes]) -> None:
        self.bytes = 0
        self._file = file
        self._error: OSError | None = None

    def write(self, data: bytes) -> int:
        size = memoryview(data).nbytes
        self.bytes += size
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self._error = error
        return size

    def flush(self) -> None:
        """Nothing to do: `finish` flushes."""

    def finish(self) -> None:
        """Flush, and raise the first error of the disk."""
        if self._error is not None:
            raise self._error
        self._file.flush()


def newest(folder: Path) -> Path | None:
    """Return the `step_*.pt` that `last.pt` of a folder of checkpoints leads to; None where there is none."""
    last = folder / "last.pt"
    return next((path for path in sorted(folder.glob("step_*.pt"), reverse=True) if _same(path, last)), None)


def point(link: Path, target: Path) -> None:
    """Make `link` the same file as `target`, atomically; a copy where the file system has no hard links."""
    tmp = link.with_name(f".{link.name}.tmp")
    tmp.unlink(missing_ok=True)
    try:
        try:
            os.link(target, tmp)
        except OSError:
            shutil.copy2(target, tmp)
        tmp.replace(link)
    finally:
        tmp.unlink(missing_ok=True)


def _same(path: Path, other: Path) -> bool:
    """Whether both names lead to the same file, or, where hard links are missing, to files written as copies."""
    try:
        mine, its = path.stat(), other.stat()
    except FileNotFoundError:  # a process beside a training may look at a checkpoint that is being removed
        return False
    return os.path.samestat(mine, its) or (mine.st_size, mine.st_mtime_ns) == (its.st_size, its.st_mtime_ns)


def _require_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _require_plain(item, f"{where}[{index}]")
    elif not isinstance(value, PLAIN_TYPES) or type(value).__module__ == "numpy":
        raise SaveError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}. A checkpoint holds tensors, numbers, "
            "text, lists and dicts only: convert it (torch.from_numpy, float, .tolist(), dataclasses.asdict)."
        )


def _others(path: Path) -> str:
    """Return which checkpoints stand beside `path`, to choose another."""
    names = sorted(p.name for p in path.parent.glob("*.pt") if p != path) if path.parent.is_dir() else []
    if not names:
        return "No other checkpoint stands beside it; train again, or name another run."
    return f"Others beside it: {', '.join(names)}; name one by its path or as <run>@<step>."
