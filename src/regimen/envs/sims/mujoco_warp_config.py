"""Settings of `sim=mujoco_warp`, and what is missing to start it; nothing here imports Warp."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

INSTALL = "needs the package mujoco-warp, which {python} does not have. Type: make mujoco_warp"

DRIVER = 580
"""Oldest series of NVIDIA's driver that the wheels of warp-lang 1.19 work with (their README)."""

CONTACTS = 64
"""Contacts per robot that have room, on average over all robots: they share one list."""

ROWS = 128
ROWS_PER_JOINT = 16
"""Rows of constraints that have room for each robot: four per contact, one per joint at its limit."""

MODULES_BYTES = 250 * 2**20
"""Main memory of a process with Warp, its kernels and MuJoCo Warp beyond that of one with MuJoCo."""

CONTACT_BYTES = 168
ROW_BYTES = 92
"""Bytes of a contact, and of a row beside its Jacobian, of which 24 are scratch memory of the solver."""


@dataclass
class MujocoWarpWorldCfg:
    """MuJoCo Warp, an optional extra: the same models as MuJoCo, in float32, on a GPU or slowly on a CPU.

    Attributes:
        dt: physics step in seconds.
        device: of the physics, `cpu`, `cuda` or `cuda:<number>`.
        nconmax: contacts per robot that have room, on average over all robots; None: 64.
        njmax: rows of constraints that have room for each robot; None: 128 and 16 for each joint.
        render_size: width and height of an image in pixels.
    """

    TERRAIN: ClassVar[bool] = True
    RANDOMIZES: ClassVar[bool] = True
    TORQUES: ClassVar[bool] = True
    DETERMINISM: ClassVar[dict[str, str]] = {"cpu": "bit", "cuda": "none"}
    _target_: str = "regimen.envs.sims.mujoco_warp.MujocoWarpWorld"
    dt: float = field(default=0.005, metadata={"above": 0})
    device: str = "cpu"
    nconmax: int | None = None
    njmax: int | None = None
    render_size: tuple[int, int] = field(default=(640, 480), metadata={"least": 16, "most": 8192})

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each thing that is wrong, or missing to start MuJoCo Warp."""
        from regimen.config.task_schema import at_least_one
        from regimen.system.host import interpreter

        sizes = {name: size for name in ("nconmax", "njmax") if (size := getattr(self, name)) is not None}
        local = (config.get("hardware") or {}).get("scheduler") != "slurm"
        return [*at_least_one(**sizes), *missing(interpreter(config), self.device if local else "cpu")]

    def contacts(self) -> int:
        """Return how many contacts per robot have room."""
        return CONTACTS if self.nconmax is None else self.nconmax

    def rows(self, joints: int) -> int:
        """Return how many rows of constraints have room for a robot with so many joints."""
        return ROWS + ROWS_PER_JOINT * joints if self.njmax is None else self.njmax

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the memory of Warp's arrays, on the device of the physics, and of its modules.

        Contacts and rows of constraints are exact. The rest is a fit to the robots of this repository with a free base;
        a robot without one needs less.
        """
        dofs = action + 6
        jacobian = 4 * (-(-dofs // 4) * 4)  # a row has a multiple of four columns
        per_contact = self.contacts() * CONTACT_BYTES
        per_row = self.rows(action) * (ROW_BYTES + jacobian)
        return MODULES_BYTES + num_envs * (per_contact + per_row + 4_000 + 1_200 * dofs)


def missing(python: str, device: str) -> list[str]:
    """Return one line for each thing that is missing to start MuJoCo Warp; nothing is imported.

    Args:
        python: path of the interpreter of the run.
        device: of the physics.
    """
    from regimen.system.host import has_module

    lines = [] if has_module(python, "mujoco_warp") else [INSTALL.format(python=python)]
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        lines.append(f"device={device}: expected `cpu`, `cuda` or `cuda:<number>`.")
    elif kind == "cuda":
        from regimen.system.gpu import gpus

        drivers = sorted({gpu.driver for gpu in gpus()})
        lines += [
            f"device={device}: the NVIDIA driver {driver} is older than series {DRIVER}, which MuJoCo Warp needs. "
            "Update the driver, or use hardware=cpu."
            for driver in drivers
            if (series := driver.partition(".")[0]).isdigit() and int(series) < DRIVER
        ]
    return lines
