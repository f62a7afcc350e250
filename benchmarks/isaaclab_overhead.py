"""A task of Isaac Lab under Regimen against Isaac Lab's own loop, in the Python that `make isaaclab` makes.

`.venv-isaaclab/bin/python benchmarks/isaaclab_overhead.py`

Isaac Lab's loop is that of its `random_agent`: `env.step(action)`, without the observation at the end of an episode
that Regimen also takes. Regimen's has all that a training has: that observation, logs, metrics, labels, and the check
for values that are not finite. How it is measured: `library_overhead`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from library_overhead import REGIMEN, Step, main

from regimen.envs.isaaclab.library import ISAAC_LAB


def loops(env: Any) -> dict[str, Step]:
    """Return Regimen's step and Isaac Lab's."""
    inner = env.env.inner

    def full(action: torch.Tensor) -> torch.Tensor:
        inner.cfg.compute_final_obs = True
        _, _, terminated, truncated, _ = env.step(action)
        ended: torch.Tensor = terminated | truncated
        return ended

    def bare(action: torch.Tensor) -> torch.Tensor:
        inner.cfg.compute_final_obs = False
        _, _, terminated, truncated, _ = inner.step(action)
        ended: torch.Tensor = terminated | truncated
        return ended

    return {REGIMEN: full, "Isaac Lab's loop": bare}


if __name__ == "__main__":
    main(Path(__file__).stem, ISAAC_LAB, "Isaac-Velocity-Flat-H1", loops)
