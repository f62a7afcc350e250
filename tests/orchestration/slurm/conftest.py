"""One real Slurm for all tests of this folder, and for each a user's folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.user_folder import make_lab, write
from orchestration.slurm.cluster import Cluster, wait_for
from orchestration.slurm.counting import SOURCE, STAGE, TOGETHER, TOGETHER_STAGE
from orchestration.slurm.sandbox import Sandbox, why_not


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running Slurm, or a skipped test that says why there is none."""
    if reason := why_not():
        pytest.skip(f"no Slurm: {reason}")
    sandbox = Sandbox(tmp_path_factory.mktemp("slurm"))
    try:
        sandbox.up()
        yield sandbox
    finally:
        sandbox.down()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A user's folder with a stage that counts."""
    conf = make_lab(tmp_path)
    write(tmp_path / "counting.py", SOURCE)
    write(conf / "stage/count.yaml", STAGE)
    write(tmp_path / "together.py", TOGETHER)
    write(conf / "stage/together.yaml", TOGETHER_STAGE)
    return tmp_path


@pytest.fixture
def cluster(lab: Path, slurm: Sandbox) -> Iterator[Cluster]:
    """The user's folder on a cluster that nobody else uses."""
    yield Cluster(lab, slurm)
    slurm.ask("scancel", "--user=root")
    with suppress(AssertionError):
        wait_for(lambda: not slurm.ask("squeue", "-h"), "the jobs end", 20)
