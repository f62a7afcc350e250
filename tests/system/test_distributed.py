"""Processes of one run: device, process group, agreement on a stop."""

from __future__ import annotations

import signal

import pytest

from helpers.messages import raises_naming
from regimen.system import distributed
from regimen.system.errors import PreflightError


def test_one_process_agrees_with_itself() -> None:
    assert distributed.sync_stop_signal(signal.SIGTERM) == signal.SIGTERM
    assert distributed.sync_stop_signal(None) is None


def test_each_worker_takes_a_gpu_of_its_own_before_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", done.append)
    monkeypatch.setattr("torch.distributed.init_process_group", done.append)
    for name, value in {"WORLD_SIZE": "3", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    distributed.init_process_group("cuda")
    assert done == [1, "cpu:gloo,cuda:nccl"]
    distributed.init_process_group("cpu")
    assert done[2:] == ["gloo"]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with raises_naming(PreflightError, "GPU", "hardware.processes=2"):
        distributed.init_process_group("cuda")
