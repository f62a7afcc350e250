"""Real tasks for tests, composed from the project's own YAML without the launcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from regimen.config.task_schema import ManagerEnvCfg
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.robots.robot import load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg

CONF = Path(__file__).resolve().parents[2] / "conf"


def task_config(task: str, **changes: Any) -> ManagerEnvCfg:
    """Return the typed configuration of a task; `changes` are merged over it."""
    layers: list[Any] = [OmegaConf.structured(ManagerEnvCfg)]
    for name in [task, *_bases(task)][::-1]:
        data = yaml.safe_load((CONF / "task" / f"{name}.yaml").read_text())
        data.pop("defaults", None)
        layers.append(data)
    return OmegaConf.to_object(OmegaConf.merge(*layers, changes))


def _bases(task: str) -> list[str]:
    data = yaml.safe_load((CONF / "task" / f"{task}.yaml").read_text())
    return [d for d in data.get("defaults", []) if d != "_self_"]


def make_env(task: str, num_envs: int, seed: int = 0, threads: int = 1, **changes: Any) -> ManagerEnv:
    """Open a task with `num_envs` envs on MuJoCo."""
    return open_config(task_config(task, num_envs=num_envs, **changes), seed, threads)


def open_config(cfg: ManagerEnvCfg, seed: int = 0, threads: int = 1) -> ManagerEnv:
    """Open a typed task on MuJoCo."""
    robot = load(cfg.robot)
    return ManagerEnv(cfg, robot, MujocoWorld(MujocoWorldCfg(), robot, cfg.num_envs, threads), seed)
