"""A checkpoint is whole or absent, loads without running code, and says what to do when it does not."""

from __future__ import annotations

import errno
import os
import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from regimen.runs import checkpoint
from regimen.runs.checkpoint import Checkpoints
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.system.errors import CheckpointError, SaveError

BUNDLE = {"format": 1, "policy": {"w": torch.arange(4000.0)}, "training": {"counts": [1, 2], "name": "x", "none": None}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(create_run_dir(tmp_path, {"choices": {}}, [], [], repository=tmp_path))


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.pt"
    checkpoint.save(path, BUNDLE)
    loaded = checkpoint.load(path)
    assert torch.equal(loaded["policy"]["w"], BUNDLE["policy"]["w"])  # type: ignore[index]
    assert loaded["training"] == BUNDLE["training"]
    assert [p.name for p in path.parent.iterdir()] == ["b.pt"]


@pytest.mark.parametrize("value", [np.float64(1.0), np.zeros(2), Path("x"), {1, 2}])
def test_what_could_not_be_loaded_is_refused_by_name(tmp_path: Path, value: object) -> None:
    kind = f"{type(value).__module__}.{type(value).__name__}"
    with raises_naming(SaveError, "bundle.training.env[1]", kind, ".tolist()"):
        checkpoint.save(tmp_path / "a.pt", {"training": {"env": [0, value]}})
    assert list(tmp_path.iterdir()) == []


def test_missing_damaged_and_foreign_files(tmp_path: Path) -> None:
    good = tmp_path / "last.pt"
    checkpoint.save(good, BUNDLE)
    data = good.read_bytes()
    inside = data.find(BUNDLE["policy"]["w"].numpy().tobytes()[:400])  # type: ignore[index]
    cases: dict[str, tuple[bytes, tuple[str, ...]]] = {
        "cut.pt": (data[: len(data) // 2], ()),
        "text.pt": (b"hello", ()),
        "flipped.pt": (data[: inside + 9] + b"\xff" + data[inside + 10 :], ("checksum", "archive/data/0")),
    }
    for name, (content, details) in cases.items():
        (tmp_path / name).write_bytes(content)
        with raises_naming(CheckpointError, tmp_path / name, "last.pt", *details):
            checkpoint.load(tmp_path / name)
    torch.save({"weights": torch.zeros(1)}, tmp_path / "foreign.pt")
    with raises_naming(CheckpointError, tmp_path / "foreign.pt", "last.pt", "format 1"):
        checkpoint.load(tmp_path / "foreign.pt")
    torch.save({"format": 7}, tmp_path / "newer.pt")
    with raises_naming(CheckpointError, tmp_path / "newer.pt", "last.pt", "format 1", "format 7"):
        checkpoint.load(tmp_path / "newer.pt")
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "pickle.pt")
    with raises_naming(CheckpointError, tmp_path / "pickle.pt", "last.pt", "Python"):
        checkpoint.load(tmp_path / "pickle.pt")
    with raises_naming(CheckpointError, tmp_path / "absent.pt", "last.pt"):
        checkpoint.load(tmp_path / "absent.pt")


def test_full_disk_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        checkpoint.save(disk / "last.pt", BUNDLE)
        with raises_naming(CheckpointError, disk, "last.pt") as caught:
            checkpoint.save(disk / "last.pt", {"format": 1, "policy": torch.zeros(500_000)})
        free, needed = sorted(float(size) for size in re.findall(r"([\d.]+) MB", str(caught.value)))
        assert free < 2 <= needed < 3
        assert [p.name for p in disk.iterdir()] == ["last.pt"]
        assert len(checkpoint.load(disk / "last.pt")["policy"]["w"]) == 4000
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def names(run: Run) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


def test_last_best_and_pruning(run: Run) -> None:
    checkpoints = Checkpoints(run, interval=100, keep=2)
    for step, metric in ((100, 1.0), (200, 5.0), (300, float("nan")), (400, 2.0), (500, None)):
        checkpoints.save(step, {"policy": {}}, metric)
    assert names(run) == ["best.pt", "last.pt", "step_000000200.pt", "step_000000400.pt", "step_000000500.pt"]
    best, last = checkpoint.load(checkpoints.best), checkpoint.load(checkpoints.last)
    assert (best["step"], best["metric"], last["step"], last["run"]) == (200, 5.0, 500, run.id)
    assert [a.path for a in run.artifacts()] == ["checkpoints/best.pt", "checkpoints/last.pt"]


def test_best_and_schedule_survive_resume(run: Run) -> None:
    first = Checkpoints(run, interval=100)
    assert not first.due(99) and first.due(100)
    first.save(100, {}, 5.0)
    first.save(130, {})  # a stop between two multiples
    second = Checkpoints(run, interval=100)
    assert not second.due(199) and second.due(200)
    second.save(200, {}, 4.0)
    assert checkpoint.load(second.best)["step"] == 100
    second.save(200, {}, 6.0)
    assert checkpoint.load(second.best)["step"] == 200


def test_without_hard_links(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr("os.link", refuse)
    checkpoints = Checkpoints(run, interval=10, keep=1)
    for step, metric in ((10, 2.0), (20, 1.0), (30, 1.0)):
        checkpoints.save(step, {}, metric)
    assert names(run) == ["best.pt", "last.pt", "step_000000010.pt", "step_000000030.pt"]
    again = Checkpoints(run, interval=10)
    assert not again.due(39) and again.due(40)


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [float(torch.randn(1)), float(np.random.normal()), random.gauss(0, 1), random.random()]

    draw()
    checkpoint.save(tmp_path / "rng.pt", {"format": 1, "rng": checkpoint.rng_state()})
    expected = draw()
    draw()
    checkpoint.set_rng_state(checkpoint.load(tmp_path / "rng.pt")["rng"])
    assert draw() == expected


@pytest.mark.parametrize("now", [1, 3])
def test_generators_are_restored_where_another_number_of_gpus_is_visible(
    monkeypatch: pytest.MonkeyPatch, now: int
) -> None:
    """Generators of the CPU stand in torch's table of those of GPUs; with real GPUs it is not exercised in CI."""

    def visible(count: int) -> tuple[torch.Generator, ...]:
        generators = tuple(torch.Generator().manual_seed(seed) for seed in range(count))
        monkeypatch.setattr(torch.cuda, "default_generators", generators)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda.random, "device_count", lambda: count)
        return generators

    for place, name in (
        (torch.cuda, "is_initialized"),
        (torch.cuda, "is_available"),
        (torch.cuda.random, "_lazy_init"),
    ):
        monkeypatch.setattr(place, name, lambda: True)
    monkeypatch.setattr(torch.cuda.random, "_lazy_call", lambda call, **_: call())
    before = visible(2)
    torch.rand(3, generator=before[0])
    state = checkpoint.rng_state()
    expected = [float(torch.rand(1, generator=generator)) for generator in before]
    after = visible(now)
    checkpoint.set_rng_state(state)
    drawn = [float(torch.rand(1, generator=generator)) for generator in after]
    assert drawn[:2] == expected[:now]


def test_a_full_disk_met_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.open", full)
    with raises_naming(SaveError, "a.pt", "MB"):
        checkpoint.save(tmp_path / "a.pt", BUNDLE)


def test_a_save_that_is_cut_off_leaves_best_not_behind_last(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link
    made: list[object] = []

    def once(*paths: Path) -> None:
        if made:
            raise KeyboardInterrupt
        made.append(paths)
        link(*paths)

    monkeypatch.setattr("os.link", once)
    with pytest.raises(KeyboardInterrupt):
        Checkpoints(run, interval=10).save(10, BUNDLE, metric=1.0)
    assert names(run) == ["best.pt", "step_000000010.pt"]


def test_the_one_judged_best_is_kept_and_further_names_exist_before_last(run: Run, tmp_path: Path) -> None:
    checkpoints, waiting = Checkpoints(run, interval=100, keep=1), tmp_path / "waiting"
    waiting.mkdir()
    first = checkpoints.save(100, BUNDLE, None, [waiting / "step_000000100.pt"])
    checkpoint.point(run.checkpoints / "best_judged.pt", waiting / "step_000000100.pt")
    for step in (200, 300):
        checkpoints.save(step, BUNDLE)
    assert first.exists() and names(run) == ["best_judged.pt", "last.pt", "step_000000100.pt", "step_000000300.pt"]
    newest = checkpoint.newest(run.checkpoints)
    assert newest is not None and newest.name == "step_000000300.pt"
    assert checkpoint.load(run.checkpoints / "best_judged.pt")["step"] == 100
