"""Report of the checks before the start of a run, and the resources that they find on this machine or request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from regimen.config.schema import HardwareCfg
from regimen.envs.robots.robot import Robot
from regimen.runs.record_parts import MemoryEstimate
from regimen.system import host

DISK_BYTES = 200 * 10**6

NVIDIA = (Path("/dev/nvidia0"), Path("/dev/dxg"))
"""Device files of an NVIDIA driver, on Linux and under WSL."""

GPUS = (Path("/dev"), "nvidia[0-9]*")
"""Folder and names of the device files of NVIDIA GPUs, which WSL does not have."""

UNLIMITED = 2**60


@dataclass
class Resources:
    """Resources that the workers of a machine share.

    Attributes:
        cores: number of CPU cores.
        memory: bytes.
        workers: number of workers at once, which share the cores.
        starting: number of them that take their memory from now on; that of the others is already taken.
        here: whether it is this machine.
    """

    cores: int
    memory: int
    workers: int
    starting: int
    here: bool


def resources_of(hardware: HardwareCfg, parallel: int = 1, starting: int | None = None) -> Resources:
    """Return the resources of a run.

    Args:
        hardware: the section `hardware` of its configuration.
        parallel: number of runs at once.
        starting: number of them that have not started yet, by default all.
    """
    processes = hardware.node_processes()
    if hardware.scheduler != "slurm":
        workers, new = (max(1, number) * processes for number in (parallel, starting or parallel))
        return Resources(host.cores(), host.memory_available(), workers, new, here=True)
    requested = hardware.submitit
    memory = int(float(requested["mem_gb"]) * 2**30) if requested.get("mem_gb") else UNLIMITED
    return Resources(int(requested.get("cpus_per_task") or 1), memory, processes, processes, here=False)


def device_problems(hardware: HardwareCfg, resources: Resources) -> Iterator[str]:
    """Yield a line if the device is unknown, or absent from the resources."""
    device = hardware.device
    if device.partition(":")[0] not in ("cpu", "cuda"):
        yield f"hardware.device={device}: expected `cpu`, `cuda` or `cuda:<number>`."
    elif device.startswith("cuda"):
        if resources.here and not any(path.exists() for path in NVIDIA):
            yield f"hardware.device={device}: no NVIDIA driver is visible here. Use hardware=cpu."
        gpu_keys = ("gpus_per_node", "gpus_per_task", "gres")
        if not resources.here and not any(hardware.submitit.get(key) for key in gpu_keys):
            yield (f"hardware.device={device}: no GPU is requested from Slurm. Add hardware.submitit.gpus_per_node=1.")


def gpus_here() -> int | None:
    """Return the number of NVIDIA GPUs of this machine, None where it is unknown."""
    folder, names = GPUS
    return None if NVIDIA[1].exists() else len(list(folder.glob(names)))


def interpreter_problems(sim: str, python: str) -> Iterator[str]:
    """Yield a line if the interpreter of the run cannot be executed.

    Args:
        sim: chosen option of the group `sim`.
        python: path of the interpreter.
    """
    if not (Path(python).is_file() and os.access(python, os.X_OK)):
        yield f"hardware.interpreters.{sim}={python}: no executable there. Give the path of its Python."


def disk_free(root: Path) -> int:
    """Return the free bytes on the disk of `root`, which need not exist."""
    return shutil.disk_usage(_existing(root)).free


def folder_problems(root: Path) -> Iterator[str]:
    """Yield a line if no run directory can be created under `root`.

    Args:
        root: folder of runs.
    """
    folder = _existing(root)
    if not folder.is_dir():
        yield f"{folder.resolve()} is a file, but a folder of that name is needed. Move it."
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"{folder.resolve()}: no write permission. Start in a folder of yours."
    elif (free := disk_free(root)) < DISK_BYTES:
        available = f"{free / 1e6:.0f} MB free at {root.resolve()}"
        yield f"disk: {available}, a run needs {DISK_BYTES / 1e6:.0f} MB. Delete old runs or start elsewhere."


def _existing(path: Path) -> Path:
    """Return the path, or its nearest existing parent."""
    while not path.exists():
        path = path.resolve().parent
    return path


@dataclass
class PreflightReport:
    """Result of the checks.

    Attributes:
        estimate: memory of one worker by parts; without any for a task whose use is not known in advance.
        available: free main memory in bytes.
        disk_free: free bytes on the disk of the run.
        warnings: problems that do not prevent the start.
        inputs: name of an input -> resolved file.
        parents: ids of the runs that the inputs come from.
        references: name of an input -> reference, as typed.
        pending: name of an input -> reference that can be resolved only after another run has finished.
        gpu_available: free bytes of the GPU of the run, None without one, or where they are unknown.
    """

    estimate: MemoryEstimate
    available: int
    disk_free: int
    warnings: list[str] = field(default_factory=list)
    inputs: dict[str, Path] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    gpu_available: int | None = None


@dataclass
class PreflightContext:
    """Values that one check of a run leaves for later ones.

    Attributes:
        root: folder of the run directory.
        resources: of this machine, or requested from a scheduler.
        report: the report, filled in by the checks.
        robot: robot of the task; None for a task without one, or whose robot cannot be loaded.
        patterns_match: whether all patterns of joints, bodies and rewards in the task have a match.
    """

    root: Path
    resources: Resources
    report: PreflightReport
    robot: Robot | None = None
    patterns_match: bool = True
