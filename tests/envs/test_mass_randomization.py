"""Masses that differ from env to env, on the real Go2."""

from __future__ import annotations

import pytest
import torch

from helpers.messages import assert_names
from helpers.tasks import open_config, task_config
from regimen.config.schema import Config
from regimen.envs.mass_randomization import MassRangeCfg, randomize_mass

ENV = {"robot": "go2"}


def test_each_env_has_its_own_mass_and_keeps_it() -> None:
    config = Config(env=task_config("go2_flat", num_envs=16))
    randomize_mass(config, MassRangeCfg(True, 0.7, 1.3))
    env = open_config(config.env)
    env.reset(seed=3)
    base, robot = env.world.model.body("base").id, env.robot
    scale = env.step(torch.zeros(16, 12))[-1]["labels"]["mass_scale"]
    total = env.world.batch.expand("body_mass").sum(1)
    assert torch.allclose(torch.tensor(total, dtype=torch.float32) / robot.total_mass, scale, atol=1e-3)
    assert scale.min() > 0.7 and scale.max() < 1.3 and scale.std() > 0.1
    state = env.state_dict()
    env.reset()
    assert torch.equal(env.step(torch.zeros(16, 12))[-1]["labels"]["mass_scale"], scale), "an episode later"
    env.reset(seed=4)
    other = env.step(torch.zeros(16, 12))[-1]["labels"]["mass_scale"]
    assert not torch.equal(other, scale)
    env.load_state_dict(state)
    assert torch.equal(env.step(torch.zeros(16, 12))[-1]["labels"]["mass_scale"], scale), "saved and restored"
    assert env.world.batch.expand("body_mass")[0, base] == pytest.approx(6.921 + (scale[0].item() - 1) * 15.206, 1e-5)
    env.close()


def test_switched_off_it_changes_nothing() -> None:
    config = Config(env=task_config("go2_flat"))
    before = dict(config.env.events)
    randomize_mass(config, MassRangeCfg())
    assert config.env.events == before
    randomize_mass(config, MassRangeCfg(True))
    assert config.env.events["add_base_mass"] is None and config.env.events["mass_scale"].mode == "startup"


@pytest.mark.parametrize(
    ("low", "high", "env", "names"),
    [
        (0.0, 1.2, ENV, ("domain_randomization.mass_range_min=0",)),
        (1.3, 1.2, ENV, ("domain_randomization.mass_range_min=1.3", "mass_range_max=1.2")),
        (0.5, 1.2, ENV, ("domain_randomization.mass_range_min=0.5", "go2", "0.590")),
        (0.8, 1.2, {"robot": "reach_arm"}, ("domain_randomization.enabled=true", "reach_arm", "body_mass")),
        (0.8, 1.2, {"num_envs": 4}, ("domain_randomization.enabled=true", "robot")),
    ],
)
def test_wrong_ranges_are_told(low: float, high: float, env: dict[str, str], names: tuple[str, ...]) -> None:
    [line] = MassRangeCfg(True, low, high).problems(env)
    assert_names(line, *names)
    assert MassRangeCfg(False, low, high).problems(env) == []


def test_the_ranges_of_the_original_are_possible() -> None:
    for low, high in ((0.8, 1.2), (0.7, 1.3), (0.6, 1.4)):
        assert MassRangeCfg(True, low, high).problems(ENV) == []
