"""Small datasets of learning histories made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.histories.reader import HistoryIndex
from regimen.data.histories.writer import HistoryWriter
from regimen.envs.vec_env import ActionSpec, IOSpec

IO = IOSpec({"policy": {"position": 3}}, ActionSpec(["x", "y"], [1.0] * 2, [0.0] * 2, 1.0), 0.1)


def about(**changes: Any) -> dict[str, Any]:
    """Return what a dataset says of itself."""
    known = {"task_name": "made", "group": "made", "action_type": "continuous", "reward_scale": 1.0}
    known |= {"episode_sparsity": 1, "io": IO.to_dict(), "mode": "noise", "random_score": 0.0, "expert_score": 1.0}
    return known | {"parents": [], "seed": 0} | changes


def rows(num_envs: int, steps: int, length: int = 7, seed: int = 0) -> dict[str, np.ndarray]:
    """Return random columns (T, N, …) with episodes of `length` steps."""
    rng = np.random.default_rng(seed)
    shape = (steps, num_envs)
    step = np.broadcast_to(np.arange(steps, dtype=np.int32)[:, None] % length, shape)
    return {
        "proprio_observation": rng.normal(size=(*shape, 3)).astype(np.float32),
        "action": rng.normal(size=(*shape, 2)).astype(np.float32),
        "reward": rng.normal(size=shape).astype(np.float32),
        "step_num": step.copy(),
        "epsilon": np.linspace(1, 0, steps, dtype=np.float32)[:, None].repeat(num_envs, 1),
        "terminated": np.zeros(shape, bool),
        "truncated": step == length - 1,
    }


def made(returns: list[np.ndarray], length: int) -> dict[str, np.ndarray]:
    """Return columns of histories whose episodes have these returns, (E,) for each, paid evenly over `length` steps."""
    table = rows(len(returns), len(returns[0]) * length, length)
    table["reward"] = np.stack([np.repeat(values / length, length) for values in returns], 1).astype(np.float32)
    return table


def write(folder: Path, table: dict[str, np.ndarray], rows_of: np.ndarray | None = None, **changes: Any) -> Path:
    """Write columns as a dataset; return the path of its histories.json."""
    width, actions = table["proprio_observation"].shape[2], table["action"].shape[2]
    writer = HistoryWriter(folder, table["reward"].shape[1], width, actions, "epsilon")
    for row in range(len(table["reward"])):
        writer.add({name: value[row] for name, value in table.items()})
    return writer.finish(HistoryIndex.from_dict(about(**changes)), rows_of)
