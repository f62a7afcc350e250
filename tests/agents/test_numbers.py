"""Numbers with which a library trains, though it learns nothing from them, are refused by their key."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from helpers.messages import assert_names
from regimen.config.compose import compose

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.mark.parametrize(
    ("agent", "argument", "key"),
    [
        ("skrl_ppo", "agent.trainer.timesteps=-3", "trainer.timesteps=-3"),
        ("skrl_ppo", "agent.agent.mini_batches=0", "agent.mini_batches=0"),
        ("skrl_ppo", "agent.agent.learning_rate=-1", "agent.learning_rate=-1"),
        ("skrl_ppo", "agent.agent.learning_rate=[1e-3,0]", "agent.learning_rate.1=0"),
        ("rsl_rl_ppo", "agent.algorithm.learning_rate=-1", "algorithm.learning_rate=-1"),
        ("rl_games", "agent.params.config.learning_rate=-1", "params.config.learning_rate=-1"),
    ],
)
def test_a_number_out_of_its_range_is_refused(agent: str, argument: str, key: str) -> None:
    if agent == "rl_games" and importlib.util.find_spec("rl_games") is None:
        pytest.skip("rl_games is not installed")
    right = compose(["task=reach", f"agent={agent}"], [CONF])
    assert list(right.config.agent.problems(right.plain)) == []
    wrong = compose(["task=reach", f"agent={agent}", argument], [CONF])
    (line,) = wrong.config.agent.problems(wrong.plain)
    assert_names(line, key)
