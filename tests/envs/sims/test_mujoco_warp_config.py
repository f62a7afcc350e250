"""What stands against a start of MuJoCo Warp is found before it, without importing it; and the size of its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from regimen.config.compose import compose
from regimen.config.groups import config_home
from regimen.envs.sims.mujoco_warp_config import MujocoWarpWorldCfg, missing
from regimen.orchestration.preflight import preflight
from regimen.system import gpu
from regimen.system.errors import ConfigErrors


def python(folder: Path, has: bool) -> str:
    """Return an interpreter that has MuJoCo Warp, or has not."""
    file = folder / f"python-{has}"
    file.write_text(f"#!/bin/sh\nexit {0 if has else 1}\n")
    file.chmod(0o755)
    return str(file)


def test_an_interpreter_without_the_library_is_named_with_what_to_type(tmp_path: Path) -> None:
    assert missing(python(tmp_path, True), "cpu") == []
    (line,) = missing(without := python(tmp_path, False), "cpu")
    assert_names(line, without, "make mujoco_warp")


@pytest.mark.parametrize(
    ("version", "names"), [("535.104.05", ("cuda:0", "535", "580", "hardware=cpu")), ("580.65.06", ())]
)
def test_an_old_driver_is_named_where_the_physics_runs_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr(gpu, "gpus", lambda: [gpu.Gpu(2**35, 2**35, version)])
    lines = missing(python(tmp_path, True), "cuda:0")
    assert len(lines) == bool(names)
    assert_names(" ".join(lines), *names)
    assert missing(python(tmp_path, True), "cpu") == []


def test_all_that_is_wrong_is_listed_before_a_start(tmp_path: Path) -> None:
    interpreter = f"hardware.interpreters.mujoco_warp={python(tmp_path, False)}"
    wrong = ["sim.nconmax=0", "sim.device=gpu", interpreter]
    with raises_naming(ConfigErrors, "nconmax", "device=gpu", "cuda", "make mujoco_warp"):
        preflight(compose(["task=go2_flat", "sim=mujoco_warp", *wrong], [config_home()]), tmp_path)


def test_more_room_for_contacts_takes_more_memory() -> None:
    auto, wide = MujocoWarpWorldCfg(), MujocoWarpWorldCfg(nconmax=128, njmax=640)
    fixed, one, many = (auto.memory_bytes(envs, 48, 12) for envs in (0, 1, 4096))
    assert many - fixed == 4096 * (one - fixed)
    more = wide.memory_bytes(1, 48, 12) - one
    assert more == 64 * 168 + 320 * 172, "a contact, a row with 20 columns, and its scratch memory"
