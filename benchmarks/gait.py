"""Robots that walk, for benchmarks of what steps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from regimen.config.schema import Config
from regimen.config.targets import resolve
from regimen.envs import open_env
from regimen.envs.vec_env import IOSpec, VecEnv
from regimen.runs import checkpoint
from regimen.runs.references import resolve_policy


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


def environment(env: Any, actions: Sequence[torch.Tensor]) -> Callable[[], int]:
    """Return a work that steps an environment by the actions, and returns the number of env steps."""

    def work() -> int:
        for action in actions:
            env.step(action)
        return len(actions) * int(env.num_envs)

    return work


def engine(env: Any, actions: Sequence[torch.Tensor]) -> Callable[[], int]:
    """Return a work that advances the batch of an environment alone, by the targets of the same actions."""
    scale, substeps = env.cfg.actions.scale, env.cfg.decimation

    def work() -> int:
        for action in actions:
            env.world.set_joint_targets(env.default_joint_pos + scale * action)
            env.world.batch.step(nstep=substeps)
        return len(actions) * int(env.num_envs)

    return work
