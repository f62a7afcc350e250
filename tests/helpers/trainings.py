"""Short real trainings for tests: the stage, the agent and the task as a run composes them, without the launcher."""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from helpers.tasks import CONF, task_config
from regimen.agents.skrl_ppo import SkrlPpoCfg
from regimen.config.schema import Config, HardwareCfg
from regimen.envs.sims.mujoco import MujocoWorldCfg
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.train import Train, TrainCfg


def training_config(task: str, timesteps: int, num_envs: int, interval: int = 24, **agent: Any) -> Config:
    """The configuration of a short training of `task` with skrl's PPO."""
    sections = yaml.safe_load((CONF / "agent" / "skrl_ppo.yaml").read_text())
    sections["agent"] |= {"learning_epochs": 2, "mini_batches": 2, **agent}
    sections["trainer"]["timesteps"] = timesteps
    for role in ("policy", "value"):
        sections["models"][role]["network"][0]["layers"] = [32, 32]
    return Config(
        env=task_config(task, num_envs=num_envs),
        sim=MujocoWorldCfg(),
        agent=SkrlPpoCfg(**sections),
        hardware=HardwareCfg(threads=1),
        stage=TrainCfg(checkpoint_interval=interval),
        seed=7,
        choices={"task": task, "sim": "mujoco", "agent": "skrl_ppo", "hardware": "cpu", "stage": "train"},
    )


def new_run(root: Path, config: Config) -> Run:
    """A claimed directory for `config`."""
    return Run(create_run_dir(root, asdict(config), ["launch.py"], [], repository=root))


def train(run: Run, config: Config) -> None:
    """Train, or continue from the run's last checkpoint."""
    Train(config.stage)(run, copy.deepcopy(config))
