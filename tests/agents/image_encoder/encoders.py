"""Small encoders of tests: their configuration, and their training through the stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.trainings import new_run
from regimen.agents.image_encoder.config import AugmentationCfg, ImageEncoderCfg
from regimen.config.schema import Config, HardwareCfg
from regimen.runs.run import Run
from regimen.stages.distill import Distill, DistillCfg


def encoder_config(*data: Path, memory_gb: float = 1.0, **agent: Any) -> Config:
    """The configuration of a short training."""
    small = {"channels": [8, 8, 8], "features": 8, "hidden": 32, "epochs": 2, "batch_size": 16, "learning_rate": 3e-3}
    small["augmentation"] = AugmentationCfg(0, 0.05)
    return Config(
        env=None,
        agent=ImageEncoderCfg(**(small | agent)),
        hardware=HardwareCfg(threads=1),
        stage=DistillCfg(memory_gb=memory_gb),
        data=[str(path) for path in data],
        choices={"agent": "image_encoder", "stage": "distill", "task": "squares"},
    )


def distill(root: Path, config: Config) -> tuple[Run, dict[str, Any]]:
    """Train an encoder; return its run and its result."""
    run = new_run(root, config)
    Distill(config.stage)(run, config)
    return run, json.loads((run.dir / "result.json").read_text())
