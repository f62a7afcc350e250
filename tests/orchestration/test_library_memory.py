"""The memory of tasks of other libraries before the start, from recorded catalogues: no library is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.recorded_library import recorded_interpreter
from regimen.config.compose import compose
from regimen.envs.foreign import memory
from regimen.envs.foreign.catalogue import TaskDescription
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.envs.mjlab.library import MJLAB
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "fixtures"
LIBRARIES = {"isaaclab": ISAAC_LAB, "mjlab": MJLAB}
GIB = 2**30


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def estimated(folder: Path, task: str, *overrides: str) -> dict[str, int]:
    """Return part -> bytes of a task in an interpreter that has its library by a recorded catalogue."""
    python = folder / task / "bin" / "python"
    if not python.exists():
        python = recorded_interpreter(folder / task, LIBRARIES[task], RECORDED / task)
    chosen = [f"task={task}", "agent=rsl_rl_ppo", f"hardware.interpreters.{task}={python}"]
    return preflight(compose([*chosen, *overrides], [ROOT / "conf"]), folder / "outputs").estimate.main


MEASURED = [
    ("isaaclab", 4, 1.379),
    ("isaaclab", 256, 1.426),
    ("isaaclab", 1024, 1.564),
    ("mjlab", 4, 0.959),
    ("mjlab", 512, 0.998),
]
"""Option of `task`, environments, peak of the worker in GiB: the flat H1 and the flat Go1, see docs/measured.md."""


@pytest.mark.parametrize(("task", "envs", "peak"), MEASURED)
def test_the_estimate_is_near_the_measured_peak(tmp_path, task, envs, peak):
    total = sum(estimated(tmp_path, task, f"env.num_envs={envs}").values()) / GIB
    assert total == pytest.approx(peak, rel=0.2)


@pytest.mark.parametrize("task", LIBRARIES)
def test_too_many_envs_are_refused_with_how_many_fit(tmp_path, monkeypatch, task):
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 4 * GIB)
    with pytest.raises(ConfigError) as caught:
        estimated(tmp_path, task, "env.num_envs=1000000")
    assert_names(str(caught.value), "4.0 GiB")
    (fits,) = re.findall(r"env\.num_envs=(\d+)", str(caught.value))
    assert sum(estimated(tmp_path, task, f"env.num_envs={fits}").values()) <= 4 * GIB


@pytest.mark.parametrize("task", LIBRARIES)
def test_an_interpreter_outside_of_a_virtual_environment_is_asked_for_its_packages(tmp_path, task):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    chosen = [f"task={task}", "agent=rsl_rl_ppo", f"hardware.interpreters.{task}={python}"]
    with raises_naming(ConfigError, python, f"make {task}"):
        preflight(compose(chosen, [ROOT / "conf"]), tmp_path / "outputs")


def test_room_for_more_constraints_takes_more_memory_for_each_env(tmp_path):
    def of_thousand(*setting: str) -> int:
        few, many = (estimated(tmp_path, "mjlab", f"env.num_envs={n}", *setting)["env"] for n in (1, 1001))
        return many - few

    assert of_thousand("env.mjlab.sim.njmax=5000") > of_thousand()


def test_the_solver_of_a_gpu_takes_none_of_this_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("regimen.orchestration.preflight_report.NVIDIA", (Path("/dev/null"),))
    cpu, gpu = (estimated(tmp_path, "mjlab", f"hardware={name}", "env.num_envs=1000")["env"] for name in ("cpu", "gpu"))
    assert gpu < cpu


def leaf(value: object) -> dict[str, object]:
    return {"k": ["any"], "n": True, "v": value}


def fields(**nodes: object) -> dict[str, object]:
    return {"n": True, "f": {name: node if isinstance(node, dict) else leaf(node) for name, node in nodes.items()}}


def test_generated_ground_counts_by_its_area_and_only_where_it_is_used():
    generator = fields(size=[8.0, 8.0], num_rows=10, num_cols=20)
    terrain = fields(terrain_type="generator", terrain_generator=generator)
    described = TaskDescription(ISAAC_LAB, "manager", {}, fields(scene=fields(terrain=terrain)))

    def ground(**settings: object) -> int:
        return memory.of_task(described, {"scene": {"terrain": settings}}, 1, on_gpu=False)

    plane, whole = ground(terrain_type="plane"), ground()
    assert whole > plane
    assert ground(terrain_generator={"num_rows": 5}) - plane == pytest.approx((whole - plane) / 2)
    assert ground(terrain_generator=None) == plane
