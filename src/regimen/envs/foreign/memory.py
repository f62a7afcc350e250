"""Memory of the tasks of a library, estimated before the start from the configuration of the task.

The sizes are fitted to the peaks of workers that trained for one iteration of rsl_rl's PPO on a CPU with compiled
kernels, from `benchmarks/memory_estimate.py`: docs/measured.md has tasks and numbers of environments. Most of a peak
does not depend on the environments: imports, scene, kernels, and the mesh of generated terrain while it is built.
Simulators other than Newton and MuJoCo Warp, and a GPU, were not measured.
"""

from __future__ import annotations

from typing import Any

from regimen.config.yaml_io import PlainSection
from regimen.envs.foreign.catalogue import TaskDescription

GENERATOR = "scene.terrain.terrain_generator"


def of_task(described: TaskDescription, settings: PlainSection, num_envs: int, on_gpu: bool) -> int:
    """Return the estimated bytes of a task on the CPU.

    Args:
        described: the task.
        settings: values of its configuration by the user, such as `env.isaac`; wrong ones count as not set.
        num_envs: N.
        on_gpu: whether the arrays of the solver are in the memory of a GPU, which is not estimated.
    """
    sizes = described.library.memory
    rows = 0.0 if on_gpu else _number(described.value(sizes.rows, settings), sizes.usual_rows)
    ground = sizes.ground * _terrain_area(described, settings)
    return sizes.base + int(ground + num_envs * (sizes.env + sizes.row * rows))


def _terrain_area(described: TaskDescription, settings: PlainSection) -> float:
    """Return the area of a generated terrain in m², 0 where the ground is a plane."""
    if described.value("scene.terrain.terrain_type", settings) != "generator":
        return 0.0
    size = described.value(f"{GENERATOR}.size", settings)
    if not isinstance(size, list) or len(size) != 2:
        return 0.0
    counts = [described.value(f"{GENERATOR}.{name}", settings) for name in ("num_rows", "num_cols")]
    rows, columns, length, width = (_number(value, 0) for value in (*counts, *size))
    return rows * columns * length * width


def _number(value: Any, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) else otherwise
