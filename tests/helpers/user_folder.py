"""A user's own folder beside the project: options, a stage without torch, and terms."""

from __future__ import annotations

from pathlib import Path

STAGE = """
from __future__ import annotations
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from regimen.system.file_kinds import HDF5

@dataclass
class ActCfg:
    _target_: str = "lab_stage.Act"
    fail_seeds: list[int] | None = None
    sleep_s: float = 0.0
    company: int = 1
    until: str | None = None

@dataclass
class IdleCfg:
    _target_: str = "lab_stage.Idle"

class Idle: ...

class Act:
    # Works for `sleep_s`, and until `company` runs of its folder have begun and the file `until` is there.
    def __init__(self, cfg):
        self.cfg = cfg

    def __call__(self, run, config):
        (run.dir / "began").write_text(str(time.time()))
        end = time.time() + self.cfg.sleep_s
        while time.time() < end or not self.may_end(run):
            run.check_stop(0, lambda: None)
            time.sleep(0.02)
        if config.seed in (self.cfg.fail_seeds or []):
            raise ValueError(f"seed {config.seed} is unlucky")
        (run.dir / "ended").write_text(str(time.time()))
        run.finish({"score": float(config.seed)}, {})

    def may_end(self, run):
        there = self.cfg.until is None or Path(self.cfg.until).exists()
        return there and len(list(run.dir.parent.glob("*/began"))) >= self.cfg.company

@dataclass
class MakeCfg:
    _target_: str = "lab_stage.Make"
    steps: int = 1
    step_s: float = 0.0
    until: str | None = None
    broken: str | None = None
    data: bool = False

class Make:
    # Counts to `steps`, saving each, and works until the file `until` is there; leaves a policy, or a dataset, that
    # says what it was made from.
    def __init__(self, cfg):
        self.cfg = cfg

    def __call__(self, run, config):
        last = run.dir / "checkpoints/last.pt"
        last.parent.mkdir(exist_ok=True)
        read = [Path(path).read_bytes().removeprefix(HDF5).decode() for path in [config.policy, *config.data] if path]
        for step in range(int(last.read_text() or 0) if last.exists() else 0, self.cfg.steps):
            run.check_stop(step, lambda: None)
            time.sleep(self.cfg.step_s)
            last.write_text(str(step + 1))
            run.progress(iteration=step + 1, iterations=self.cfg.steps)
        while self.cfg.until and not Path(self.cfg.until).exists():
            run.check_stop(self.cfg.steps, lambda: None)
            time.sleep(0.02)
        if self.cfg.broken and Path(self.cfg.broken).exists():
            raise ValueError("the gripper is upside down")
        made = run.dir / ("data/made.h5" if self.cfg.data else "checkpoints/best.pt")
        made.parent.mkdir(exist_ok=True)
        text = f"{self.cfg.steps} steps, seed {config.seed}, from {read}"
        made.write_bytes((HDF5 if self.cfg.data else b"") + text.encode())
        run.artifact(made, "dataset" if self.cfg.data else "checkpoint")
        run.finish({"score": float(config.seed)}, {"read": read})

@dataclass
class LookCfg:
    TAKES: ClassVar[tuple[str, ...]] = ("policy",)
    _target_: str = "lab_stage.Look"

class Look(Act):
    def __init__(self, cfg):
        self.cfg = ActCfg()
"""

TERMS = """
def leaning(env, limit: float, axis: str = "x"):
    return env.leaning

class Gust:
    def __init__(self, env, env_ids, force: float): ...
"""


def make_lab(folder: Path) -> Path:
    """Write the folder; return its folder of options."""
    conf = folder / "conf"
    (folder / "lab_stage.py").write_text(STAGE)
    (folder / "lab_terms.py").write_text(TERMS)
    write(conf / "stage/act.yaml", "# Acts\n_target_: lab_stage.Act\n")
    write(conf / "stage/make.yaml", "# Makes a policy or a dataset\n_target_: lab_stage.Make\n")
    write(conf / "stage/look.yaml", "# Takes a policy and no data\n_target_: lab_stage.Look\n")
    for group in ("task", "sim", "agent"):
        header = "# @package env\n" if group == "task" else ""
        write(conf / group / "idle.yaml", f"{header}# Does nothing, and needs no torch\n_target_: lab_stage.Idle\n")
    write(
        conf / "task/lean.yaml",
        "# @package env\n# Reach while leaning\ndefaults: [reach, _self_]\n"
        "rewards:\n  leaning: {func: 'lab_terms:leaning', weight: -1.0, params: {limit: 0.5}}\n",
    )
    return conf


def write(file: Path, text: str) -> Path:
    """Write a file and its folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file
