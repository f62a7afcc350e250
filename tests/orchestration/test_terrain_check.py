"""What a task on uneven ground asks for is refused before the simulator starts, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import raises_naming
from helpers.tasks import CONF
from regimen.config.compose import compose
from regimen.orchestration.memory_check import estimate
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors

ROUGH = "task=go2_rough"
SCAN = "env.observations.policy.terms.height_scan"


def check(folder: Path, *overrides: str) -> dict[str, int]:
    """The estimated memory of a run that may start."""
    return preflight(compose(list(overrides), [CONF]), folder).estimate.main


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["env.terrain=null"], ["env.curriculum.terrain_levels=null"]),
        (["sim=remote"], ["remote", "mujoco", "mujoco_warp", "genesis", "isaaclab", "env.terrain=null"]),
        (["env.terrain.kinds.flat.func=flatt"], ["env.terrain.kinds.flat.func", "flat"]),
        (["env.terrain.kinds.rough.params.hight=1"], ["env.terrain.kinds.rough.params.hight", "height"]),
        (["env.terrain.kinds.rouh=null"], ["rouh", "rough"]),
        (["env.terrain.kinds.rough.proportion=-1"], ["env.terrain.kinds.rough.proportion"]),
        (["env.terrain.levels=0"], ["env.terrain.levels"]),
        (["env.terrain.cell=0"], ["env.terrain.cell"]),
        (["env.terrain.tile_size=0.3"], ["env.terrain.tile_size", "0.8"]),
        (["env.terrain.start_level=10"], ["env.terrain.start_level", "9"]),
        (["env.terrain.cell=0.0005"], ["memory"]),
        ([f"{SCAN}.params.spacing=0"], [f"{SCAN}.params.spacing"]),
        ([f"{SCAN}.params={{size: [300.0, 1.0]}}"], [f"{SCAN}.params.size", "200"]),
        (["+env.events.clip={func: reset_from_motion, mode: reset}"], ["env.events.clip", "env.terrain=null"]),
    ],
)
def test_a_task_that_cannot_have_its_ground_is_refused(tmp_path: Path, overrides: list[str], names: list[str]) -> None:
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        check(tmp_path, ROUGH, *overrides)


def test_the_ground_and_the_scan_count_in_the_memory_of_a_run(tmp_path: Path) -> None:
    flat, rough, fine = (
        check(tmp_path, *words)
        for words in (["task=go2_flat"], [ROUGH, "env.num_envs=512"], [ROUGH, "env.terrain.cell=0.05"])
    )
    assert "ground" not in flat and fine["ground"] == pytest.approx(4 * rough["ground"], rel=0.01)
    assert rough["agent"] > 2 * flat["agent"], "187 of 237 values are heights"


def test_a_simulator_may_keep_more_of_the_ground_than_its_heights() -> None:
    least, most = (
        estimate(compose([ROUGH, f"sim={sim}"], [CONF]), None).main["ground"] for sim in ("mujoco", "isaaclab")
    )
    assert most > 10 * least, "Newton makes a mesh of it"


def test_h1_rough_begins_with_the_walker_on_flat_ground(tmp_path: Path) -> None:
    assert check(tmp_path, "task=h1_rough", "policy=pretrained:h1_flat")["ground"] > 0
