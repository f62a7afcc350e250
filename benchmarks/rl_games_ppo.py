"""Training by agent=rl_games, samples a second, against rl_games' own Runner and against the two other PPOs here.

`python benchmarks/rl_games_ppo.py`: on reach and go2_flat, with one thread each, in turn: agent=rl_games as in a run;
`rl_games.torch_runner.Runner` on the thinnest adapter of the same environment; agent=rsl_rl_ppo; agent=skrl_ppo.
Networks (three layers of 128 for policy and value each), rollouts, epochs and minibatches are the same; no checkpoints.
`--cpu` counts seconds of the processor, for a machine that others use as well.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import ratio, report

from regimen.agents.runner import library
from regimen.agents.training_session import TrainingSession
from regimen.config.compose import compose_config
from regimen.config.targets import resolve
from regimen.envs import open_env
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run

library.load()

import gymnasium  # noqa: E402
from rl_games.common import env_configurations, vecenv  # noqa: E402
from rl_games.common.ivecenv import IVecEnv  # noqa: E402

TASKS = {"reach": 64, "go2_flat": 256}
OWN = "rl_games' Runner"
AGENTS = ("rl_games", "rsl_rl_ppo", "skrl_ppo")


class NoCheckpoints:
    """Nothing is saved."""

    def due(self, step: int) -> bool:
        return False

    def save(self, session: TrainingSession, bundle: dict[str, Any], metric: float | None) -> None:
        return None


class BareEnv(IVecEnv):
    """Our environment as rl_games sees one, and nothing else."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def get_env_info(self) -> dict[str, Any]:
        def box(size: int, bound: float) -> gymnasium.spaces.Box:
            return gymnasium.spaces.Box(-bound, bound, (size,))

        io = self.env.io
        return {"observation_space": box(io.size(), float("inf")), "action_space": box(io.num_actions, 1.0)}

    def reset(self) -> torch.Tensor:
        obs = self.env.reset(seed=0)["policy"]
        self.env.stagger()
        return obs

    def step(self, actions: torch.Tensor) -> Any:
        obs, reward, terminated, truncated, _ = self.env.step(actions)
        return obs["policy"], reward, terminated | truncated, {"time_outs": truncated}


def as_a_run(config: Any, folder: Path, clock: Callable[[], float]) -> float:
    """Return samples a second of an agent here."""
    env = open_env(config)
    agent = resolve(config.agent._target_)(config.agent, env.io, env.num_envs, env.device, config.seed)
    run = Run(create_run_dir(folder, asdict(config), [], []))
    session = TrainingSession(run, NoCheckpoints(), env.num_envs, agent.total_steps)
    started = clock()
    agent.learn(env, session, None)
    return agent.total_steps * env.num_envs / (clock() - started)


def own_runner(config: Any, folder: Path, clock: Callable[[], float]) -> float:
    """Return samples a second of the library's Runner."""
    with contextlib.redirect_stdout(io.StringIO()), library.unchanged_process():
        from rl_games.torch_runner import Runner

        env = open_env(config)
        vecenv.register("bare", lambda *_, **__: BareEnv(env))
        env_configurations.register("bare", {"vecenv_type": "bare", "env_creator": lambda **_: None})
        params = {**config.agent.params, "seed": 1, "torch_threads": 1}
        settings = {"name": "bare", "env_name": "bare", "num_actors": env.num_envs, "device": "cpu"}
        settings |= {"reward_shaper": {}}
        settings |= {"train_dir": str(folder), "clip_actions": False, "torch_compile": False, "save_best_after": 10**6}
        params["config"] = {**params["config"], **settings}
        runner = Runner()
        runner.load({"params": params})
        agent = runner.algo_factory.create(runner.algo_name, base_name="run", params=runner.params)
        agent.save = lambda *_: None
        started = clock()
        agent.train()
        took = clock() - started
    return config.agent.total_steps(env.num_envs) * env.num_envs / took


def compositions(task: str, iterations: int) -> dict[str, Any]:
    """Return agent -> configuration of a training with as many iterations."""
    sizes = [f"env.num_envs={TASKS[task]}", "hardware.threads=1"]
    lengths = {
        "rl_games": [f"agent.params.config.max_epochs={iterations}"],
        "rsl_rl_ppo": [f"agent.max_iterations={iterations}"],
        "skrl_ppo": [f"agent.trainer.timesteps={24 * iterations}"],
    }
    return {name: compose_config([f"task={task}", f"agent={name}", *sizes, *lengths[name]]) for name in AGENTS}


def main() -> None:
    """Alternate the four on each task, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor in place of time")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    torch.set_num_threads(1)
    rates: dict[str, list[float]] = {}
    ratios = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        for task in TASKS:
            configs = compositions(task, args.iterations)
            for repeat in range(args.repeats + 1):
                measured = {agent: as_a_run(config, folder, clock) for agent, config in configs.items()}
                measured[OWN] = own_runner(configs["rl_games"], folder, clock)
                for label, value in measured.items() if repeat else ():
                    rates.setdefault(f"{task}, {label}", []).append(value)
            own = rates[f"{task}, rl_games"]
            others = [rates[f"{task}, {label}"] for label in AGENTS[1:]]
            ratios[f"{task}, against {OWN}"] = ratio(own, rates[f"{task}, {OWN}"])
            ratios[f"{task}, against the faster PPO"] = ratio(own, max(others, key=np.median))
    report(Path(__file__).stem, rates, ratios, f"samples per {'CPU ' if args.cpu else ''}s")


if __name__ == "__main__":
    main()
