"""The NaN dump of a run: the steps before a value that is not finite, as arrays in one .npz file.

The file holds arrays and one JSON text and is read without running code. T steps, K envs:

* `step` (T,), and by name `observation` (T, K, d), `action` (T, K, A), `state/<field>` (T, K, ...) at the beginning of
  each step, `reward`, `terminated`, `truncated` (T, K) at its end;
* `after/<name>`: what is known after the failing step, (K, ...): state, observations of every group, reward; images are
  (K, H, W, C) uint8;
* `head`: JSON with message, env ids, step, step time, names of joints, actions and observation terms, task and run.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regimen.system import files
from regimen.system.errors import RunReferenceError

FORMAT = 1
MOST_ENVS = 16
"""Envs in a dump at most: the first of those that diverged."""

AFTER = "after/"


@dataclass
class NanDump:
    """Content of a NaN dump.

    Attributes:
        head: see the module.
        arrays: see the module.
    """

    head: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def write(self, path: Path, run: str) -> None:
        """Write the file `path` of the run with the id `run`; it appears complete or not at all."""
        head = json.dumps({"format": FORMAT, **self.head, "run": run, "config": "config.yaml"})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, head=np.array(head), **self.arrays)  # type: ignore[arg-type]  # numpy's own stub
        files.write_atomic(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> NanDump:
        """Read a file.

        Raises:
            RunReferenceError: it is damaged, or of another version.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
            head = json.loads(str(arrays.pop("head")[()]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise RunReferenceError(f"{path} is no NaN dump, or damaged: {error}.") from error
        if head.get("format") != FORMAT:
            raise RunReferenceError(
                f"{path} has format {head.get('format')}, this version reads {FORMAT}. Replay it with the version that "
                "wrote it: `regimen show` names it."
            )
        return cls(head, arrays)
