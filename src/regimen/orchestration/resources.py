"""Resources of a run, on this machine or requested from a scheduler, and whether they suffice."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.system import host

DISK_BYTES = 200 * 10**6

NVIDIA = (Path("/dev/nvidia0"), Path("/dev/dxg"))
"""Device files of an NVIDIA driver, on Linux and under WSL."""

UNLIMITED = 2**60


@dataclass
class Resources:
    """Resources that the workers of a machine share.

    Attributes:
        cores: number of CPU cores.
        memory: bytes.
        workers: number of workers at once.
        here: whether it is this machine.
    """

    cores: int
    memory: int
    workers: int
    here: bool


def resources_of(config: dict[str, Any], parallel: int = 1) -> Resources:
    """Return the resources of a run.

    Args:
        config: resolved configuration as plain data.
        parallel: number of runs at once.
    """
    hardware = config["hardware"]
    processes = int(hardware["processes"])
    if hardware["scheduler"] != "slurm":
        return Resources(len(os.sched_getaffinity(0)), host.memory_available(), max(1, parallel) * processes, here=True)
    requested = hardware["submitit"]
    memory = int(float(requested["mem_gb"]) * 2**30) if requested.get("mem_gb") else UNLIMITED
    return Resources(int(requested.get("cpus_per_task") or 1), memory, processes, here=False)


def problems(config: dict[str, Any], place: Resources) -> list[str]:
    """Return problems with device and interpreter, one line each.

    Args:
        config: resolved configuration as plain data.
        place: resources of the run.
    """
    return [*_device(config, place), *_interpreter(config)]


def disk_free(root: Path) -> int:
    """Return the free bytes on the disk of `root`, which need not exist."""
    return shutil.disk_usage(_existing(root)).free


def folder_problems(root: Path) -> list[str]:
    """Return a line if no run directory can be created under `root`.

    Args:
        root: folder of runs.
    """
    place = _existing(root)
    if not place.is_dir():
        return [f"{place.resolve()} is a file, but a folder of that name is needed. Move it."]
    if not os.access(place, os.W_OK | os.X_OK):
        return [f"{place.resolve()}: no write permission. Start in a folder of yours."]
    if (free := disk_free(root)) < DISK_BYTES:
        available = f"{free / 1e6:.0f} MB free at {root.resolve()}"
        return [f"disk: {available}, a run needs {DISK_BYTES / 1e6:.0f} MB. Delete old runs or start elsewhere."]
    return []


def _existing(path: Path) -> Path:
    """Return the path, or its nearest existing parent."""
    while not path.exists():
        path = path.resolve().parent
    return path


def _device(config: dict[str, Any], place: Resources) -> list[str]:
    device = str(config["hardware"]["device"])
    if device.partition(":")[0] not in ("cpu", "cuda"):
        return [f"hardware.device={device}: expected `cpu`, `cuda` or `cuda:<number>`."]
    if not device.startswith("cuda"):
        return []
    if place.here and not any(path.exists() for path in NVIDIA):
        return [f"hardware.device={device}: no NVIDIA driver is visible here. Use hardware=cpu."]
    requested = config["hardware"]["submitit"]
    if not place.here and not any(requested.get(key) for key in ("gpus_per_node", "gpus_per_task", "gres")):
        return [f"hardware.device={device}: no GPU is requested from Slurm. Add hardware.submitit.gpus_per_node=1."]
    return []


def _interpreter(config: dict[str, Any]) -> list[str]:
    path, sim = host.interpreter(config), config["choices"]["sim"]
    if not (Path(path).is_file() and os.access(path, os.X_OK)):
        return [f"hardware.interpreters.{sim}={path}: no executable there. Give the path of its Python."]
    return []
