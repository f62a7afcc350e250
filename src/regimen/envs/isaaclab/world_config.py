"""Configuration of `sim=isaaclab`, checked before the simulator starts; nothing here imports Isaac Lab or torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

CONES = ("pyramidal", "elliptic")
INTEGRATORS = ("implicitfast", "euler")


@dataclass
class IsaacLabWorldCfg:
    """Isaac Lab's scene without Kit, its physics computed by Newton with the solver MuJoCo Warp.

    Attributes:
        dt: physics step in seconds.
        device: of the physics and of all tensors, `cpu` or `cuda`.
        substeps: steps of the solver in a physics step.
        iterations: largest number of iterations of the solver in one of its steps.
        ls_iterations: largest number of those of its line search.
        tolerance: residual at which the solver stops.
        integrator: `implicitfast` or `euler`.
        cone: friction cone, `pyramidal` or `elliptic`.
        render_size: width and height of an image in pixels.
    """

    TORQUES: ClassVar[bool] = True
    TERRAIN: ClassVar[bool] = True
    DETERMINISM: ClassVar[dict[str, str]] = {"cpu": "bit"}
    GROUND_BYTES: ClassVar[int] = 500  # Newton makes a mesh with a tree of boxes of it, for rays
    _target_: str = "regimen.envs.isaaclab.world.IsaacLabWorld"
    dt: float = field(default=0.005, metadata={"above": 0})
    device: str = "cpu"
    substeps: int = 1
    iterations: int = 100
    ls_iterations: int = 50
    tolerance: float = 1e-6
    integrator: str = "implicitfast"
    cone: str = "pyramidal"
    render_size: tuple[int, int] = field(default=(640, 480), metadata={"least": 16, "most": 8192})

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each value that is wrong, and for what the interpreter lacks."""
        from regimen.envs.foreign import installed
        from regimen.envs.isaaclab.library import ISAAC_LAB
        from regimen.system.host import interpreter

        return [*self._values(), *installed.problems(ISAAC_LAB, interpreter(config))]

    def _values(self) -> Iterator[str]:
        from regimen.config.task_schema import at_least_one
        from regimen.system.errors import did_you_mean

        yield from at_least_one(substeps=self.substeps, iterations=self.iterations, ls_iterations=self.ls_iterations)
        if not self.tolerance > 0:
            yield f"tolerance={self.tolerance}: expected a number more than 0."
        for name, known in (("integrator", INTEGRATORS), ("cone", CONES)):
            value = getattr(self, name)
            if value not in known:
                yield f"{name}={value}: expected {' or '.join(known)}. {did_you_mean(value, known)}"

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the imports and of the scene.

        Peaks of workers that trained by rsl_rl's PPO, from `benchmarks/memory_estimate.py`, with 16 and 256 Go2s, and
        256 and 1024 H1s on a CPU: 1.30 to 1.44 GiB.
        """
        return num_envs * 118_000 + 905 * 2**20
