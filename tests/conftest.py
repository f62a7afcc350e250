"""What every test shares: one thread, no display, run directories in a temporary folder, real configs."""

from __future__ import annotations

import functools
import gc
import os
import runpy
import shutil
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from helpers import long_files, subprocesses
from regimen.config.schema import Config

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

pytest_plugins = ["helpers.support_record"]

ROOT = Path(__file__).resolve().parents[1]
MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30
"""File system in memory, and the bytes that must be free there."""


@pytest.fixture(autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    """A test that fails before it has ended what it started fails alone: a leaked process fails the next one too."""
    yield
    subprocesses.end_all()


@pytest.fixture
def repo_root() -> Path:
    """The folder of the checkout: where launch.py and conf/ stand."""
    return ROOT


@pytest.fixture
def compose_config() -> Callable[[list[str]], Config]:
    """Compose the real configuration as launch.py does, typed: overrides -> Config."""
    from regimen.config.compose import compose_config

    return compose_config


@pytest.fixture
def drawn_figures() -> None:
    """Asked for by a test that looks at its figures, in a file where `blank_figures` is for all tests."""


@pytest.fixture
def blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write each figure without what it shows: its layout takes longer than a short training or evaluation."""
    if "drawn_figures" in request.fixturenames:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    write = FigureCanvasAgg.print_png  # `figures.save` calls it, and so does `Figure.savefig`

    @functools.wraps(write)  # its signature has what `savefig` may pass on
    def blank(canvas: FigureCanvasAgg, *args: Any, **kwargs: Any) -> None:
        canvas.figure.clear()
        canvas.figure.set_layout_engine("none")
        write(canvas, *args, **kwargs)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", blank)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--without-linux", action="store_true", help="hide what Linux alone has from the project's code")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put temporary folders into memory where there is room: what is written durably waits for the disk otherwise."""
    if config.getoption("--without-linux"):
        hide_linux()
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def hide_linux() -> None:
    """Hide `/proc` and the calls of Linux in this process and in all that it starts."""
    folder = ROOT / "tests" / "helpers" / "without_linux"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    if hasattr(os, "sched_getaffinity"):  # not yet hidden: a worker of xdist is a process that inherits it
        runpy.run_path(str(folder / "sitecustomize.py"), run_name="sitecustomize")


def pytest_collection_finish() -> None:
    """Leave modules and tests, which stay until the end, out of the search for garbage, 8 % of the time."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests of what only Linux has."""
    if config.getoption("--without-linux") or sys.platform != "linux":
        for item in items:
            if item.get_closest_marker("linux"):
                item.add_marker(pytest.mark.skip(reason="of Linux"))


SHARED = {"/slurm/": "slurm", "/test_mujoco_warp": "mujoco_warp"}
"""Files that share the one Slurm, and kernels that each process compiles for minutes unless another has."""


class ByFile(LoadScopeScheduling):
    """Keeps the tests of a file in one process, and those of one resource of a machine; the longest start first."""

    _ordered = False

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return next((name for part, name in SHARED.items() if part in file), file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._ordered:
            longest_first = sorted(self.workqueue.items(), key=lambda unit: -_duration(list(unit[1])))
            self.workqueue, self._ordered = OrderedDict(longest_first), True
        super()._assign_work_unit(node)


def _duration(nodeids: list[str]) -> float:
    return long_files.duration(nodeids[0].split("::")[0], len(nodeids))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Distribute the tests over the processes of `-n`."""
    return ByFile(config, log)
