"""Metrics in Weights & Biases, online or to be uploaded later by `wandb sync`.

The file of an offline run is scanned here: the steps that it holds must not be logged twice, `wandb` offers no public
reader of it, and a kill may have cut its last block short.
"""

from __future__ import annotations

import importlib
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regimen.runs.loggers.logger import Row
    from regimen.runs.run import Run

MODES = ("online", "offline")
BLOCK = 32768
"""Bytes of a block of W&B's file, which is LevelDB's log format."""


@dataclass
class WandbRunCfg:
    """One W&B run for each run, with the same id, also after a resume.

    Attributes:
        project: W&B project.
        entity: user or team; null for your default.
        mode: `online` (needs `wandb login`), or `offline`: files in the run directory, for `wandb sync`.
    """

    _target_: str = "regimen.runs.loggers.wandb_run.WandbRun"
    project: str = "regimen"
    entity: str | None = None
    mode: str = "online"

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with the settings, and whether W&B is missing."""
        from regimen.runs.loggers.logger import not_installed

        lines = not_installed(config, "wandb", "wandb")
        if self.mode not in MODES:
            lines.append(f"mode={self.mode}: expected {' or '.join(MODES)}.")
        return lines


class WandbRun:
    """Configuration, tags, metrics by step, and the headline as summary."""

    def __init__(self, cfg: WandbRunCfg, run: Run) -> None:
        """Args: cfg: where to; run: what is logged."""
        self._cfg, self._run = cfg, run
        self.id = re.sub(r"[^\w\-.]", "_", run.id)
        self._held = -1  # last step that W&B has

    def open(self) -> None:
        """Connect, without ever asking; continue the W&B run of an earlier attempt."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        from regimen.runs.loggers.logger import about

        wandb: Any = importlib.import_module("wandb")

        facts = about(self._run)
        if self._cfg.mode == "offline":
            self._held = max((s for f in self._run.dir.glob("wandb/*/*.wandb") for s in stored_steps(f)), default=-1)
        self._wandb = wandb.init(
            project=self._cfg.project,
            entity=self._cfg.entity,
            mode=self._cfg.mode,
            id=self.id,
            resume="allow",
            name=facts.get("name") or self._run.id,
            group=facts.get("sweep"),
            job_type=facts.get("stage"),
            tags=[*(facts[k] for k in ("task", "agent") if k in facts), *self._run.record.tags],
            config={**self._run.config, "run": facts},
            dir=str(self._run.dir),
            settings=wandb.Settings(console="off", silent=True, init_timeout=30.0, login_timeout=10.0),
        )
        if self._cfg.mode == "online" and self._wandb.resumed:
            self._held = self._wandb.step - 1

    def rewind(self, step: int | None) -> None:
        """W&B takes steps in order only: what it has stays, and is not sent again."""

    def write(self, rows: list[Row]) -> None:
        """Send what W&B does not have yet."""
        from regimen.runs.loggers.logger import values

        for row in rows:
            if row["step"] > self._held:
                self._wandb.log(values(row), step=row["step"])

    def close(self, status: str, headline: dict[str, float]) -> None:
        """Add headline and status, and wait until all is uploaded or on disk."""
        self._wandb.summary.update({f"headline/{name}": value for name, value in headline.items()})
        self._wandb.summary["status"] = status
        self._wandb.finish(exit_code=0 if status == "finished" else 1)


def stored_steps(path: Path) -> list[int]:
    """Return the steps in a `.wandb` file, which a kill may have cut short: its last block may not be there.

    Args:
        path: `run-<id>.wandb` of an offline run.
    """
    proto: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    steps = []
    for data in _records(path.read_bytes()):
        entry = proto.Record.FromString(data)
        if entry.HasField("history"):
            steps.append(entry.history.step.num)
    return steps


def _records(data: bytes) -> Iterator[bytes]:
    """Yield the whole records: after 7 bytes of file header, fragments of checksum, length, kind and content."""
    position, begun = 7, b""
    while True:
        left = BLOCK - position % BLOCK
        position += left if left < 7 else 0
        if position + 7 > len(data):
            return
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += 7
        if position + length > len(data):
            return
        begun = (b"" if kind in (1, 2) else begun) + data[position : position + length]  # 1 whole, 2 first
        position += length
        if kind in (1, 4):  # 4 last
            yield begun
