"""NVIDIA GPUs of this machine and the CUDA of the installed torch, read without importing torch."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

QUERY = ("memory.total", "memory.free", "driver_version")
"""What `nvidia-smi` is asked for: MiB, MiB, and a version such as 570.86.15."""

QUERY_S = 20.0
"""Time limit for an answer: a driver that starts takes seconds."""

OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""Major version of CUDA -> major version of the oldest Linux driver that runs it, by NVIDIA's guide "CUDA
Compatibility", section "Minor Version Compatibility"."""


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        total: its memory in bytes.
        free: of these, how many no process has.
        driver: version of the driver.
    """

    total: int
    free: int
    driver: str


@functools.cache
def gpus() -> list[Gpu]:
    """Return the GPUs that `nvidia-smi` lists, in its order; none where it is absent or gives no answer."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return list(_parsed(done.stdout)) if done.returncode == 0 else []


def visible_gpus(environment: Mapping[str, str]) -> list[Gpu]:
    """Return the GPUs of `gpus` that a process sees, in the order in which it numbers them.

    `CUDA_VISIBLE_DEVICES` chooses: numbers up to the first one that does not exist, as CUDA reads them; empty, none.
    With identifiers instead of numbers all are returned.

    Args:
        environment: environment variables of the process.
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not re.fullmatch(r"(-?\d+(,-?\d+)*)?", chosen):
        return gpus()
    exist = itertools.takewhile(lambda number: 0 <= number < len(gpus()), map(int, filter(None, chosen.split(","))))
    return [gpus()[number] for number in exist]


def _parsed(text: str) -> Iterator[Gpu]:
    for line in text.splitlines():
        with suppress(ValueError):  # `[N/A]`, as for a part of a GPU, or a message of the driver
            total, free, driver = (part.strip() for part in line.split(","))
            yield Gpu(int(total) * 2**20, int(free) * 2**20, driver)


def torch_cuda() -> str | None:
    """Return the CUDA version that the torch of this interpreter is built for, such as `12.8`; empty: for a CPU alone.

    None where torch is not installed, or its file of versions has another form.
    """
    spec = importlib.util.find_spec("torch")  # does not import it
    for folder in (spec and spec.submodule_search_locations) or ():
        with suppress(OSError):
            text = (Path(folder) / "version.py").read_text(encoding="utf-8")
            if found := re.search(r"^cuda[^=\n]*=\s*(None|'([\d.]+)')", text, re.MULTILINE):
                return found[2] or ""
    return None


def driver_problem(cuda: str | None, driver: str) -> str:
    """Return why torch cannot use the GPU, empty if nothing is found.

    Args:
        cuda: see `torch_cuda`.
        driver: version of the driver.
    """
    if cuda is None:
        return ""
    if not cuda:
        return "the installed torch is a build for CPUs. Install one for CUDA, or take hardware.device=cpu."
    needed = OLDEST_DRIVER.get(int(cuda.partition(".")[0]))
    major = driver.partition(".")[0]
    if needed is None or not major.isdigit() or int(major) >= needed:
        return ""
    return (
        f"the driver {driver} is older than {needed}, which the CUDA {cuda} of the installed torch needs. Update the "
        "driver, install a torch for an older CUDA, or take hardware.device=cpu."
    )
