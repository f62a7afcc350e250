"""A task of mjlab under Regimen against mjlab's own loop, in the Python that `make mjlab` makes.

`.venv-mjlab/bin/python benchmarks/mjlab_overhead.py --actions 0`

mjlab's loop is that of its training: the wrapper for rsl_rl around the environment, which resets the envs that ended
within the step and so has no observation at the end of their episodes. With that observation, mjlab is stepped as its
documentation says: `auto_reset=False`, and a reset of the envs that ended, which computes the scene a second time.
Regimen's step has that observation, logs, metrics, labels, and the check for values that are not finite. How it is
measured: `library_overhead`. `--actions 0` keeps the robot on its feet, so that only time-outs end episodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from library_overhead import REGIMEN, Step, main

from regimen.envs.mjlab.library import MJLAB


def loops(env: Any) -> dict[str, Step]:
    """Return Regimen's step and mjlab's, without and with the observation at the end of an episode."""
    from mjlab.rl import RslRlVecEnvWrapper

    inner = env.env.inner
    wrapped = RslRlVecEnvWrapper(inner)

    def full(action: torch.Tensor) -> torch.Tensor:
        inner.cfg.auto_reset = False
        _, _, terminated, truncated, _ = env.step(action)
        ended: torch.Tensor = terminated | truncated
        return ended

    def bare(action: torch.Tensor) -> torch.Tensor:
        inner.cfg.auto_reset = True
        ended: torch.Tensor = wrapped.step(action)[2]
        return ended

    def with_terminal(action: torch.Tensor) -> torch.Tensor:
        inner.cfg.auto_reset = False
        ended: torch.Tensor = wrapped.step(action)[2]
        if bool(ended.any()):
            inner.reset(env_ids=ended.nonzero().flatten())
        return ended

    return {REGIMEN: full, "mjlab's loop": bare, "mjlab with final observations": with_terminal}


if __name__ == "__main__":
    main(Path(__file__).stem, MJLAB, "Mjlab-Velocity-Flat-Unitree-Go1", loops)
