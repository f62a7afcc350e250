"""Agents of rl_games in a run: exact resume, seeds, true values at time-outs, safe checkpoints, policies, players."""

from __future__ import annotations

import signal
from typing import Any

import pytest

pytest.importorskip("rl_games", reason="make rl_games")

import torch

from agents.test_skrl_ppo import assert_equal
from helpers.messages import raises_naming
from helpers.point_env import PointEnv
from helpers.rl_games_parts import PPO, SAC, changed, rl_games_config
from helpers.trainings import new_run, train
from regimen.agents.rl_games import RlGames
from regimen.agents.runner import library
from regimen.agents.training_session import TrainingSession
from regimen.config.schema import Config
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, StopRequested

PARTS = "helpers.rl_games_parts"
RING = {"algo": {"ring": f"{PARTS}:RingAgent"}, "model": {"quiet": f"{PARTS}:QuietModel"}}
RING |= {"network": {"wide": f"{PARTS}:WideBuilder"}, "player": {"patient": f"{PARTS}:PatientPlayer"}}
OWN = changed(PPO, ring_shift=3, network={"name": "wide", "width_factor": 2})
OWN |= {"algo": {"name": "ring"}, "model": {"name": "quiet"}}
RECURRENT = changed(PPO, network={"rnn": {"name": "gru", "units": 8, "layers": 1}}, seq_len=4)


def build(params: dict[str, Any], seed: int = 0, num_envs: int = 8, **components: Any) -> RlGames:
    env = PointEnv(num_envs)
    return RlGames(rl_games_config(params, **components).agent, env.io, num_envs, torch.device("cpu"), seed)


def final(run: Any) -> dict[str, Any]:
    return {**checkpoint.load(run.checkpoints / "last.pt"), "run": ""}


def trained(folder: Any, config: Config) -> dict[str, Any]:
    run = new_run(folder, config)
    train(run, config)
    return final(run)


@pytest.mark.parametrize(
    ("params", "components"),
    [(PPO, {}), (RECURRENT, {}), (SAC, {}), (OWN, RING)],
    ids=["ppo", "recurrent", "sac", "a user's agent with a ring"],
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, params, components):
    config = rl_games_config(params, **components)
    whole = new_run(tmp_path, config)
    train(whole, config)

    parts = new_run(tmp_path, config)
    parts.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(parts, config)  # stops after the first epoch
    torch.manual_seed(99)
    parts.stop_signal = None
    train(parts, config)

    assert_equal(final(whole), final(parts))
    for row, other in zip(whole.metrics(), parts.metrics(), strict=True):
        assert {k: v for k, v in row.items() if k not in ("time_s", "Perf/samples_per_s")} == {
            k: v for k, v in other.items() if k not in ("time_s", "Perf/samples_per_s")
        }
    assert parts.record.warnings == whole.record.warnings == []
