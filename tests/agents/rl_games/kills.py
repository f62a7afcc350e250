"""`PYTHONPATH=tests python tests/agents/rl_games/kills.py <agent> <rounds> <folder>`: trainings killed and resumed.

Each is killed by SIGKILL at random moments, and compared with an uninterrupted one.
Prints for each round the moments of its kills, and whether the run equals the uninterrupted one. Each process of a
training is forked from this one, which has loaded the libraries and nothing else.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from agents.rl_games.test_training import OWN, RING, final
from agents.test_skrl_ppo import assert_equal
from helpers.rl_games_parts import PPO, SAC, changed, rl_games_config
from helpers.trainings import new_run, train
from regimen.config.schema import Config
from regimen.runs.run import Run

AGENTS = {
    "ppo": rl_games_config(changed(PPO, max_epochs=15)),
    "sac": rl_games_config(changed(SAC, max_epochs=60), interval=8),
    "ring": rl_games_config(changed(OWN, max_epochs=15), **RING),
}


def start(run: Run, config: Config) -> int:
    """Return the process that trains `run`, or resumes it."""
    process = os.fork()
    if process == 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        code = 1
        try:
            train(Run(run.dir), config)
            code = 0
        finally:
            os._exit(code)
    return process


def finished(process: int) -> bool:
    """Wait for the end of a process; return whether it was a good one."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def main() -> None:
    name, rounds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    config, rng = AGENTS[name], random.Random(0)
    whole = new_run(folder, config)
    started = time.monotonic()
    assert finished(start(whole, config))
    life_s = time.monotonic() - started
    expected = final(whole)
    for _ in range(rounds):
        run, kills = new_run(folder, config), list[float]()
        while not (run.checkpoints / "last.pt").exists() or len(kills) < 2:
            process = start(run, config)
            after_s = rng.uniform(0.1, 0.8) * life_s
            time.sleep(after_s)
            os.kill(process, signal.SIGKILL)
            finished(process)
            kills.append(round(after_s, 3))
        assert finished(start(run, config))
        outcome: dict[str, Any] = {"kills": kills, "equal": True}
        try:
            assert_equal(expected, final(run))
        except AssertionError as error:
            outcome |= {"equal": False, "difference": str(error)}
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
