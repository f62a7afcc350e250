"""FastSAC in two processes: as one with the same global batch, and a run that stops and resumes together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agents.fast_sac.sac import sac_config
from agents.test_skrl_ppo import assert_equal
from helpers.messages import raises_naming
from helpers.recorded_runs import recorded
from helpers.supervised_runs import start, wait_for
from helpers.tasks import CONF
from helpers.worker_pairs import learnt_by_one_and_two, new_pair
from regimen.config.compose import compose
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint
from regimen.runs.run import Run
from regimen.stages.train import _own_part
from regimen.system.errors import CheckpointError, ConfigError

PAIR = Path(__file__).parent / "sac_pair.py"


@pytest.mark.slow
def test_two_processes_learn_what_one_with_the_same_batch_learns(tmp_path):
    learnt = learnt_by_one_and_two(PAIR, tmp_path)
    for one, two in zip(*learnt, strict=True):
        assert torch.allclose(one, two, atol=2e-5)
    fresh = torch.load(tmp_path / "one")[1]
    assert not torch.allclose(fresh, torch.zeros_like(fresh))


def work(run: Run, *, stop: bool = False) -> str:
    """Start a run, or go on with it; return the status it ended with."""
    process = start(run)
    if stop:
        wait_for(lambda: (run.dir / "metrics.jsonl").exists() and len(run.metrics()) > 1)
        process.terminate()
    screen, _ = process.communicate(timeout=600)
    print(screen)
    return run.status


@pytest.mark.slow
def test_two_processes_stop_together_and_resume_bit_for_bit(tmp_path):
    whole, parts = (new_pair(tmp_path, sac_config("reach", 8, steps=96, num_updates=2)) for _ in range(2))
    assert work(whole) == "finished"
    assert recorded(whole)["headline"]["samples"] == 8 * 96
    assert (work(parts, stop=True), work(parts)) == ("killed", "finished")
    first, second = (checkpoint.load(r.checkpoints / "last.pt") for r in (whole, parts))
    assert len(first["training"]["workers"]) == 1
    assert_equal({**first, "run": ""}, {**second, "run": ""})
    mine, others = (
        first["training"]["agent"]["obs"]["policy"],
        first["training"]["workers"][0]["agent"]["obs"]["policy"],
    )
    assert mine.shape == others.shape == (4, mine.shape[1]) and not torch.equal(mine, others)


def test_a_checkpoint_of_two_processes_is_not_resumed_by_one():
    with raises_naming(CheckpointError, 2, 1):
        _own_part({"agent": {}, "workers": [{}]})


def test_envs_that_cannot_be_divided_are_refused(monkeypatch):
    from regimen.system.distributed import share_of

    monkeypatch.setenv("WORLD_SIZE", "4")
    assert share_of(16) == 4
    with raises_naming(ConfigError, "env.num_envs=18", 4):
        share_of(18)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (
            ["agent=fast_sac", "stage=evaluate", "policy=nothing"],
            ["hardware.processes=2", "agent=fast_sac", "stage=evaluate"],
        ),
        (["agent=rl_games"], ["hardware.processes=2", "agent=rl_games", "stage=train"]),
        (["agent=fast_sac", "env.num_envs=15"], ["env.num_envs=15", 2]),
    ],
)
def test_what_two_processes_cannot_do_is_refused_before_the_start(tmp_path, overrides, names):
    with raises_naming(ConfigError, *names):
        preflight(compose(["task=reach", "hardware=multi", *overrides], [CONF]), tmp_path)


def test_a_worker_is_expected_to_hold_its_share_of_the_ring(tmp_path):
    one, two = (
        preflight(
            compose(["task=reach", "agent=fast_sac", "env.num_envs=4096", f"hardware.processes={n}"], [CONF]), tmp_path
        )
        for n in (1, 2)
    )
    assert two.estimate.main["agent"] < 0.6 * one.estimate.main["agent"]
