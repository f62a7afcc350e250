"""Demonstrations as HIL-SERL pickles them: a list of transitions, each a deep copy."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

STATES, ACTIONS, SIZE = 5, 3, (16, 24, 3)


def transitions(
    lengths: Iterable[int],
    success: bool = True,
    size: tuple[int, int, int] | None = SIZE,
    seed: int = 0,
    states: int = STATES,
    actions: int = ACTIONS,
) -> Iterator[dict[str, Any]]:
    """Yield the transitions of episodes; those without success end with reward 0, as time-outs do."""
    rng = np.random.default_rng(seed)

    def observe() -> dict[str, np.ndarray]:
        obs = {"state": rng.normal(size=(1, states)).astype(np.float32)}
        return obs if size is None else obs | {"wrist_1": rng.integers(0, 256, (1, *size), dtype=np.uint8)}

    for length in lengths:
        obs = observe()
        for step in range(length):
            following, last = observe(), step == length - 1
            yield {
                "observations": {name: value.copy() for name, value in obs.items()},
                "actions": rng.uniform(-1, 1, actions).astype(np.float32),
                "next_observations": {name: value.copy() for name, value in following.items()},
                "rewards": float(last and success),
                "masks": 1.0 - last,
                "dones": last,
                "infos": {"succeed": last and success},
            }
            obs = following


def save(path: Path, items: Iterable[Any], protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(list(items), protocol))
    return path
