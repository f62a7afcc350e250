"""Robots that walk, for benchmarks of what steps them."""

from __future__ import annotations

import torch

from regimen import checkpoint
from regimen.envs import open_env
from regimen.envs.vec_env import IOSpec, VecEnv
from regimen.refs import resolve_policy
from regimen.resolve import resolve
from regimen.schema import Config


def walking(config: Config, task: str, steps: int) -> tuple[VecEnv, list[torch.Tensor], dict]:
    """Return an env, `steps` actions (N, A) of the task's pretrained policy in it, and the state to start from.

    The policy walks a while first, so that the robots are spread over their episodes and their gait.
    """
    torch.set_num_threads(1)  # as training and evaluation do while they step; the physics has all cores
    env = open_env(config)
    bundle = checkpoint.load(resolve_policy(f"pretrained:{task}"))
    policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, IOSpec.from_dict(bundle["io"]), env.device)
    obs = env.reset(seed=0)
    env.stagger()
    for _ in range(150):
        obs, *_ = env.step(policy.act(obs, None)[0])
    actions: list[torch.Tensor] = []
    for _ in range(steps):
        actions.append(policy.act(obs, None)[0])
        obs, *_ = env.step(actions[-1])
    return env, actions, env.state_dict()
