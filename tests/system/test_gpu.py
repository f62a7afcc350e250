from __future__ import annotations

from pathlib import Path

import pytest

from regimen.system import gpu


@pytest.fixture(autouse=True)
def anew() -> None:
    gpu.gpus.cache_clear()


def install(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program `nvidia-smi` on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_gpus_are_read_with_their_memory_in_bytes(tmp_path, monkeypatch):
    install(tmp_path, "echo '81559, 80994, 570.86.15'; echo '24564, 512, 570.86.15'", monkeypatch)
    assert gpu.gpus() == [
        gpu.Gpu(81559 * 2**20, 80994 * 2**20, "570.86.15"),
        gpu.Gpu(24564 * 2**20, 512 * 2**20, "570.86.15"),
    ]


def test_the_visible_devices_choose_among_them(tmp_path, monkeypatch):
    install(tmp_path, "echo '1, 1, 570.1'; echo '2, 2, 570.1'", monkeypatch)
    for chosen, seen in {"1": [2], "1,0": [2, 1], "0,7,1": [1], "": [], "-1": [], "GPU-8f3a": [1, 2]}.items():
        visible = gpu.visible_gpus({"CUDA_VISIBLE_DEVICES": chosen})
        assert [device.total // 2**20 for device in visible] == seen, chosen
    assert gpu.visible_gpus({}) == gpu.gpus() and len(gpu.gpus()) == 2


@pytest.mark.parametrize("script", ["echo 'NVIDIA-SMI has failed'; exit 9", "echo '[N/A], [N/A], 570.1'", "exit 6"])
def test_no_gpu_is_read_from_another_answer(tmp_path, monkeypatch, script):
    install(tmp_path, script, monkeypatch)
    assert gpu.gpus() == []


def test_no_gpu_without_the_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.gpus() == []


@pytest.mark.parametrize(
    ("cuda", "driver", "named"),
    [("12.8", "470.57.02", "525"), ("13.0", "570.86.15", "580"), ("", "570.86.15", "hardware.device=cpu")],
)
def test_a_driver_or_a_torch_that_cannot_work_is_a_problem(cuda, driver, named):
    assert named in gpu.driver_problem(cuda, driver)


@pytest.mark.parametrize(("cuda", "driver"), [("12.8", "570.86.15"), ("99.0", "570.86.15"), (None, "470.1")])
def test_others_are_none(cuda, driver):
    assert gpu.driver_problem(cuda, driver) == ""


def test_the_cuda_of_torch_is_read_without_its_import():
    import torch

    assert gpu.torch_cuda() == (torch.version.cuda or "")
