"""Updates per second of RLPD on one thread, beside HIL-SERL's own agent in JAX: same sizes and transitions.

    python benchmarks/rlpd_updates.py               # ours alone
    python benchmarks/rlpd_updates.py --peer DIR    # beside a clone of HIL-SERL

The clone is never part of this repository. `rlpd_peer.py` says what is changed in it and what it needs; packages of
JAX may stand in a folder of their own, on PYTHONPATH.

`full` updates critics, target networks, actor and temperature in each update; `ratio 2` everything in every second, as
both train by default. Ours draws its minibatches from two buffers, half and half, within the measured time; HIL-SERL is
given minibatches that are there already. Measurements alternate in one process, and count its CPU seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import alternate, ratio, report
from rlpd_peer import CHANGES, HilSerl

from regimen.agents.rlpd.config import RlpdCfg
from regimen.agents.rlpd.learner import Learner
from regimen.data.transition_buffer import Minibatches, TransitionBuffer, Transitions

WIDTH, ACTIONS = 35, 7
"""Of gear_assembly, from states."""

SIZES = {
    "E 2, hidden 256, batch 256": (2, 2, 256, 256),
    "E 10, hidden 256, batch 256": (10, 2, 256, 256),
    "E 10, hidden 128, batch 128": (10, 2, 128, 128),
}
"""Label -> critics, subset, hidden width, batch. The first is HIL-SERL's own, the last that of conf/agent/rlpd.yaml."""

CTA = {"full": 1, "ratio 2": 2}


def transitions(rows: int) -> Transitions:
    """Return made-up transitions."""
    g = torch.Generator().manual_seed(0)
    obs, following = ({"policy": torch.randn(rows, WIDTH, generator=g)} for _ in range(2))
    action = 2 * torch.rand(rows, ACTIONS, generator=g) - 1
    reward = (torch.rand(rows, generator=g) < 0.05).float()
    return Transitions(obs, action, reward, 1.0 - reward, following, torch.zeros(rows, dtype=torch.bool))


def ours(size: tuple[int, int, int, int], cta_ratio: int, updates: int) -> Callable[[], int]:
    """Return the work of a measurement: `updates` updates of a new learner."""
    ensemble, subset, hidden, batch = size
    sizes: dict[str, Any] = {"ensemble_size": ensemble, "subset": subset, "hidden": [hidden, hidden]}
    torch.manual_seed(0)
    cfg = RlpdCfg(**sizes, batch_size=batch, cta_ratio=cta_ratio, target_entropy=None)
    learner = Learner(cfg, WIDTH, ACTIONS, torch.device("cpu"))
    online, prior = (TransitionBuffer(5000, {"policy": WIDTH}, ACTIONS, torch.device("cpu")) for _ in range(2))
    online.push(transitions(5000))
    prior.push(transitions(500))

    def draw(count: int) -> Minibatches:
        return online.sample(count, batch - batch // 2).beside(prior.sample(count, batch // 2))

    def work() -> int:
        for _ in range(updates // 2):  # two updates an env step
            learner.update(2, draw)
        return updates // 2 * 2

    return work


def theirs(clone: Path, size: tuple[int, int, int, int], cta_ratio: int, updates: int) -> Callable[[], int]:
    """Return the same work of HIL-SERL's agent."""
    ensemble, subset, hidden, rows = size
    agent = HilSerl(clone, ensemble, subset if subset < ensemble else None, hidden, WIDTH, ACTIONS)
    steps, batches = transitions(5000), []
    for _ in range(updates):
        some = steps.select(torch.randint(5000, (rows,)))
        columns = {"action": some.action, "reward": some.reward, "mask": some.mask}
        columns |= {"obs": some.obs["policy"], "next_obs": some.next_obs["policy"]}
        batches.append(agent.batch({name: x.numpy() for name, x in columns.items()}))
    return partial(agent.update, batches, cta_ratio)


def main() -> None:
    """Measure and report."""
    import time

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="clone of github.com/rail-berkeley/hil-serl")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--updates", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[float]] = {}
    ratios: dict[str, tuple[float, float, float]] = {}
    if arguments.peer:
        print(CHANGES)
    for label, size in SIZES.items():
        for name, cta_ratio in CTA.items():
            works = {"ours": ours(size, cta_ratio, arguments.updates)}
            if arguments.peer:
                works["HIL-SERL"] = theirs(arguments.peer, size, cta_ratio, arguments.updates)
            found = alternate(works, arguments.repeats, clock=time.process_time)
            rows |= {f"{label}, {name}: {who}": rates for who, rates in found.items()}
            if arguments.peer:
                ratios[f"{label}, {name}"] = ratio(found["ours"], found["HIL-SERL"])
    report("rlpd_updates", rows, ratios, "updates/s")


if __name__ == "__main__":
    main()
