"""The stage of the Slurm tests: counts, saves what it counted, continues there; written into a user's folder."""

SOURCE = """
from __future__ import annotations
import json, os, time
from dataclasses import dataclass

@dataclass
class CountCfg:
    _target_: str = "counting.Count"
    steps: int = 10
    step_s: float = 0.05
    fail_at: int | None = None
    save_s: float = 0.0
    stuck: bool = False
    restarts: int = 0
    word: str = "first"

class Count:
    def __init__(self, cfg):
        self.cfg = cfg

    def __call__(self, run, config):
        cfg, saved = self.cfg, run.checkpoints / "last.pt"
        counted = json.loads(saved.read_text()) if saved.exists() else []
        run.checkpoints.mkdir(exist_ok=True)

        def save():
            time.sleep(cfg.save_s)
            part = saved.with_name(".part")
            part.write_text(json.dumps(counted))
            part.replace(saved)

        while len(counted) < cfg.steps or int(os.environ.get("SLURM_RESTART_COUNT", 0)) < cfg.restarts:
            if cfg.fail_at == len(counted):
                raise ValueError(f"cannot count to {cfg.fail_at}")
            time.sleep(cfg.step_s)
            counted += [] if cfg.stuck else [len(counted)]
            run.progress(iteration=len(counted), iterations=cfg.steps, note=f"pid {os.getpid()}")
            run.check_stop(len(counted), save)
        run.finish({"counted": float(len(counted))}, {"whole": counted == list(range(len(counted))), "word": cfg.word})
"""

STAGE = "# Counts\n_target_: counting.Count\n"

TOGETHER = '''
from __future__ import annotations
import os, time
from dataclasses import dataclass
from typing import ClassVar

@dataclass
class TogetherCfg:
    DISTRIBUTED: ClassVar[bool] = True
    _target_: str = "together.Together"
    steps: int = 10
    restarts: int = 0

class Together:
    """All workers add up their numbers, step by step, and stop at the same one."""

    def __init__(self, cfg):
        self.cfg = cfg

    def __call__(self, run, config):
        import torch
        from torch import distributed

        saved = run.checkpoints / "last.pt"
        rank, first = distributed.get_rank(), int(saved.read_text()) if saved.exists() else 0
        run.checkpoints.mkdir(exist_ok=True)
        (run.dir / f"host{rank}").write_text(os.uname().nodename)
        total = torch.tensor(0.0)
        step = first
        while step < self.cfg.steps or int(os.environ.get("SLURM_RESTART_COUNT", 0)) < self.cfg.restarts:
            total = torch.tensor(float(rank + 1))
            distributed.all_reduce(total)
            time.sleep(0.05)
            run.progress(iteration=step, note=f"pid {os.getpid()}")
            run.check_stop(step, lambda: self.save(run, rank, saved, step))
            step += 1
        run.finish({"total": float(total)}, {"workers": distributed.get_world_size(), "first": first})

    def save(self, run, rank, saved, step):
        (run.dir / f"stopped{rank}").write_text(str(step))
        if rank == 0:
            saved.write_text(str(step))
'''

TOGETHER_STAGE = "# Counts together\n_target_: together.Together\n"
