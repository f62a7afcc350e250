"""A task of another library under Regimen against the library's own loop: what the benchmark of each library calls.

All loops step one open environment, as a process may hold only one, in rounds. In a round each loop starts from the
same state and random generators and has the same actions, so that all compute the same physics until an episode ends;
the next round begins where Regimen's steps ended, and has the loops in the reverse order. A ratio is that of
environment steps a second over all rounds, in seconds of the processor; its interval is a bootstrap over rounds. Where
others use the cores, loops are disturbed differently; the last row has only the seconds that Regimen's loop spends in
the library's `step`. The ratio to it is a lower bound that needs no second loop: it counts all else as Regimen's, the
library's reset of the envs that ended as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from measure import ratio_of_rounds, report

from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.envs.foreign.library import Library

CHUNK = 4
"""Steps of each loop in a round."""

REGIMEN = "Regimen"

INSIDE = "the library's step in Regimen's"

Step = Callable[[torch.Tensor], torch.Tensor]
"""Steps all envs by actions (N, A); returns whose episode ended, (N,) bool."""


def main(name: str, library: Library, task: str, loops: Callable[[Any], dict[str, Step]]) -> None:
    """Measure, print, write.

    Args:
        name: of the benchmark.
        library: whose tasks it steps.
        task: the id if none is typed.
        loops: the open environment, as `open_env` returns it -> name of a loop -> its step; `REGIMEN` is the first.
    """
    parser = argparse.ArgumentParser(name)
    parser.add_argument("--task", default=task)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--actions", type=float, default=1.0, help="bound on the random actions")
    parser.add_argument("--repeats", type=int, default=50, help=f"rounds of {CHUNK} steps of each loop")
    args = parser.parse_args()
    if find_spec(library.name) is None:
        print(f"{name}: not measured, this Python has no {library.title}. Type: make {library.name}")
        return
    torch.set_num_threads(1)
    config = compose_config([f"task={library.name}", f"env.id={args.task}", f"env.num_envs={args.num_envs}"])
    env = open_env(config)
    rates, ends = _rounds(env, loops(env), args.actions, args.repeats)
    for loop, share in ends.items():
        print(f"{loop}: an episode ended in {share:.0%} of the steps")
    ratios = {f"{REGIMEN} / {loop}": ratio_of_rounds(rates[REGIMEN], rates[loop]) for loop in list(rates)[1:]}
    report(name, rates, ratios, "env steps/s")


def _rounds(
    env: Any, loops: dict[str, Step], size: float, repeats: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return env steps a second of each loop and round, and the share of steps in which an episode ended."""
    generator = torch.Generator().manual_seed(0)
    env.reset(seed=0)
    env.stagger()
    state = env.state_dict()
    inside = _seconds_of_steps(env.env.inner)
    rates: dict[str, list[float]] = {name: [] for name in (*loops, INSIDE)}
    ends = dict.fromkeys(loops, 0)
    for number in range(repeats + 1):  # the first does not count
        actions = size * (torch.rand(CHUNK, env.num_envs, env.io.num_actions, generator=generator) * 2 - 1)
        following = state
        for name in list(loops) if number % 2 else reversed(loops):
            env.load_state_dict(state)
            with nullcontext() if name == REGIMEN else env.env.random.own():
                inside.clear()
                started = time.process_time()
                done = [loops[name](action) for action in actions]
                seconds = time.process_time() - started
            following = env.state_dict() if name == REGIMEN else following
            if number:
                rates[name].append(CHUNK * env.num_envs / seconds)
                ends[name] += sum(int(rows.any()) for rows in done)
                if name == REGIMEN:
                    rates[INSIDE].append(CHUNK * env.num_envs / sum(inside))
        state = following
    return rates, {name: count / (CHUNK * repeats) for name, count in ends.items()}


def _seconds_of_steps(inner: Any) -> list[float]:
    """Return a list to which each later call of the library's `step` adds its seconds."""
    step = inner.step
    seconds: list[float] = []

    def timed(action: torch.Tensor) -> Any:
        started = time.process_time()
        result = step(action)
        seconds.append(time.process_time() - started)
        return result

    inner.step = timed
    return seconds
