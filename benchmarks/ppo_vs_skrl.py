"""Training, samples a second end to end, against skrl's own SequentialTrainer on the same environment and settings.

`python benchmarks/ppo_vs_skrl.py`: both train the same skrl PPO agent on go2_flat, each with its own logging as a user
would have it (ours: TensorBoard, metrics, progress; skrl: TensorBoard every rollout), checkpoints off in both. With
`--cpu` both have one thread, and samples per CPU second are compared: where other work shares the cores.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from measure import ratio, report
from skrl.envs.wrappers.torch import Wrapper
from skrl.utils.runner.torch import Runner

from regimen.agents.skrl_ppo.ppo import SkrlEnvStub, SkrlPpo, sections_for
from regimen.agents.training_session import TrainingSession
from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run


class SkrlEnv(Wrapper):
    """Our environment as skrl's trainer sees one."""

    def __init__(self, env: Any) -> None:
        self.env, self._spaces = env, SkrlEnvStub(env.io, env.num_envs, env.device, has_states=False)

    num_envs = property(lambda self: self._spaces.num_envs)
    device = property(lambda self: self._spaces.device)
    num_agents = property(lambda self: 1)
    observation_space = property(lambda self: self._spaces.observation_space)
    state_space = property(lambda self: None)
    action_space = property(lambda self: self._spaces.action_space)

    def reset(self) -> Any:
        return self.env.reset()["policy"], {}

    def step(self, actions: torch.Tensor) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        return obs["policy"], reward[:, None], terminated[:, None], truncated[:, None], info

    def state(self) -> None:
        return None

    def render(self) -> None:
        return None

    def close(self) -> None:
        return None


class NoCheckpoints:
    """Neither side saves."""

    def due(self, step: int) -> bool:
        return False

    def save(self, session: TrainingSession, bundle: dict[str, Any], metric: float | None) -> None:
        return None


def ours(config: Any, folder: Path, clock: Callable[[], float]) -> float:
    """Return samples a second of `clock` of our loop."""
    env = open_env(config)
    agent = SkrlPpo(config.agent, env.io, env.num_envs, env.device, config.seed)
    run = Run(create_run_dir(folder, asdict(config), [], []))
    session = TrainingSession(run, NoCheckpoints(), env.num_envs, agent.total_steps)
    started = clock()
    agent.learn(env, session, None)
    return agent.total_steps * env.num_envs / (clock() - started)


def theirs(config: Any, folder: Path, clock: Callable[[], float]) -> float:
    """Return samples a second of `clock` of skrl's trainer."""
    env = open_env(config)
    cfg = sections_for(config.agent, env.io, env.device, config.seed)
    cfg["agent"]["experiment"] = {
        "directory": str(folder),
        "write_interval": cfg["agent"]["rollouts"],
        "checkpoint_interval": 0,
    }
    cfg["trainer"]["environment_info"] = "log"
    cfg["trainer"]["headless"] = True
    env.reset(seed=0)
    runner = Runner(SkrlEnv(env), copy.deepcopy(cfg))
    started = clock()
    runner.trainer.train()
    return config.agent.total_steps() * env.num_envs / (clock() - started)


def main() -> None:
    """Alternate the two, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--cpu", action="store_true", help="one thread, CPU seconds")
    args = parser.parse_args()
    threads = ["hardware.threads=1"] if args.cpu else []
    config = compose_config(["task=go2_flat", f"agent.trainer.timesteps={24 * args.iterations}", *threads])
    clock = time.process_time if args.cpu else time.perf_counter
    torch.set_num_threads(config.hardware.num_threads())
    rates: dict[str, list[float]] = {"Regimen": [], "skrl SequentialTrainer": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(args.repeats + 1):
            for name, work in (("Regimen", ours), ("skrl SequentialTrainer", theirs)):
                value = work(config, Path(folder), clock)
                if repeat:
                    rates[name].append(value)
    ratios = {"Regimen / skrl": ratio(rates["Regimen"], rates["skrl SequentialTrainer"])}
    name = Path(__file__).stem + ("_cpu" if args.cpu else "")
    report(name, rates, ratios, "samples per CPU s" if args.cpu else "samples/s")


if __name__ == "__main__":
    main()
