"""Seeds of the global random generators of Python, numpy and torch."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from regimen.system.distributed import rank

RANK_SEED = 7_368_787
"""Distance between the seeds of two processes; larger than the number of envs of one."""


def seed_all(seed: int) -> None:
    """Seed the generators of Python, numpy and torch; torch, where it is not loaded yet, as soon as it is."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    else:
        sys.meta_path.insert(0, _TorchSeeder(seed))


def own_seed(seed: int) -> int:
    """Return the seed of this process, which differs from those of the run's other processes."""
    return seed + RANK_SEED * rank()


class _TorchSeeder(MetaPathFinder):
    """Seeds torch at the end of its import: a stage that does not use torch does not wait for it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def load_and_seed(module: ModuleType) -> None:
                load(module)
                module.manual_seed(self.seed)

            spec.loader.exec_module = load_and_seed  # type: ignore[method-assign]
        return spec
