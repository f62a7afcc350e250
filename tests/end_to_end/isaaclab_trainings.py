"""Short trainings of a task by Isaac Lab's own wrappers of rsl_rl and of skrl, without the launcher.

    PYTHONPATH=src .venv-isaaclab/bin/python tests/end_to_end/isaaclab_trainings.py <task> <folder>

The folder gets `model_1.pt` and `agents/checkpoints/`, as the libraries write them, and `acted.pt`: observations
(4, d), and the mean actions (4, A) that each library computes for them.
"""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SCENE = ["env.scene.num_envs=4"]


def by_rsl_rl(task: str, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Train for two updates; return observations and actions."""
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, handle_deprecated_rsl_rl_cfg
    from rsl_rl.runners import OnPolicyRunner

    def train(env: Any, agent: Any) -> Any:
        runner = OnPolicyRunner(wrapped := RslRlVecEnvWrapper(env), agent.to_dict(), str(folder), "cpu")
        runner.learn(2)
        observed = wrapped.get_observations().clone()
        return observed["policy"].clone(), runner.get_inference_policy()(observed)

    cfg, agent = configured(task, "rsl_rl")
    agent = handle_deprecated_rsl_rl_cfg(agent, metadata.version("rsl-rl-lib"))
    agent.device = "cpu"
    return opened(task, cfg, lambda env: train(env, agent))


def by_skrl(task: str, folder: Path, observed: torch.Tensor) -> torch.Tensor:
    """Train for two updates; return the actions for observations (4, d)."""
    from isaaclab_rl.skrl import SkrlVecEnvWrapper, import_skrl_runner

    def train(env: Any) -> Any:
        runner = import_skrl_runner("torch")(SkrlVecEnvWrapper(env), agent)
        runner.run()
        runner.agent.enable_training_mode(False, apply_to_models=True)
        return runner.agent.act(observed, None, timestep=0, timesteps=0)[1]["mean_actions"]

    cfg, agent = configured(task, "skrl")
    steps = 2 * agent["agent"]["rollouts"]
    agent["trainer"] |= {"timesteps": steps, "close_environment_at_exit": False}
    experiment = {"directory": str(folder), "experiment_name": "agents", "checkpoint_interval": steps}
    agent["agent"]["experiment"] |= experiment
    return opened(task, cfg, train)


def configured(task: str, library: str) -> tuple[Any, Any]:
    """Return the configurations of a task and of its agent."""
    from isaaclab_tasks.utils.hydra import resolve_task_config

    cfg, agent = resolve_task_config(task, f"{library}_cfg_entry_point", play_mode=False, overrides=SCENE)
    cfg.sim.device = "cpu"
    return cfg, agent


def opened(task: str, cfg: Any, work: Any) -> Any:
    """Return what `work` returns for the open task."""
    import gymnasium
    import torch
    from isaaclab.app import launch_simulation

    with launch_simulation(cfg, {"device": "cpu"}):
        env = gymnasium.make(task, cfg=cfg)
        result = work(env)
        env.close()
    return tuple(t.detach().clone() for t in result) if isinstance(result, tuple) else torch.clone(result.detach())


def main(task: str, folder: Path) -> None:
    """Train by both libraries."""
    from regimen.envs.isaaclab import assets

    assets.prepare(None)
    os.environ["ISAACSIM_ASSET_ROOT"] = str(assets.root_of(None))
    import isaaclab_tasks  # noqa: F401  registers
    import torch

    torch.set_num_threads(1)
    observed, actions = by_rsl_rl(task, folder)
    acted = {"observations": observed, "rsl_rl": actions, "skrl": by_skrl(task, folder, observed)}
    torch.save(acted, folder / "acted.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
