"""PPO of skrl and rsl_rl in two processes: as one with the same global batch; they stop, fail and resume together."""

from __future__ import annotations

import copy
import signal
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from agents.rsl_rl.test_ppo import config as rsl_rl_config
from agents.test_skrl_ppo import assert_equal
from helpers.messages import raises_naming
from helpers.point_env import PointEnv, PointEnvCfg
from helpers.recorded_runs import recorded
from helpers.supervised_runs import start, wait_for
from helpers.tasks import CONF
from helpers.trainings import training_config
from helpers.worker_pairs import learnt_by_one_and_two, new_pair
from regimen.config.compose import compose
from regimen.config.schema import Config
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint
from regimen.runs.run import Run
from regimen.system import distributed
from regimen.system.errors import ConfigError
from regimen.system.files import read_json

PAIR = Path(__file__).parent / "ppo_pair.py"
ITERATIONS = 20


@pytest.mark.slow
def test_two_processes_learn_what_one_with_the_same_batch_learns(tmp_path: Path) -> None:
    one, two = learnt_by_one_and_two(PAIR, tmp_path)
    assert one.keys() == two.keys() == {"rsl_rl", "recurrent", "curious", "symmetric", "skrl"}
    for agent, learnt in one.items():
        for name, tensor in learnt["tensors"].items():
            assert torch.allclose(tensor, two[agent]["tensors"][name], atol=2e-5), (agent, name)
        assert learnt["losses"] == pytest.approx(two[agent]["losses"], rel=1e-3, abs=1e-5), agent


def of_skrl() -> Config:
    return training_config("reach", ITERATIONS * 24, num_envs=8)


def of_rsl_rl() -> Config:
    curious = {"rnd_cfg": {"num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8], "weight": 0.5}}
    curious["rnd_cfg"] |= {"reward_normalization": True}
    groups = {name: ["policy"] for name in ("actor", "critic", "rnd_state")}
    return rsl_rl_config("reach", ITERATIONS, 8, algorithm=curious, obs_groups=groups)


def work(run: Run, number: int | None = None) -> str:
    """Start a run, or go on with it; return the status it ended with.

    SIGINT goes to the supervisor, as Ctrl-C does, SIGKILL to one of the two workers.
    """
    before, process = len(run.metrics()) if (run.dir / "metrics.jsonl").exists() else 0, start(run)
    if number is not None:
        wait_for(lambda: (run.dir / "metrics.jsonl").exists() and len(run.metrics()) > before + 2)
        process.send_signal(number) if number == signal.SIGINT else workers(process.pid)[-1].kill()
    screen, _ = process.communicate(timeout=300)
    print(screen)
    return run.status


def workers(supervisor: int) -> list[psutil.Process]:
    """The workers of a run, without torch's launcher of them."""
    found = psutil.Process(supervisor).children(recursive=True)
    return [p for p in found if "regimen.runs.worker" in p.cmdline() and "torch.distributed.run" not in p.cmdline()]


@pytest.mark.slow
@pytest.mark.parametrize("config", [of_skrl, of_rsl_rl], ids=["skrl_ppo", "rsl_rl_ppo"])
def test_two_processes_stopped_and_killed_resume_bit_for_bit(tmp_path, config):
    whole, parts = new_pair(tmp_path, config()), new_pair(tmp_path, config())
    assert work(whole) == "finished"
    assert recorded(whole)["headline"]["samples"] == 8 * ITERATIONS * 24
    assert work(parts, signal.SIGINT) == "killed"
    assert work(parts, signal.SIGKILL) in ("failed", "killed")
    assert len(parts.metrics()) < ITERATIONS
    assert work(parts) == "finished"
    first, second = (checkpoint.load(r.checkpoints / "last.pt") for r in (whole, parts))
    assert_equal({**first, "run": ""}, {**second, "run": ""})
    (other,) = first["training"]["workers"]
    mine, theirs = (part["agent"]["obs"]["policy"] for part in (first["training"], other))
    assert mine.shape == theirs.shape == (4, mine.shape[1]) and not torch.equal(mine, theirs)
    rows = [{k: v for k, v in row.items() if k.startswith(("Loss/", "Train/"))} for row in whole.metrics()]
    again = [{k: v for k, v in row.items() if k.startswith(("Loss/", "Train/"))} for row in parts.metrics()]
    assert rows == again


class FailingEnv(PointEnv):
    """Points whose second process reads a NaN in the middle of the second rollout."""

    steps = 0

    def observe(self) -> dict[str, torch.Tensor]:
        self.steps += 1
        obs = super().observe()
        if self.steps == 71 and distributed.rank() == 1:
            obs["policy"][0, 0] = torch.nan
        return obs


@dataclass
class FailingEnvCfg(PointEnvCfg):
    _target_: str = "agents.test_ppo_workers.FailingEnv"


@pytest.mark.slow
def test_a_worker_that_diverges_ends_the_others_and_is_named(tmp_path: Path) -> None:
    config = of_rsl_rl()
    config.env = FailingEnvCfg(num_envs=8)
    run = new_pair(tmp_path, config)
    assert work(run) == "diverged"
    error = read_json(run.logs / "error.json")
    assert (error["kind"], error["rank"]) == ("DivergedError", 1)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["agent=skrl_ppo", "env.num_envs=15"], ["env.num_envs=15", "env.num_envs=14"]),
        (["agent=skrl_ppo", "agent.agent.kl_threshold=0.02"], ["agent.kl_threshold=0.02", "hardware.processes=1"]),
        (["agent=skrl_ppo", "env.num_envs=2", "agent.agent.mini_batches=32"], ["agent.mini_batches=32", 24]),
        (
            ["agent=rsl_rl_ppo", "+agent.algorithm.normalize_advantage_per_mini_batch=true"],
            ["algorithm.normalize_advantage_per_mini_batch=true", "hardware.processes=1"],
        ),
        (
            ["agent=rsl_rl_ppo", "env.num_envs=6", "agent.actor.class_name=RNNModel", "+agent.actor.rnn_hidden_dim=8"],
            ["algorithm.num_mini_batches=4", "agent.algorithm.num_mini_batches=3"],
        ),
        (
            ["agent=rsl_rl_ppo", "agent.actor.class_name=RNNModel", "+agent.obs_groups.rnd_state=[policy]",
             "+agent.algorithm.rnd_cfg={num_outputs: 1, predictor_hidden_dims: [8], target_hidden_dims: [8]}"],
            ["algorithm.rnd_cfg", "agent.algorithm.rnd_cfg=null"],
        ),
    ],
)  # fmt: skip
def test_what_two_processes_would_learn_otherwise_is_refused_before_the_start(
    tmp_path: Path, overrides: list[str], names: list[str]
) -> None:
    composed = compose(["task=reach", "hardware=multi", *overrides], [CONF])
    with raises_naming(ConfigError, *names):
        preflight(copy.deepcopy(composed), tmp_path)
