"""Real tasks for tests, composed from the project's own YAML without the launcher."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from regimen.config.schema import Config, HardwareCfg
from regimen.config.task_schema import ManagerEnvCfg
from regimen.config.yaml_io import read_yaml
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.sims.mujoco import MujocoWorldCfg

CONF = Path(__file__).resolve().parents[2] / "conf"


def task_config(task: str, **changes: Any) -> ManagerEnvCfg:
    """Return the typed configuration of a task; `changes` are merged over it."""
    return OmegaConf.to_object(OmegaConf.merge(_files_of(task), changes))


@cache
def _files_of(task: str) -> DictConfig:
    """The file of a task over those that it names, merged; read once in a process, and not to be changed."""
    return OmegaConf.merge(OmegaConf.structured(ManagerEnvCfg), *_layers(task))


def _layers(task: str) -> list[dict[str, Any]]:
    """The contents of the files of a task, the base of all first."""
    data = read_yaml(CONF / "task" / f"{task}.yaml")
    bases = [name for name in data.pop("defaults", []) if name != "_self_"]
    return [*(layer for base in bases for layer in _layers(base)), data]


def make_env(task: str, num_envs: int, seed: int = 0, threads: int = 1, **changes: Any) -> ManagerEnv:
    """Open a task with `num_envs` envs on MuJoCo."""
    return open_config(task_config(task, num_envs=num_envs, **changes), seed, threads)


def open_config(cfg: ManagerEnvCfg, seed: int = 0, threads: int = 1) -> ManagerEnv:
    """Open a typed task on MuJoCo."""
    hardware = HardwareCfg(threads=threads)
    return ManagerEnv.open(Config(env=cfg, sim=MujocoWorldCfg(), hardware=hardware, seed=seed))
