"""The machine of a run: this one, or what is asked of Slurm."""

from __future__ import annotations

import pytest

from helpers.messages import assert_names
from regimen.config.schema import HardwareCfg
from regimen.orchestration import preflight_report
from regimen.system import host


def test_here_the_workers_share_what_there_is() -> None:
    place = preflight_report.resources_of(HardwareCfg(processes=2), parallel=3)
    assert (place.cores, place.workers, place.here) == (host.cores(), 6, True)


def test_beside_runs_at_work_one_that_starts_has_all_the_free_memory() -> None:
    place = preflight_report.resources_of(HardwareCfg(processes=2), parallel=3, starting=1)
    assert (place.workers, place.starting) == (6, 2)
    assert preflight_report.resources_of(HardwareCfg(processes=2), parallel=3).starting == 6


def test_in_a_job_they_have_what_was_asked_for() -> None:
    asked = {"cpus_per_task": 8, "mem_gb": 2}
    place = preflight_report.resources_of(HardwareCfg(scheduler="slurm", submitit=asked, processes=2), parallel=3)
    assert (place.cores, place.memory, place.workers, place.here) == (8, 2 * 2**30, 2, False)


def test_slurm_gives_one_core_and_no_known_limit_by_default() -> None:
    place = preflight_report.resources_of(HardwareCfg(scheduler="slurm"))
    assert (place.cores, place.memory) == (1, preflight_report.UNLIMITED)


@pytest.mark.parametrize("key", ["gpus_per_node", "gres"])
def test_a_gpu_has_to_be_asked_for(key: str) -> None:
    asked = HardwareCfg(scheduler="slurm", device="cuda")
    (line,) = preflight_report.device_problems(asked, preflight_report.resources_of(asked))
    assert_names(line, "hardware.submitit.gpus_per_node=1")
    asked.submitit = {key: "1"}
    assert list(preflight_report.device_problems(asked, preflight_report.resources_of(asked))) == []
