"""Scores at equal samples: our FastSAC beside public holosoma's and FastTD3, on Gymnasium's pendulum.

    python benchmarks/fast_sac_learn.py                         # ours alone
    python benchmarks/fast_sac_learn.py --peer DIR --peer DIR   # beside clones of holosoma and FastTD3, never committed

All learn in the same environment with the settings of conf/experiment/pendulum_fast_sac.yaml, as far as they have them,
by the same loop: one step of all envs, then its updates. FastTD3 explores by noise of its own defaults. The score is
the mean return of 64 episodes by the mean action, for each seed. `fast_sac_peer.py` says what is changed in the clones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fast_sac_peer import CHANGES, Sizes, Step, find
from measure import report

from regimen.agents.fast_sac.agent import FastSac
from regimen.config.compose import compose_config
from regimen.envs import open_env

EPISODES, EPISODE_STEPS = 64, 200


class Ours:
    """Our learner behind the same three verbs as the clone's."""

    def __init__(self, agent: FastSac) -> None:
        self.agent = agent
        agent._open_ring()
        agent.symmetry = None

    def act(self, obs: torch.Tensor, mean: bool) -> torch.Tensor:
        """Return actions (N, A) for observations (N, d), drawn or at the mean."""
        with torch.no_grad():
            scaled = self.agent.norms["policy"](obs)
            return self.agent.actor(scaled) if mean else self.agent.actor.sample(scaled)[0]

    def add(self, step: Step) -> None:
        """Write a step into the ring; observations after a reset are not needed, those before are given."""
        if self.agent.ring.steps == 0:
            self.agent.ring.begin({"policy": step.obs})
        after = {"policy": step.following}
        self.agent.ring.add(step.action, step.reward, step.ended & ~step.cut, step.ended, after, after)

    def begin(self, obs: torch.Tensor) -> None:
        """Correct where the next transition starts: at the observation after a reset."""
        self.agent.ring.begin({"policy": obs})

    def learn(self) -> int:
        """Do the updates of one env step."""
        self.agent._learn_from_ring()
        return self.agent.cfg.num_updates


def sizes_of(cfg: Any, env: Any) -> Sizes:
    """Return our settings in the words that the clone's learner is built with."""
    return Sizes(
        envs=env.num_envs, steps=cfg.buffer_size, batch=cfg.batch_size, updates=cfg.num_updates,
        policy_frequency=cfg.policy_frequency, actor=cfg.actor_hidden_dim, critic=cfg.critic_hidden_dim,
        observations=env.io.size(), actions=env.io.num_actions, atoms=cfg.num_atoms, v_min=cfg.v_min, v_max=cfg.v_max,
        log_std_max=cfg.log_std_max, alpha=cfg.alpha_init, entropy=cfg.target_entropy_ratio, gamma=cfg.gamma,
        tau=cfg.tau, rate=cfg.critic_learning_rate, decay=cfg.weight_decay,
    )  # fmt: skip


def train(learner: Any, env: Any, seed: int, steps: int, starts: int) -> None:
    """Let a learner step and learn."""
    obs = env.reset(seed=seed)["policy"].clone()
    env.stagger()
    for k in range(steps):
        action = learner.act(obs, mean=False)
        after, reward, terminated, truncated, info = env.step(action)
        ended = terminated | truncated
        final = torch.where(ended[:, None], info["final_obs"]["policy"], after["policy"])
        learner.add(Step(obs, action, reward.clone(), ended.clone(), truncated.clone(), final))
        obs = after["policy"].clone()
        if isinstance(learner, Ours):
            learner.begin(obs)
        if k + 1 >= starts:
            learner.learn()


def score(learner: Any, env: Any, seed: int) -> float:
    """Return the mean return of the first episode of each env, by the mean action."""
    obs, total = env.reset(seed=seed)["policy"], torch.zeros(env.num_envs)
    for _ in range(EPISODE_STEPS):
        after, reward, *_ = env.step(learner.act(obs, mean=True))
        total += reward
        obs = after["policy"]
    return float(total.mean())


def one(make: Callable[[Any, int], Any], config: Any, seed: int, steps: int) -> float:
    """Return the score of one training."""
    env = open_env(config)
    learner = make(env, seed)
    train(learner, env, seed, steps, config.agent.learning_starts)
    config.env.num_envs, kept = EPISODES, config.env.num_envs
    try:
        return score(learner, open_env(config), 1000 + seed)
    finally:
        config.env.num_envs = kept


def main() -> None:
    """Measure, print, write `results/fast_sac_learn.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, action="append", default=[], help="a clone of holosoma or FastTD3")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=800, help="of each of the 8 envs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(CHANGES if args.peer else "no --peer: only our own scores (see the head of this file)")
    config = compose_config(["experiment=pendulum_fast_sac"])

    def mine(env: Any, seed: int) -> Ours:
        return Ours(FastSac(config.agent, env.io, env.num_envs, torch.device("cpu"), seed))

    def theirs(folder: Path, env: Any, seed: int) -> Any:
        torch.manual_seed(seed)
        return find(folder)(folder, sizes_of(config.agent, env), compiled=False)

    makers: dict[str, Callable[[Any, int], Any]] = {"ours": mine}
    makers |= {find(folder).name: partial(theirs, folder) for folder in args.peer}
    rows: dict[str, list[float]] = {name: [] for name in makers}
    for seed in range(args.seeds):
        for name, make in makers.items():
            rows[name].append(one(make, config, seed, args.steps))
            print(f"seed {seed}, {name}: {rows[name][-1]:.1f}", flush=True)
    for name, values in rows.items():
        print(f"{name}: mean of the seeds {np.mean(values):.1f}, from {min(values):.1f} to {max(values):.1f}")
    report("fast_sac_learn" + ("" if args.peer else "_alone"), rows, {}, f"return, {8 * args.steps} env steps")


if __name__ == "__main__":
    main()
