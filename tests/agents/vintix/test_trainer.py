"""Training: what a step means whatever it is cut into, resume, several processes, learning at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import multiprocessing

from helpers.messages import raises_naming
from helpers.vintix_models import SMALL, config_for, distill, histories, new_run
from regimen.agents.vintix.config import ModelCfg, SamplingCfg, TrainingCfg
from regimen.agents.vintix.loss import LEAST_SPREAD, optimizer_of, window_loss
from regimen.agents.vintix.model import Group, VintixNet
from regimen.agents.vintix.trainer import Training
from regimen.agents.vintix.windows import load
from regimen.runs import checkpoint
from regimen.runs.run import Run
from regimen.stages.distill import Distill
from regimen.system import distributed
from regimen.system.errors import ConfigError, DivergedError, StopRequested

PATH = "REGIMEN_TEST_HISTORIES"


class Nowhere:
    """No checkpoints, no metrics."""

    leads = False

    def load(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def training(paths: list[Path], **fields: Any) -> Training:
    cfg = TrainingCfg(**({"epochs": 1, "batch_size": 3, "accumulation": 2} | fields))
    tasks = load(paths, SamplingCfg(trajectory_sparsity=9, held_out=0.0), 16, 0, 2**30)
    torch.manual_seed(0)
    net = VintixNet({task.group: task.about for task in tasks}, ModelCfg(**SMALL))
    return Training(net, tasks, cfg, Nowhere(), Nowhere(), seed=0)


def gradient(learner: Training, windows: np.ndarray) -> torch.Tensor:
    """Return the gradient of one optimiser step, before it is clipped."""
    for numbers in learner.schedule.share(windows, learner.rank, learner.processes):
        learner._backward(numbers, len(windows))
    learner._share_gradients()
    return torch.cat([p.grad.flatten() for p in learner.parameters if p.grad is not None])


def two_groups(folder: Path) -> list[Path]:
    return [histories(folder / name, task_name=name, group=name, seed=i) for i, name in enumerate("ab")]


@pytest.mark.parametrize("count", [12, 7])  # the last group of an epoch may be incomplete
def test_accumulated_batches_give_the_gradient_of_one_batch(tmp_path, count):
    paths, windows = two_groups(tmp_path), np.arange(count)
    whole = gradient(training(paths, batch_size=12, accumulation=1), windows)
    for size in (1, 5):
        assert torch.allclose(gradient(training(paths, batch_size=size), windows), whole, atol=1e-6)
    assert whole.norm() > 0.01


def test_sixteen_bits_give_nearly_the_same_gradient(tmp_path):
    paths, windows = two_groups(tmp_path), np.arange(6)
    full, half = (gradient(training(paths, precision=name), windows) for name in ("auto", "bf16"))
    assert half.dtype == torch.float32 and not torch.equal(full, half)
    assert torch.nn.functional.cosine_similarity(full, half, dim=0) > 0.97


def test_the_loss_is_a_mean_over_tokens_of_both_kinds_of_action():
    out, target = torch.zeros(2, 5, 3), torch.zeros(2, 5, 3)
    target[0] = 2.0
    assert window_loss(out, target, discrete=False).tolist() == [4.0, 0.0]
    chosen = torch.nn.functional.one_hot(torch.ones(2, 5, dtype=torch.long), 3).float()
    assert window_loss(out, chosen, discrete=True).tolist() == pytest.approx([np.log(3)] * 2)


def test_the_loss_of_actions_with_a_spread_is_least_at_their_own_mean_and_deviation():
    torch.manual_seed(0)
    target = 0.3 + 0.5 * torch.randn(1, 20_000, 2)

    def loss(mean: float, deviation: float) -> float:
        raw = float(np.log(np.expm1(deviation - LEAST_SPREAD)))
        told = torch.tensor([mean, mean, raw, raw]).expand(1, 20_000, 4)
        return window_loss(told, target, discrete=False).item()

    best = loss(0.3, 0.5)
    assert all(loss(*other) > best + 0.01 for other in ((0.3, 0.7), (0.3, 0.35), (0.5, 0.5), (0.1, 0.5)))


def test_only_weights_of_linear_layers_decay():
    net = VintixNet({"g": Group(3, 2)}, ModelCfg(**SMALL))
    decayed, others = optimizer_of(net, TrainingCfg(weight_decay=0.1)).param_groups
    names = {id(p): name for name, p in net.named_parameters()}
    assert decayed["weight_decay"] == 0.1 and others["weight_decay"] == 0.0
    assert all(p.ndim == 2 for p in decayed["params"])
    rest = {names[id(p)] for p in others["params"]}
    assert {"encoders.g.no_action", "blocks.0.norm1.weight", "blocks.0.attention.qkv.bias"} <= rest
    assert len(decayed["params"]) + len(others["params"]) == len(names)


@pytest.mark.slow
def test_it_learns_and_keeps_an_epoch_by_the_number_that_is_complete(tmp_path):
    path = histories(tmp_path / "h", count=4)
    run = distill(tmp_path, config_for([path], epochs=5, save_every=2, learning_rate=1e-2))
    rows = [row for row in run.metrics() if "Train/val_loss" in row]
    assert len(rows) == 5 and rows[-1]["Train/epoch_loss"] < rows[0]["Train/epoch_loss"]
    logged = [row for row in run.metrics() if "Train/action_loss" in row][-1]
    wanted = {"Train/learning_rate", "Train/grad_norm", "Perf/tokens_per_s", "Perf/data_share"}
    assert wanted <= logged.keys() and logged["Train/learning_rate"] == 0.0, "the last step has the least rate"
    names = {file.name for file in run.checkpoints.iterdir()}
    assert {"0002_epoch.pt", "0004_epoch.pt", "0005_epoch.pt", "last.pt", "best.pt"} <= names
    assert "training" not in checkpoint.load(run.checkpoints / "0005_epoch.pt")
    last, fifth = (checkpoint.load(run.checkpoints / f"{name}.pt") for name in ("last", "0005_epoch"))
    assert all(torch.equal(v, fifth["policy"]["network"][k]) for k, v in last["policy"]["network"].items())
    assert last["metric"] == pytest.approx(-rows[-1]["Train/val_loss"])


@pytest.mark.slow
@pytest.mark.parametrize(("checks", "fields"), [(3, {}), (8, {"accumulation": 2, "save_every": 2})])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, checks, fields, monkeypatch):
    config = config_for([histories(tmp_path / "h", count=6)], **({"epochs": 3} | fields))
    config.agent.model.dropout = 0.1
    whole, parts, asked = distill(tmp_path, config), new_run(tmp_path, config), []
    really = Run.check_stop

    def check_stop(self: Run, step: int, save: Any) -> None:
        asked.append(step)
        self.stop_signal = signal.SIGTERM if len(asked) == checks else None
        really(self, step, save)

    monkeypatch.setattr(Run, "check_stop", check_stop)
    with pytest.raises(StopRequested):
        Distill(config.stage)(parts, config)
    torch.manual_seed(99)
    Distill(config.stage)(parts, config)
    first, second = (checkpoint.load(run.checkpoints / "last.pt") for run in (whole, parts))
    assert first["step"] == second["step"]
    assert all(torch.equal(v, second["policy"]["network"][k]) for k, v in first["policy"]["network"].items())
    moments = [b["training"]["optimizer"]["state"] for b in (first, second)]
    assert all(torch.equal(v["exp_avg_sq"], moments[1][k]["exp_avg_sq"]) for k, v in moments[0].items())
    timings = ("time_s", "Perf/data_share", "Perf/tokens_per_s")
    rows = [[{k: v for k, v in row.items() if k not in timings} for row in run.metrics()] for run in (whole, parts)]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_the_order_of_datasets_gives_the_same_network(tmp_path):
    paths = two_groups(tmp_path)
    first, second = (distill(tmp_path, config_for(order, epochs=1)) for order in (paths, paths[::-1]))
    networks = [checkpoint.load(run.checkpoints / "last.pt")["policy"]["network"] for run in (first, second)]
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    assert {"Train/action_loss/a", "Train/action_loss/b"} <= first.metrics()[-2].keys()


@pytest.mark.slow
def test_other_data_than_planned_are_refused_on_resume(tmp_path):
    config = config_for([histories(tmp_path / "h")], epochs=1)
    run = distill(tmp_path, config)
    config.agent.training.batch_size = 2
    with raises_naming(ConfigError, "[9, 9]", "[17, 17]"):
        Distill(config.stage)(run, config)


def test_a_gradient_that_is_not_finite_ends_it(tmp_path):
    learner = training([histories(tmp_path)])
    with torch.no_grad():
        learner.net.norm.weight[0] = float("nan")
    with raises_naming(DivergedError, "gradient", "nan", "epoch 1", "step 1"):
        learner.fit()


def _process(rank: int, folder: str) -> None:
    """Be one of two processes: save the gradient of a step and what it learned in an epoch."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    paths = [Path(part) for part in os.environ[PATH].split(":")]
    found = gradient(training(paths, batch_size=2, accumulation=1), np.arange(3))
    learner = training(paths, batch_size=2, accumulation=1)
    learner.fit()
    told = {"gradient": found, "network": dict(learner.net.state_dict()), "loss": learner.loss}
    torch.save(told, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()
    distributed.exit_process(0)


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path, monkeypatch):
    paths = two_groups(tmp_path)
    monkeypatch.setenv(PATH, ":".join(map(str, paths)))
    multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first["gradient"], second["gradient"])
    assert all(torch.equal(v, second["network"][k]) for k, v in first["network"].items())
    assert torch.allclose(gradient(training(paths), np.arange(3)), first["gradient"], atol=1e-6)
    alone = training(paths, batch_size=4, accumulation=1)
    alone.fit()
    assert first["loss"] == second["loss"] == pytest.approx(alone.loss, rel=1e-4)
