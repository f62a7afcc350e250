"""A library whose tasks Regimen opens, described without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TaskMemory:
    """Sizes from which the memory of a task on a CPU is estimated, see `regimen.envs.foreign.memory`.

    Attributes:
        base: bytes beside those of any worker: imports of the library, its simulation, the scene.
        env: bytes of an environment.
        row: bytes of an environment for each row of constraints that the solver has room for.
        rows: path of the number of these rows in the configuration of a task.
        usual_rows: that number where the configuration leaves it to the simulator.
        ground: bytes of a square metre of generated terrain.
    """

    base: int
    env: int
    row: int
    rows: str
    usual_rows: int
    ground: int


@dataclass(frozen=True)
class Library:
    """A library of tasks.

    Attributes:
        name: of its option of `task`, its interpreter and `make <name>`, such as isaaclab.
        title: its own name, such as Isaac Lab.
        settings: key of `env` with values of a task's configuration, such as isaac.
        reader: module that describes the tasks, run in the interpreter of the library.
        needed: distribution -> beginning of the versions that fit; the library's own is the first.
        versions: distributions whose versions are part of the key of the cached catalogue, the library's own first.
        elsewhere: fields of a configuration that Regimen sets -> its key for them; None where there is none.
        memory: sizes of its tasks, measured.
    """

    name: str
    title: str
    settings: str
    reader: str
    needed: Mapping[str, str]
    versions: tuple[str, ...]
    elsewhere: Mapping[str, str | None]
    memory: TaskMemory

    @property
    def cache(self) -> Path:
        """Folder of catalogues and compiled kernels; it may be deleted."""
        return Path(f"~/.cache/regimen/{self.name}")

    @property
    def install(self) -> str:
        """What to type where the library is missing."""
        return f"Type: make {self.name}, or name an interpreter with it: hardware.interpreters.{self.name}=<python>"
