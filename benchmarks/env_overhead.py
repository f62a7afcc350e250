"""Full environment (observations, rewards, resets) against `Batch.step` alone: `python benchmarks/env_overhead.py`.

Both step the same batch of 1024 robots from the same states under a trained policy's gait, 4 physics steps of 5 ms
each, on all cores. The ratio is env steps a second over batch steps a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from measure import alternate, ratio, report

from regimen import checkpoint
from regimen.envs import open_env
from regimen.envs.check import compose_config
from regimen.envs.vec_env import IOSpec
from regimen.refs import resolve_policy
from regimen.resolve import resolve

CHUNK = 25


def works(task: str, num_envs: int) -> tuple[dict[str, Callable[[], int]], Callable[[], None]]:
    """Return the two kinds of work and what puts both at the same start; the policy acted beforehand, neither pays."""
    config = compose_config([f"task={task}", f"env.num_envs={num_envs}"])
    torch.set_num_threads(1)  # as training and evaluation do while they step; the physics has all cores
    env = open_env(config)
    bundle = checkpoint.load(resolve_policy(f"pretrained:{task}"))
    io = IOSpec.from_dict(bundle["io"])
    policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)
    obs = env.reset(seed=0)
    env.stagger()
    for _ in range(150):
        obs, *_ = env.step(policy.act(obs, None)[0])
    actions: list[torch.Tensor] = []
    for _ in range(CHUNK):
        actions.append(policy.act(obs, None)[0])
        obs, *_ = env.step(actions[-1])
    batch, substeps = env.world.batch, config.env.decimation
    start = env.state_dict()

    def full() -> int:
        for action in actions:
            env.step(action)
        return CHUNK * num_envs

    def raw() -> int:
        for action in actions:
            env.world.set_joint_targets(env.default_joint_pos + config.env.actions.scale * action)
            batch.step(nstep=substeps)
        return CHUNK * num_envs

    return {"environment": full, "Batch.step alone": raw}, lambda: env.load_state_dict(start)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    rows, ratios = {}, {}
    for task in ("h1_flat", "go2_flat"):
        kinds, restore = works(task, args.num_envs)
        rates = alternate(kinds, args.repeats, before=restore)
        ours, raw = rates["environment"], rates["Batch.step alone"]
        rows |= {f"{task} environment": ours, f"{task} Batch.step alone": raw}
        ratios[f"{task} environment / Batch.step"] = ratio(ours, raw)
    report(Path(__file__).stem, rows, ratios, "env steps/s")


if __name__ == "__main__":
    main()
