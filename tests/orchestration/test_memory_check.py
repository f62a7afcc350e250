"""Memory of a run on a GPU before the start, on a machine that only appears to have one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.messages import assert_names
from regimen.config.compose import compose
from regimen.orchestration.memory_check import InsufficientMemoryError
from regimen.orchestration.preflight import preflight
from regimen.orchestration.preflight_report import PreflightReport
from regimen.system.errors import ConfigError
from regimen.system.gpu import Gpu

CONF = Path(__file__).resolve().parents[2] / "conf"
GIB = 2**30
TASK = ("task=go2_flat", "hardware=gpu")


@pytest.fixture(autouse=True)
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[Gpu]:
    """One GPU with 4 GiB free of 8; tests may change the list."""
    found = [Gpu(8 * GIB, 4 * GIB, "570.86.15")]
    monkeypatch.setattr("regimen.orchestration.preflight_report.NVIDIA", (Path("/dev/null"),))
    monkeypatch.setattr("regimen.system.gpu.gpus", lambda: found)
    monkeypatch.setattr("regimen.system.gpu.torch_cuda", lambda: "12.8")
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 64 * GIB)
    return found


def checked(folder: Path, *overrides: str) -> PreflightReport:
    return preflight(compose([*TASK, *overrides], [CONF]), folder / "outputs")


def refused(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(folder, *overrides)
    return str(caught.value)


def test_the_agent_is_on_the_gpu_and_the_physics_of_mujoco_are_not(tmp_path):
    estimate = checked(tmp_path).estimate
    assert {"agent", "networks", "context"} <= set(estimate.gpu)
    assert {"process", "env", "physics"} <= set(estimate.main) and "agent" not in estimate.main


def test_what_does_not_fit_a_gpu_is_refused_with_the_numbers_that_fit(tmp_path):
    said = refused(tmp_path, "env.num_envs=200000")
    assert_names(said, "GPU memory", "4.0 GiB")
    (fits,) = re.findall(r"env\.num_envs=(\d+)", said)
    assert checked(tmp_path, f"env.num_envs={fits}").estimate.gpu_bytes <= 4 * GIB
    assert "GPU memory" in refused(tmp_path, f"env.num_envs={int(fits) + 1}")


def test_a_replay_ring_on_a_gpu_is_named_with_the_size_that_fits(tmp_path):
    sized = ("agent=fast_sac", "env.num_envs=64")
    (fits,) = re.findall(r"agent\.buffer_size=(\d+)", refused(tmp_path, *sized, "agent.buffer_size=1000000"))
    assert checked(tmp_path, *sized, f"agent.buffer_size={fits}").estimate.gpu["agent"] > GIB
    assert "GPU memory" in refused(tmp_path, *sized, f"agent.buffer_size={int(fits) + 1}")


def test_a_driver_that_is_too_old_is_named_with_the_version_that_is_needed(tmp_path, gpus):
    gpus[:] = [Gpu(8 * GIB, 4 * GIB, "470.57.02")]
    assert_names(refused(tmp_path), "470.57.02", "525", "12.8", "hardware.device=cpu")


@pytest.mark.parametrize("name", ["cuda:1", "cuda:first"])
def test_a_gpu_that_is_not_there_is_refused(tmp_path, name):
    assert_names(refused(tmp_path, f"hardware.device={name}"), name, "hardware.device=cuda:0")


def test_the_gpus_are_those_that_the_worker_sees(tmp_path, gpus):
    gpus[:] = [Gpu(8 * GIB, 0, "570.86.15"), Gpu(8 * GIB, 6 * GIB, "570.86.15")]
    assert "GPU memory" in refused(tmp_path)
    assert checked(tmp_path, "+hydra.job.env_set.CUDA_VISIBLE_DEVICES=1").gpu_available == 6 * GIB
    hidden = refused(tmp_path, "+hydra.job.env_set.CUDA_VISIBLE_DEVICES=-1")
    assert_names(hidden, "CUDA_VISIBLE_DEVICES=-1", "hardware.device=cpu")


def test_without_an_answer_of_the_driver_the_gpu_is_not_checked(tmp_path, gpus):
    gpus.clear()
    report = checked(tmp_path)
    assert report.gpu_available is None
    assert any("nvidia-smi" in line for line in report.warnings)


def test_processes_of_one_run_count_together(tmp_path, gpus):
    shared = ("hardware=multi", "agent=fast_sac", "hardware.device=cpu")
    estimate = checked(tmp_path, *shared).estimate
    assert estimate.workers == 2 and estimate.main_bytes == 2 * sum(estimate.main.values()) and not estimate.gpu
    assert 2 * estimate.main["launcher"] == pytest.approx(234 * 2**20), "torch's, which starts both"


def test_beside_a_run_at_work_the_next_one_may_take_what_is_free(tmp_path, gpus):
    """Of three runs, two at once, the third starts beside one that has its share of both memories."""
    run = compose([*TASK, "env.num_envs=64"], [CONF])
    need = preflight(run.copy(), tmp_path).estimate.gpu_bytes
    gpus[:] = [Gpu(8 * GIB, int(1.2 * need), "570.86.15")]
    with pytest.raises(InsufficientMemoryError):
        preflight(run.copy(), tmp_path, parallel=2)
    assert preflight(run.copy(), tmp_path, parallel=2, starting=1).gpu_available == int(1.2 * need)
