"""A stage that ends in every way a worker can, without torch or a simulator."""

from __future__ import annotations

import atexit
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from regimen.runs.run import Run
from regimen.system.errors import CheckpointError, DivergedError, IOMismatchError, SaveError


@dataclass
class NothingCfg:
    """Configures an env, sim or agent that is never opened."""

    _target_: str = "helpers.stages_for_tests.Nothing"


class Nothing:
    """Stands for an env, sim or agent; the stage below opens none."""


@dataclass
class ActCfg:
    """What to do.

    Attributes:
        act: name of a method of `Act`.
    """

    _target_: str = "helpers.stages_for_tests.Act"
    act: str = "finish"


class Act:
    """Does one thing and ends."""

    def __init__(self, cfg: ActCfg) -> None:
        self.cfg = cfg

    def __call__(self, run: Run, config: Any) -> None:
        getattr(self, self.cfg.act)(run)

    def finish(self, run: Run) -> None:
        print("working")
        figure = run.dir / "figure.txt"
        figure.write_text("a picture")
        run.artifact(figure, "figure")
        run.finish({"return": 12.5}, {"torch": "torch" in sys.modules, "threads": os.environ["OMP_NUM_THREADS"]})

    def judge_in_vain(self, run: Run) -> None:
        """End as a training whose evaluation failed."""
        run.finish({"return": 1.0}, {"evaluation": {"stopped": None, "problem": "the evaluation in mars failed: dust"}})

    def flood(self, run: Run) -> None:
        """Print 200 MB in lines and 200 MB in one line."""
        part = b"x" * 2**20
        for k in range(200):
            os.write(1, (b"line %d " % k) + part + b"\n")
        for _ in range(200):
            os.write(1, part)
        run.finish({}, {})

    def draw(self, run: Run) -> None:
        """Draw from each global generator, and from the order of a set."""
        import random

        import numpy as np
        import torch

        order = float(sum(place * ord(name) for place, name in enumerate({"a", "b", "c", "d", "e", "f"})))
        drawn = {"torch": torch.rand(()).item(), "numpy": float(np.random.rand()), "python": random.random()}
        run.finish({"order": order, **drawn}, {})

    def fail(self, run: Run) -> None:
        raise ValueError("the gripper is upside down")

    def bad_input(self, run: Run) -> None:
        raise IOMismatchError("The policy does not fit this environment:\n  joint knee: only the policy has it")

    def refuse_checkpoint(self, run: Run) -> None:
        raise CheckpointError("this env has a hidden state")

    def save_in_vain(self, run: Run) -> None:
        """End as a training whose next checkpoint finds the disk full."""
        raise SaveError("no space left on /: free some") from OSError(errno.ENOSPC, "No space left on device")

    def exit_0(self, run: Run) -> None:
        sys.exit(0)

    def hard_exit_0(self, run: Run) -> None:
        os._exit(0)

    def segfault(self, run: Run) -> None:
        ctypes.string_at(0)

    def take_memory(self, run: Run) -> None:
        """Take up to 1 GiB, a bit at a time."""
        taken = []
        for _ in range(64):
            taken.append(bytearray(os.urandom(1) * 2**24))
            time.sleep(0.005)

    def kill_itself(self, run: Run) -> None:
        ballast = bytearray(80_000_000)
        ballast[::4096] = b"x" * len(ballast[::4096])
        os.kill(os.getpid(), signal.SIGKILL)

    def diverge(self, run: Run) -> None:
        raise DivergedError("skrl_ppo: tensor `net.0.weight` has 3 of 9 values that are not finite.")

    def loop(self, run: Run) -> None:
        """Work for long; every step can be saved. Continues where a checkpoint says."""
        saved = run.checkpoints / "last.pt"
        first = int(saved.read_text()) + 1 if saved.exists() else 0
        run.checkpoints.mkdir(exist_ok=True)
        for step in range(first, first + 100_000):
            run.progress(iteration=step, note=f"pid {os.getpid()}")
            time.sleep(0.02)
            run.check_stop(step, lambda now=step: saved.write_text(str(now)))
        run.finish({}, {})

    def save_slowly(self, run: Run) -> None:
        """Work until a signal comes; saving takes until somebody writes `enough`, and leaves a file worth keeping."""

        def save() -> None:
            while not (run.dir / "enough").exists():
                time.sleep(0.02)
            (run.dir / "saved.txt").write_text("all of it")
            run.artifact(run.dir / "saved.txt", "checkpoint")

        for step in range(100_000):
            run.progress(iteration=step, note=f"pid {os.getpid()}")
            time.sleep(0.02)
            run.check_stop(step, save)

    def finish_and_crash(self, run: Run) -> None:
        run.finish({"return": 1.0}, {})
        ctypes.string_at(0)

    def stop_and_crash(self, run: Run) -> None:
        """Work until a signal comes, save, and crash while the process exits."""
        atexit.register(lambda: ctypes.string_at(0))
        self.loop(run)

    def diverge_and_crash(self, run: Run) -> None:
        atexit.register(lambda: ctypes.string_at(0))
        self.diverge(run)

    def ignore_signals(self, run: Run) -> None:
        run.progress(note="deaf")
        time.sleep(600)

    def leave_child(self, run: Run) -> None:
        child = subprocess.Popen(["sleep", "600"])
        run.finish({}, {"child": child.pid})

    def fill_disk(self, run: Run) -> None:
        with (run.dir / "big").open("wb") as file:
            while True:
                file.write(b"x" * 65536)

    def share(self, run: Run) -> None:
        """Add up the numbers of all workers."""
        import torch
        from torch import distributed

        total = torch.tensor(float(distributed.get_rank() + 1))
        distributed.all_reduce(total)
        run.log(0, {"total": float(total)})
        open_to_others = [*_listening(os.getpid()), *_listening(os.getppid())]
        run.finish({"total": float(total)}, {"workers": distributed.get_world_size(), "open": open_to_others})

    def share_until_stopped(self, run: Run) -> None:
        """Step together until one of the workers is asked to stop; say where each was."""
        import torch
        from torch import distributed

        for step in range(100_000):
            distributed.all_reduce(torch.ones(1))
            run.progress(note=f"pid {os.getpid()}")
            (run.dir / f"rank{distributed.get_rank()}").write_text(str(step))
            run.check_stop(step, lambda: None)

    def fail_apart(self, run: Run) -> None:
        """Fail in the second worker, while the first waits for it."""
        import torch
        from torch import distributed

        if distributed.get_rank() == 1:
            raise ValueError("the second worker tripped")
        distributed.all_reduce(torch.ones(1))

    def lose_one(self, run: Run) -> None:
        """Kill the second worker, while the first waits for it."""
        import torch
        from torch import distributed

        if distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.all_reduce(torch.ones(1))


def _listening(pid: int) -> list[str]:
    """Return the addresses beyond loopback at which a process waits for connections."""
    import psutil

    ports = psutil.Process(pid).net_connections("inet")
    return [
        str(port.laddr.ip) for port in ports if port.status == "LISTEN" and port.laddr.ip not in ("127.0.0.1", "::1")
    ]
