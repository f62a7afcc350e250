"""Machine and software of a run: packages, host, memory, identity of processes.

`psutil` is imported where processes are checked. On Linux, memory is read without it: its import takes 10 ms of
`dry_run=true`, and it does not read the limits of control groups. Other systems have no control groups, and none of the
files that are read here: psutil answers there, or the answer is empty.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.system.git import GitState
from regimen.system.json_data import CheckedJsonData

if TYPE_CHECKING:
    import resource

PACKAGES = (
    "regimen", "hydra-core", "omegaconf", "numpy", "torch", "skrl", "rsl-rl-lib", "rl-games", "gymnasium",
    "mujoco-core", "mujoco", "genesis-world", "isaaclab", "isaacsim", "newton", "mjlab", "warp-lang", "mujoco-warp",
    "h5py", "tensorboard", "submitit", "ray",
)  # fmt: skip
"""Distributions whose versions can change a result."""

ASK = (
    "import json, platform, sys; from importlib import metadata\n"
    "found = {'python': platform.python_version()}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = metadata.version(name)\n"
    "    except metadata.PackageNotFoundError: pass\n"
    "print(json.dumps(found))"
)
"""Program by which an interpreter that may lack Regimen prints the versions of the packages that it is given."""

GROUP_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
GROUP_V2 = ("memory.max", "memory.current", "inactive_file")
"""Files of a control group with its limit and use, and the line of memory.stat with the reclaimable file cache."""


CHECK_S = 120.0
"""Time limit for a check in a process of its own; a longer one is left to the worker."""

CHECKOUT = Path(__file__).resolve().parents[3]
"""Folder of the repository, where Regimen is installed from one."""


MEMBERSHIP = Path("/proc/self/cgroup")
"""Control groups of this process; lines `number:controllers:path`, of which version 2 names no controllers."""

GROUPS = Path("/sys/fs/cgroup")
"""Mount point of the control groups."""


@dataclass
class HostInfo(CheckedJsonData):
    """The machine of a run.

    Attributes:
        name: host name.
        system: name and version of the operating system.
        cores: number of cores that the process may use.
        memory_gib: installed memory in GiB.
        gpus: model names.
        python: path of the interpreter of the first worker; None before that has started.
    """

    OPTIONAL: ClassVar[frozenset[str]] = frozenset(("name", "system", "cores", "memory_gib", "python"))

    name: str | None = None
    system: str | None = None
    cores: int | None = None
    memory_gib: float | None = None
    gpus: list[str] = field(default_factory=list)
    python: str | None = None


@dataclass
class ProcessIdentity(CheckedJsonData):
    """A process, distinct from later ones with the same number.

    Attributes:
        host: name of its host; empty if the record names no process.
        pid: its number.
        start: its start in clock ticks since the boot, None once it has ended.
    """

    host: str = ""
    pid: int = 0
    start: int | None = None

    @property
    def is_this_one(self) -> bool:
        """Whether it is the present process."""
        return (self.pid, self.host) == (os.getpid(), socket.gethostname())


@dataclass(frozen=True)
class CodeState:
    """The code of one attempt: state of the repository, and versions of the packages by name."""

    git: GitState | None
    versions: dict[str, str]


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return name -> version of this Python and of the installed ones of some packages, without importing them."""
    return dict(_versions(tuple(names)))


def versions_in(python: str, names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return what `versions` returns in another interpreter; nothing where that does not answer.

    Args:
        python: path of the interpreter.
        names: of packages.
    """
    if is_this_interpreter(python):
        return versions(names)
    try:
        return dict(json.loads(_output([python, "-c", ASK, *names], {**os.environ, "PYTHONSAFEPATH": "1"})))
    except ValueError:
        return {}


@functools.cache
def _versions(names: tuple[str, ...]) -> dict[str, str]:
    """Read the metadata of packages once: each takes 3 ms."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Return the number of cores that this process may use: those it is bound to on Linux, elsewhere all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def host() -> HostInfo:
    """Return name, system, cores, memory and GPUs of this machine."""
    return HostInfo(
        name=socket.gethostname(),
        system=platform.platform(),
        cores=cores(),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        gpus=_gpus(),
    )


def instructions() -> frozenset[str]:
    """Return the instruction sets of this machine's processor under Linux's names, such as `avx512_bf16`.

    None on other systems, and on processors whose instruction sets Linux lists under another key.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), ()))


def memory_available() -> int:
    """Return the free memory in bytes for this process, limited by the machine and by its control groups."""
    return max(0, min([_machine_available(), *(left for group in _groups() for left in _left_in_group(*group))]))


def _machine_available() -> int:
    """Return the free memory of the machine in bytes."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        import psutil

        return psutil.virtual_memory().available
    meminfo = dict(line.split(":", 1) for line in lines)
    return int(meminfo.get("MemAvailable", "0").split()[0]) * 1024


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed because memory ran out; None if it does not count them.

    The innermost control group of this process that counts them is asked, else the machine.
    """
    for folder, version in _groups():
        with suppress(OSError, ValueError, KeyError):
            return _counters(folder / ("memory.oom_control" if version == 1 else "memory.events"))["oom_kill"]
    with suppress(OSError, ValueError, KeyError):
        return _counters(Path("/proc/vmstat"))["oom_kill"]
    return None


def _counters(path: Path) -> dict[str, int]:
    """Return the counters of a file of the kernel with a name and a number in each line."""
    return {name: int(value) for name, value in (row.split() for row in path.read_text(encoding="utf-8").splitlines())}


def _groups() -> Iterator[tuple[Path, int]]:
    """Yield folder and version, 1 or 2, of the memory control groups of this process, the innermost first."""
    for line in MEMBERSHIP.read_text(encoding="utf-8").splitlines() if MEMBERSHIP.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = GROUPS / controllers
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield folder, 1 if controllers else 2


def _left_in_group(folder: Path, version: int) -> Iterator[int]:
    """Yield the free bytes of one control group, the file cache counted as free; nothing if it has no limit."""
    limit, used, cache = GROUP_V1 if version == 1 else GROUP_V2
    try:
        cached = _counters(folder / "memory.stat")[cache]
        yield int((folder / limit).read_text()) - int((folder / used).read_text()) + cached
    except (OSError, ValueError, KeyError):  # no such group, or its limit is "max"
        return


def interpreter(config: dict[str, Any]) -> str:
    """Return the path of the Python of a run: the one configured for its task or sim, or the present one.

    A task names its interpreter by the key `env.interpreter`; any other runs in that of its sim.

    Args:
        config: the run's configuration, plain data.
    """
    interpreters = (config.get("hardware") or {}).get("interpreters") or {}
    name = interpreter_name(config)
    return str(interpreters.get(name) or made_interpreter(name) or sys.executable)


def interpreter_name(config: dict[str, Any]) -> str | None:
    """Return the key of `hardware.interpreters` for a run, whether or not it is set; arguments as for `interpreter`."""
    return (config.get("env") or {}).get("interpreter") or (config.get("choices") or {}).get("sim")


def made_interpreter(name: str | None) -> str | None:
    """Return the path of an interpreter that `make <name>` has made in this checkout, None if there is none."""
    path = CHECKOUT / f".venv-{name}" / "bin" / "python"
    return str(path) if path.exists() else None


def is_this_interpreter(python: str) -> bool:
    """Return whether a path is that of the interpreter of this process."""
    return Path(python).absolute() == Path(sys.executable).absolute()


def has_module(python: str, name: str) -> bool:
    """Return whether an interpreter finds a top-level module, without importing it."""
    if is_this_interpreter(python):
        return importlib.util.find_spec(name) is not None
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{name}') is None)"
    return subprocess.run([python, "-c", look], check=False).returncode == 0


def checked_elsewhere(python: str, module: str, *arguments: str) -> str:
    """Return what a module prints about its arguments, run in a process of its own, so that this one imports less.

    Args:
        python: interpreter; the answer is empty where it does not exist, or takes longer than `CHECK_S`.
        module: run by `-m`.
        arguments: of the module.
    """
    return _output([python, "-W", "ignore", "-m", module, *arguments])


def _output(command: list[str], env: dict[str, str] | None = None) -> str:
    """Return what a process prints, empty where it does not start, or takes longer than `CHECK_S`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def differences(before: CodeState, now: CodeState) -> list[str]:
    """Return what changed in code and packages, such as `torch 2.1.0 -> 2.2.0`.

    Args:
        before: code of one attempt.
        now: that of a later one.
    """
    old, new = (_named(row) for row in (before, now))
    return [
        f"{name} {old.get(name)} -> {new.get(name)}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)
    ]


def _named(code: CodeState) -> dict[str, str | bool]:
    git = code.git or GitState()
    return {**code.versions, "commit": str(git.commit)[:10], "uncommitted changes": bool(git.dirty)}


def tree_rss(pid: int) -> int:
    """Return the resident bytes of a process and all its descendants; 0 once it has ended.

    `psutil` finds children by reading every process of the machine: six times slower on one with 100 processes, and
    worse on a compute node. A supervisor asks once a second, so that on Linux children are read from
    `/proc/<pid>/task`.
    """
    return _tree_rss(pid) if Path("/proc/self/statm").exists() else _tree_rss_of_psutil(pid)


def _tree_rss(pid: int) -> int:
    proc = Path(f"/proc/{pid}")
    try:
        pages = int((proc / "statm").read_text().split()[1])
        children = [int(c) for task in (proc / "task").iterdir() for c in (task / "children").read_text().split()]
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_tree_rss(child) for child in children)


def _tree_rss_of_psutil(pid: int) -> int:
    import psutil

    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for member in (root, *root.children(recursive=True)):
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total


def peak_rss(usage: resource.struct_rusage) -> int:
    """Return the largest resident memory of a process that has ended, in bytes: Linux counts KiB, macOS bytes."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def process(pid: int) -> ProcessIdentity:
    """Return what identifies a process of this machine beyond the reuse of its number."""
    return ProcessIdentity(socket.gethostname(), pid, _start_ticks(pid))


def is_alive(identity: ProcessIdentity | None) -> bool | None:
    """Return whether a process still runs; None if it runs on another host, False if there is none."""
    if identity is None or not identity.host or not isinstance(identity.pid, int):
        return False
    if identity.host != socket.gethostname():
        return None
    start = _start_ticks(identity.pid)
    return start is not None and start == identity.start


def _start_ticks(pid: int) -> int | None:
    """Return the start of a process in clock ticks since boot; None once it has ended."""
    import psutil

    try:
        found = psutil.Process(pid)
        if found.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return round((found.create_time() - psutil.boot_time()) * os.sysconf("SC_CLK_TCK"))
    except psutil.Error:
        return None


def seconds_since_boot() -> float:
    """Return the time since the boot of this machine, to which `ProcessIdentity.start` refers."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    import psutil

    return time.time() - psutil.boot_time()


def _gpus() -> list[str]:
    found = []
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        found += [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("Model:")]
    return found
