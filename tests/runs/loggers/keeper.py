"""Loggers that fail, hang or keep what they are given; chosen by `_target_` like any other."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

HANGS_S = 600.0


@dataclass
class KeeperCfg:
    """Args: fails: the method that raises; `hangs`: the one that never returns."""

    _target_: str = "runs.loggers.keeper.Keeper"
    fails: str = ""
    hangs: str = ""


class Keeper:
    """Appends each call to kept.jsonl in the run directory."""

    def __init__(self, cfg, run):
        self.cfg, self.path = cfg, run.dir / "kept.jsonl"

    def open(self):
        self._keep("open")

    def rewind(self, step):
        self._keep("rewind", step)

    def write(self, rows):
        self._keep("write", [row["step"] for row in rows])

    def close(self, status, headline):
        self._keep("close", status, headline)

    def _keep(self, verb, *said):
        if verb == self.cfg.fails:
            raise RuntimeError(f"no {verb} today")
        if verb == self.cfg.hangs:
            time.sleep(HANGS_S)
        with self.path.open("a") as file:
            file.write(json.dumps([verb, *said]) + "\n")
