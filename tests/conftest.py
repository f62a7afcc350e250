"""What every test shares: one thread, no display, run directories in a temporary folder, real configs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import subprocesses
from regimen.config.schema import Config

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

ROOT = Path(__file__).resolve().parents[1]


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and all that need the one Slurm, where the suite runs in several."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group("slurm" if folder == "slurm" else str(item.path)))
