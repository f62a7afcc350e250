"""Short trainings of a task by Isaac Lab's own wrappers of rsl_rl and of skrl, without the launcher.

    .venv-isaaclab/bin/python tests/end_to_end/isaaclab_trainings.py <task> <folder>

The folder gets `model_1.pt` and `agents/checkpoints/`, as the libraries write them, and `acted.pt`: observations (4, d),
and the mean actions (4, A) that each library computes for them.
"""

import os
import sys
from importlib import metadata
from pathlib import Path

from regimen.envs.isaaclab import assets

assets.prepare(None)
os.environ["ISAACSIM_ASSET_ROOT"] = str(assets.root_of(None))

import gymnasium
import isaaclab_tasks  # noqa: F401  registers
import torch
from isaaclab.app import launch_simulation
from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, handle_deprecated_rsl_rl_cfg
from isaaclab_rl.skrl import SkrlVecEnvWrapper, import_skrl_runner
from isaaclab_tasks.utils.hydra import resolve_task_config
from rsl_rl.runners import OnPolicyRunner

SCENE = ["env.scene.num_envs=4"]


def by_rsl_rl(task: str, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Train for two updates; return observations and actions."""
    cfg, agent = resolve_task_config(task, "rsl_rl_cfg_entry_point", play_mode=False, overrides=SCENE)
    agent = handle_deprecated_rsl_rl_cfg(agent, metadata.version("rsl-rl-lib"))
    cfg.sim.device = agent.device = "cpu"
    with launch_simulation(cfg, {"device": "cpu"}):
        env = RslRlVecEnvWrapper(gymnasium.make(task, cfg=cfg), clip_actions=agent.clip_actions)
        runner = OnPolicyRunner(env, agent.to_dict(), str(folder), "cpu")
        runner.learn(2)
        observed = env.get_observations().clone()
        with torch.inference_mode():
            actions = runner.get_inference_policy()(observed)
        env.close()
    return observed["policy"].clone(), actions.clone()


def by_skrl(task: str, folder: Path, observed: torch.Tensor) -> torch.Tensor:
    """Train for two updates; return the actions for observations (4, d)."""
    cfg, agent = resolve_task_config(task, "skrl_cfg_entry_point", play_mode=False, overrides=SCENE)
    cfg.sim.device = "cpu"
    steps = 2 * agent["agent"]["rollouts"]
    agent["trainer"] |= {"timesteps": steps, "close_environment_at_exit": False}
    experiment = {"directory": str(folder), "experiment_name": "agents", "checkpoint_interval": steps // 2}
    agent["agent"]["experiment"] |= experiment
    with launch_simulation(cfg, {"device": "cpu"}):
        env = SkrlVecEnvWrapper(gymnasium.make(task, cfg=cfg))
        runner = import_skrl_runner("torch")(env, agent)
        runner.run()
        runner.agent.enable_training_mode(False, apply_to_models=True)
        with torch.inference_mode():
            actions = runner.agent.act(observed, None, timestep=0, timesteps=0)[1]["mean_actions"]
        env.close()
    return actions.clone()


if __name__ == "__main__":
    task, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    observed, actions = by_rsl_rl(task, folder)
    acted = {"observations": observed, "rsl_rl": actions, "skrl": by_skrl(task, folder, observed)}
    torch.save(acted, folder / "acted.pt")
