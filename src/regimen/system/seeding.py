"""Seeds of the global random generators of Python, numpy and torch."""

from __future__ import annotations

import random

from regimen.system.distributed import rank
from regimen.system.torch_import import when_loaded

RANK_SEED = 7_368_787
"""Distance between the seeds of two processes; larger than the number of envs of one."""


def seed_all(seed: int) -> None:
    """Seed the generators of Python, numpy and torch; torch, where it is not loaded yet, as soon as it is."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    when_loaded(lambda torch: torch.manual_seed(seed))


def own_seed(seed: int) -> int:
    """Return the seed of this process, which differs from those of the run's other processes."""
    return seed + RANK_SEED * rank()
