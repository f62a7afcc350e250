"""Training with AMP, samples a second: ours against skrl's and IsaacGymEnvs' on the same environments of ours.

    python benchmarks/amp.py                        # against skrl's
    python benchmarks/amp.py --isaacgymenvs DIR     # and IsaacGymEnvs', out of a checkout; see amp_peer.py

The sides train in turn in one process with one thread, from the first env step to the end of the last update; ratios
are those of medians. `--cpu` counts seconds of the processor, for a machine that others use as well.

Equal for all: environment and its seed, number of envs, episodes that begin at random times; rollouts of 16 steps
(humanoid_amp) or 24 (go2_amp); policy and value of 256-128 ELU each, discriminator of 256-128 ReLU; 4 epochs of 4
minibatches; a learning rate that follows the KL divergence; normalised observations, values and style features, which
are those of `style_features`, with the pose before an automatic reset as the second one; rows of the replay ring.
All bootstrap at time-outs. Nobody saves, nothing is printed, and each logs as its user would have it: ours TensorBoard,
metrics and progress of a run, skrl TensorBoard in each rollout, IsaacGymEnvs TensorBoard by rl_games.

What differs is how each library works:

1. Updates of the discriminator in a rollout. The peers do one in each minibatch, 16, of 512 transitions each of the
   rollout, the replay ring and the clips. Ours does `disc_updates`, 4 by default, of 512 of the agent (half of them
   from the ring) and 512 of the clips. It is measured with 4 and with 16; both ratios are reported.
2. Peers draw clips from a ring of 20 480 rows, to which each rollout adds 512; ours from the clips themselves.
3. Peers step policy, value and discriminator by one optimiser and update the statistics of style features three times
   in each minibatch; ours has an optimiser for the discriminator and updates them once in a rollout.
4. IsaacGymEnvs computes the value of each next observation, the others only at time-outs.
5. The peers' discriminators learn by cross-entropy; ours by `disc_loss`, least squares by default.
6. Peers shuffle their minibatches; rl_games, and so ours, takes them in the order of the rollout.

With few envs, whose minibatches have less than 512 rows, discriminators of all sides get as many as a minibatch has.
Afterwards policy and discriminator of each side must have changed, and its losses must be finite.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import math
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from amp_peer import CHANGES, Side, isaacgymenvs_amp, skrl_amp
from measure import ratio, report

from regimen.agents.training_session import TrainingSession
from regimen.config.compose import compose_config
from regimen.config.targets import resolve
from regimen.envs import open_env
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.system.seeding import seed_all

TASKS = ("humanoid_amp", "go2_amp")
DISC_UPDATES = {"ours 4": 4, "ours 16": 16}
"""Label of a measurement of ours -> updates of the discriminator in a rollout."""

DISC_ROWS, REPLAY_ROWS = 512, 100_000
Build = Callable[[Any, Any, Path], Side]


class NoCheckpoints:
    """Nothing is saved."""

    def due(self, step: int) -> bool:
        return False

    def save(self, session: TrainingSession, bundle: dict[str, Any], metric: float | None) -> None:
        return None


class Session(TrainingSession):
    """The session of a run, whose last losses are kept."""

    def end_iteration(self, losses: dict[str, float], *args: Any) -> None:
        self.last.update({name: value for name, value in losses.items() if name.startswith("losses/")})
        super().end_iteration(losses, *args)


class Meter:
    """Counts the steps of an environment, and notes when the first one begins."""

    def __init__(self, env: Any, clock: Callable[[], float]) -> None:
        self.clock, self.steps, self._step = clock, 0, env.step
        env.step = self.step

    def step(self, actions: torch.Tensor) -> Any:
        """Step by actions (N, A)."""
        if not self.steps:
            self.started = self.clock()
        self.steps += 1
        return self._step(actions)

    def rate(self) -> float:
        """Return steps per second since the first one began."""
        return self.steps / (self.clock() - self.started)


def ours(config: Any, env: Any, folder: Path) -> Side:
    """Build a training of agent=amp as in a run."""
    agent = resolve(config.agent._target_)(config.agent, env.io, env.num_envs, env.device, config.seed)
    run = Run(create_run_dir(folder, asdict(config), [], []))
    session = Session(run, NoCheckpoints(), env.num_envs, agent.total_steps)
    session.last = {}
    network = agent.agent.model.a2c_network
    return Side(lambda: agent.learn(env, session, None), [network.actor_mlp, network.disc_mlp], session.last)


def samples_per_second(build: Build, config: Any, folder: Path, clock: Callable[[], float]) -> float:
    """Train once.

    Raises:
        SystemExit: the policy or the discriminator has not changed, steps are missing, or a loss is not finite.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = open_env(config)
        seed_all(config.seed)
        side, meter = build(config, env, folder), Meter(env, clock)
        before = [torch.nn.utils.parameters_to_vector(module.parameters()).detach().clone() for module in side.modules]
        side.train()
        rate = meter.rate() * env.num_envs
    env.close()
    name = build.__qualname__.split(".")[0]
    if meter.steps != config.agent.total_steps(env.num_envs):
        raise SystemExit(f"{name} made {meter.steps} steps, not {config.agent.total_steps(env.num_envs)}.")
    for what, module, old in zip(("policy", "discriminator"), side.modules, before, strict=True):
        new = torch.nn.utils.parameters_to_vector(module.parameters())
        if torch.equal(new, old) or not new.isfinite().all():
            raise SystemExit(f"{name} did not train: the weights of its {what} are as before, or not finite.")
    if len(side.losses) < 3 or not all(map(math.isfinite, side.losses.values())):
        raise SystemExit(f"{name} did not train: its losses are {side.losses}.")
    del side, env
    gc.collect()
    return rate


def composed(task: str, envs: int, iterations: int, disc_updates: int) -> Any:
    """Return the configuration of a training."""
    sizes = [f"env.num_envs={envs}", "hardware.threads=1", f"agent.params.config.max_epochs={iterations}"]
    settings = compose_config([f"experiment={task}"]).agent.params["config"]
    replay = REPLAY_ROWS // (envs * settings["horizon_length"]) * envs * settings["horizon_length"]
    style = {
        "amp_minibatch_size": min(DISC_ROWS, envs * settings["minibatch_size_per_env"]),
        "amp_replay_buffer_size": replay,  # whole rollouts, as the ring of skrl needs them
        "disc_updates": disc_updates,
    }
    overrides = [f"agent.params.config.{key}={value}" for key, value in style.items()]
    return compose_config([f"experiment={task}", *sizes, *overrides])


def main() -> None:
    """Alternate the sides on each task, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=10, help="rollouts of a training")
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--isaacgymenvs", type=Path, metavar="DIR", help="checkout of isaac-sim/IsaacGymEnvs")
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor in place of time")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    torch.set_num_threads(1)
    peers: dict[str, Build] = {"skrl": skrl_amp}
    if args.isaacgymenvs:
        print(CHANGES)
        peers["IsaacGymEnvs"] = isaacgymenvs_amp(args.isaacgymenvs.resolve())
    else:
        print("IsaacGymEnvs is left out: name a checkout by --isaacgymenvs DIR")
    rates: dict[str, list[float]] = {}
    ratios = {}
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for task in args.tasks:
            short = task.removesuffix("_amp")
            configs = {own: composed(task, args.envs, args.iterations, n) for own, n in DISC_UPDATES.items()}
            works = {own: (ours, config) for own, config in configs.items()}
            works |= {peer: (build, configs["ours 4"]) for peer, build in peers.items()}
            for repeat in range(args.repeats + 1):
                for label, (build, config) in works.items():
                    value = samples_per_second(build, config, Path(name), clock)
                    if repeat:
                        rates.setdefault(f"{short}, {label}", []).append(value)
            for peer in peers:
                theirs = rates[f"{short}, {peer}"]
                ratios |= {f"{short}, {own} / {peer}": ratio(rates[f"{short}, {own}"], theirs) for own in DISC_UPDATES}
    report(Path(__file__).stem, rates, ratios, f"samples per {'CPU ' if args.cpu else ''}s")


if __name__ == "__main__":
    main()
