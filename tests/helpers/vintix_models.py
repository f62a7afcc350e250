"""Small histories and configurations for tests of Vintix."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers.history_files import made, write
from regimen.agents.vintix.agent import VintixCfg
from regimen.agents.vintix.config import ModelCfg, SamplingCfg, TrainingCfg
from regimen.agents.vintix.model import Group, VintixNet
from regimen.config.schema import Config, HardwareCfg
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.distill import Distill, DistillCfg

SMALL: dict[str, Any] = {"context": 16, "layers": 2, "heads": 2, "hidden": 18}


def net(context: int = 32, discrete: bool = False, **sizes: Any) -> VintixNet:
    """Return a small network of one group `g`: 3 observed values, 2 actions; far enough from its first weights."""
    torch.manual_seed(0)
    cfg = ModelCfg(**({"context": context, "layers": 3, "heads": 4, "hidden": 34} | sizes))
    model = VintixNet({"g": Group(3, 2, discrete)}, cfg)
    with torch.no_grad():
        for weight in model.blocks.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def inputs(batch: int, length: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return observation, action, reward and where episodes begin, (batch, length, …)."""
    rng = torch.Generator().manual_seed(seed)
    observation, action = (torch.randn(batch, length, size, generator=rng) for size in (3, 2))
    reward = torch.randn(batch, length, generator=rng)
    begins = (torch.arange(length) % 7 == 0).expand(batch, -1)
    return observation, action, reward, begins


def histories(folder: Path, count: int = 4, episodes: int = 12, seed: int = 0, **changes: Any) -> Path:
    """Write histories that improve, episodes of 7 steps; return the path of histories.json."""
    rng = np.random.default_rng(seed)
    table = made([np.arange(episodes) + 0.1 * rng.normal(size=episodes) for _ in range(count)], 7)
    table["proprio_observation"] += rng.normal(size=table["proprio_observation"].shape).astype(np.float32)
    return write(folder, table, **changes)


def config_for(data: list[Path], stage: DistillCfg | None = None, seed: int = 3, **training: Any) -> Config:
    """Return the configuration of a short training on datasets."""
    learning = {"epochs": 2, "batch_size": 4, "accumulation": 1, "save_every": 1, "log_interval": 2} | training
    sampling = SamplingCfg(trajectory_sparsity=8, held_out=0.25)
    return Config(
        env=None,
        agent=VintixCfg(model=ModelCfg(**SMALL), sampling=sampling, training=TrainingCfg(**learning)),
        hardware=HardwareCfg(threads=1),
        stage=stage or DistillCfg(),
        data=[str(path) for path in data],
        seed=seed,
        choices={"agent": "vintix_small", "stage": "distill", "task": "made"},
    )


def new_run(root: Path, config: Config) -> Run:
    """Return a claimed directory."""
    return Run(create_run_dir(root, {"stage": asdict(config.stage)}, ["launch.py"], [], repository=root))


def distill(root: Path, config: Config) -> Run:
    """Train to the end."""
    run = new_run(root, config)
    Distill(config.stage)(run, config)
    return run
