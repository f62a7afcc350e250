"""Isaac Lab's own start of a task, without Regimen: build, reset, step once; started by `isaaclab_startup.py`.

With `--runner` it also builds rsl_rl's runner, whose policy gives the action of that step, as Isaac Lab's own training
does. It prints one line of JSON: when the step was done, in seconds since the epoch, and the CPU seconds until then.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib import metadata
from typing import Any


def main() -> None:
    """Start the task and step it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--num-envs", type=int, required=True)
    parser.add_argument("--assets", required=True, help="folder of robots")
    parser.add_argument("--kernels", required=True, help="folder of compiled kernels")
    parser.add_argument("--runner", action="store_true")
    args = parser.parse_args()
    os.environ |= {"ISAACSIM_ASSET_ROOT": args.assets, "WARP_CACHE_PATH": args.kernels}
    out, sys.stdout = sys.stdout, sys.stderr
    import gymnasium
    import torch

    torch.set_num_threads(1)
    from isaaclab.app import launch_simulation
    from isaaclab_tasks.utils.hydra import resolve_task_config

    agent = "rsl_rl_cfg_entry_point" if args.runner else None
    cfg, agent_cfg = resolve_task_config(args.task, agent, overrides=[])
    cfg.sim.device, cfg.scene.num_envs, cfg.seed = "cpu", args.num_envs, 0
    with launch_simulation(cfg, {"device": "cpu"}):
        env = gymnasium.make(args.task, cfg=cfg)
        if args.runner:
            step_with_runner(env, agent_cfg)
        else:
            env.reset()
            env.step(torch.zeros(env.action_space.shape))
        done = {"at": time.time(), "cpu_s": time.process_time()}
        print(json.dumps(done), file=out, flush=True)
        os._exit(0)  # the end is not measured


def step_with_runner(env: Any, agent_cfg: Any) -> None:
    """Build the runner as Isaac Lab's training does, and take its first step."""
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, handle_deprecated_rsl_rl_cfg
    from rsl_rl.runners import OnPolicyRunner

    agent_cfg = handle_deprecated_rsl_rl_cfg(agent_cfg, metadata.version("rsl-rl-lib"))
    agent_cfg.device = "cpu"
    wrapped = RslRlVecEnvWrapper(env, clip_actions=agent_cfg.clip_actions)
    runner = OnPolicyRunner(wrapped, agent_cfg.to_dict(), None, "cpu")
    wrapped.step(runner.alg.act(wrapped.get_observations()))


if __name__ == "__main__":
    main()
