"""Stable-Baselines3's SAC on a task of Gymnasium, for `gym_sac.py`; run by a Python that has it, and none of ours.

    <python> benchmarks/gym_sac_peer.py Hopper-v5 --steps 300000 --seed 0

Its settings are those of RL Zoo for the task: the library's own defaults, after 10,000 random steps. Prints a line of
JSON at each `--every` steps: steps, wall and CPU seconds of the training so far, and the returns of episodes by the
mean action. The time of these episodes is not counted.
"""

from __future__ import annotations

import argparse
import json
import time

import gymnasium
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

LEARNING_STARTS = 10_000


class Curve(BaseCallback):
    """Prints how good the policy is, and what it took so far."""

    def __init__(self, task: str, every: int, episodes: int, seed: int) -> None:
        super().__init__()
        self.env = gymnasium.make(task)
        self.env.reset(seed=10_000 + seed)
        self.every, self.episodes = every, episodes
        self.spent = [0.0, 0.0]  # wall and CPU seconds of the evaluations
        self.began = [time.perf_counter(), time.process_time()]

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            now = [time.perf_counter(), time.process_time()]
            wall, cpu = (n - b - s for n, b, s in zip(now, self.began, self.spent, strict=True))
            returns, _ = evaluate_policy(self.model, self.env, self.episodes, return_episode_rewards=True, warn=False)
            row = {"steps": self.num_timesteps, "wall_s": wall, "cpu_s": cpu, "returns": returns}
            print(json.dumps(row), flush=True)
            after = [time.perf_counter(), time.process_time()]
            self.spent = [s + a - n for s, a, n in zip(self.spent, after, now, strict=True)]
        return True


def main() -> None:
    """Train, and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--every", type=int, default=50_000)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = SAC("MlpPolicy", gymnasium.make(args.task), learning_starts=LEARNING_STARTS, seed=args.seed, device="cpu")
    model.learn(args.steps, callback=Curve(args.task, args.every, args.episodes, args.seed))


if __name__ == "__main__":
    main()
