"""FastSAC's learner, updates per minute of a core, beside public holosoma and FastTD3: same sizes and transitions.

    python benchmarks/fast_sac.py                              # ours alone
    python benchmarks/fast_sac.py --peer DIR --peer DIR        # beside clones of holosoma and of FastTD3

The clones are never part of this repository. `fast_sac_peer.py` says what is changed in them; they need `tensordict`.

A measurement is what follows one step of all envs: minibatches drawn from the ring, normalised, and for each an update
of critics, temperature and target networks, and of the actor in every `policy_frequency`-th. The rings hold the same
made-up transitions, as wide as those of task k1_walk. Measurements alternate in one process, and count its CPU
seconds: with one thread these are seconds on a core that nobody else uses. holosoma keeps the critics' observations
apart from the actor's, so ours beside it does so too; FastTD3 has one group, and so has ours beside it. FastTD3 is
another algorithm with less to do: no density of actions, no temperature, no layer norm (a row of ours is without, too).
The last row, the bound, is the matrix products of our updates with nothing between them.

Before anything is measured holosoma's learner and ours get the same weights and the same minibatch, and have to find
the same loss of the critics.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from fast_sac_peer import CHANGES, FastTD3, Holosoma, Sizes, Step, find
from measure import RESULTS, alternate, ratio, report

from regimen.agents.fast_sac.agent import PART_ROWS, FastSac
from regimen.agents.fast_sac.config import FastSacCfg
from regimen.data.replay_buffer import Batch
from regimen.envs.vec_env import ActionSpec, IOSpec

SIZES = {
    "cpu": Sizes(envs=128, steps=256, batch=512, updates=4, policy_frequency=2, actor=128, critic=256),
    "original": Sizes(envs=1024, steps=64, batch=8192, updates=8, policy_frequency=4, actor=512, critic=768),
}
"""As conf/agent/fast_sac.yaml and fast_sac_gpu.yaml have them; envs and steps in the ring are chosen here."""

BOUND = "matrix products of ours alone"
OURS, APART, PLAIN = "ours, one group", "ours, critics' own group", "ours, one group, no layer norm"


def steps(sizes: Sizes) -> list[Step]:
    """Return made-up transitions that fill a ring; an episode ends in one step of a hundred."""
    g, n = torch.Generator().manual_seed(0), sizes.envs
    obs, found = torch.randn(n, sizes.observations, generator=g), []
    for _ in range(sizes.steps):
        following = torch.randn(n, sizes.observations, generator=g)
        ended = torch.rand(n, generator=g) < 0.01
        cut = ended & (torch.rand(n, generator=g) < 0.5)
        action = torch.rand(n, sizes.actions, generator=g) * 2 - 1
        found.append(Step(obs, action, torch.randn(n, generator=g) * 0.1, ended, cut, following))
        obs = following
    return found


def ours(
    sizes: Sizes,
    given: list[Step],
    groups: tuple[str, ...],
    compiled: bool,
    layer_norm: bool = True,
    device: str = "cpu",
    amp: bool = False,
) -> FastSac:
    """Return our learner, its ring filled; the last of `groups` is what the critics read."""
    width = {f"x{k}": 1 for k in range(sizes.observations)}
    joints = [f"joint{k}" for k in range(sizes.actions)]
    action = ActionSpec(joints, [1.0] * sizes.actions, [0.0] * sizes.actions, 1.0)
    cfg = FastSacCfg(
        buffer_size=sizes.steps,
        batch_size=sizes.batch,
        num_updates=sizes.updates,
        policy_frequency=sizes.policy_frequency,
        tau=sizes.tau,
        actor_hidden_dim=sizes.actor,
        critic_hidden_dim=sizes.critic,
        critic_observations=groups[-1],
        use_layer_norm=layer_norm,
        compile=compiled,
        amp=amp,
    )
    place = torch.device(device)
    agent = FastSac(cfg, IOSpec({group: width for group in groups}, action, 0.02), sizes.envs, place, 0)
    agent._open_ring()
    agent.symmetry = None
    agent.ring.begin(dict.fromkeys(groups, given[0].obs.to(place)))
    for made in given:
        step = Step(*(getattr(made, part.name).to(place) for part in fields(Step)))
        after = dict.fromkeys(groups, step.following)
        agent.ring.add(step.action, step.reward, step.ended & ~step.cut, step.ended, after, after)
    return agent


class Products:
    """The matrix products of our updates: forward, and backward to the weights and inputs that need a gradient."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.rows = sizes, min(PART_ROWS, sizes.batch)
        self.actor = self._weights(sizes.observations, sizes.actor, 2 * sizes.actions)
        self.critics = [self._weights(sizes.observations + sizes.actions, sizes.critic, sizes.atoms) for _ in range(2)]

    def _weights(self, inputs: int, hidden: int, outputs: int) -> list[torch.Tensor]:
        widths = (inputs, hidden, hidden // 2, hidden // 4, outputs)
        return [torch.randn(n, k) / k**0.5 for k, n in pairwise(widths)]

    def _through(self, net: list[torch.Tensor], weights: bool, inputs: bool) -> None:
        """Go through a network, and back for the gradients of its weights, its inputs, or both."""
        x = [torch.ones(self.rows, net[0].shape[1])]
        for layer in net:
            x.append(x[-1] @ layer.t())
        gradient = x[-1]
        for k in reversed(range(len(net) if weights or inputs else 0)):
            if weights:
                gradient.t() @ x[k]
            if k or inputs:
                gradient = gradient @ net[k]

    def learn(self) -> int:
        """Do the products of the updates after an env step; return the updates."""
        for k in range(1, self.sizes.updates + 1):
            for _ in range(self.sizes.batch // self.rows):
                self._through(self.actor, weights=False, inputs=False)
                for net in self.critics:
                    self._through(net, weights=False, inputs=False)
                    self._through(net, weights=True, inputs=False)
                if k % self.sizes.policy_frequency == 0:
                    self._through(self.actor, weights=True, inputs=False)
                    for net in self.critics:
                        self._through(net, weights=False, inputs=True)
        return self.sizes.updates


def difference(peer: Holosoma, agent: FastSac) -> float:
    """Return how far apart the critics' losses of both are on the same weights and minibatch, relative to the loss."""
    data, names = peer.batches()[0], {"qnets.": "nets.", ".net.": "."}
    for theirs, mine in ((peer.qnet, agent.critics), (peer.qnet_target, agent.target)):
        weights = {name: value for name, value in theirs.state_dict().items() if name.startswith("qnets.")}
        for old, new in names.items():
            weights = {name.replace(old, new): value for name, value in weights.items()}
        mine.load_state_dict(weights | {"support": theirs.q_support})
    state, other = peer.actor.state_dict(), agent.actor.state_dict()
    last = {f"net.9.{p}": torch.cat((state[f"fc_mu.0.{p}"], state[f"fc_logstd.{p}"])) for p in ("weight", "bias")}
    agent.actor.load_state_dict(other | {name: state[name] for name in state if name.startswith("net.")} | last)
    after = data["next"]
    bootstrap = (after["truncations"].bool() | ~after["dones"].bool()).float()
    batch = Batch(
        obs={"policy": data["observations"], "critic": data["critic_observations"]},
        action=data["actions"],
        reward=after["rewards"],
        discount=peer.sizes.gamma * bootstrap,
        next_obs={"policy": after["observations"], "critic": after["critic_observations"]},
    )
    torch.manual_seed(0)
    found = float(agent._distance_to_target(batch)[0].detach())
    torch.manual_seed(0)
    expected = float(peer.methods["_update_main"](data)[2])
    return abs(found - expected) / abs(expected)


def main() -> None:
    """Measure, print, write `results/fast_sac_<size>.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, action="append", default=[], help="a clone of holosoma or FastTD3")
    parser.add_argument("--size", choices=SIZES, default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile in all parties")
    parser.add_argument("--steps", type=int, default=10, help="env steps of a measurement")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = SIZES[args.size]
    given = steps(sizes)
    print(CHANGES if args.peer else "no --peer: only our own figures, no ratio (see the head of this file)")
    torch.manual_seed(0)
    peers = [find(folder)(folder, sizes, args.compile) for folder in args.peer]
    learners: dict[str, Any] = {OURS: ours(sizes, given, ("policy",), args.compile)}
    learners[APART] = ours(sizes, given, ("policy", "critic"), args.compile)
    learners[PLAIN] = ours(sizes, given, ("policy",), args.compile, layer_norm=False)
    apart = None
    for peer in peers:
        for step in given:
            peer.add(step)
        if isinstance(peer, Holosoma):
            apart = difference(peer, learners[APART])
            print(f"same weights, same minibatch: the critics' losses differ by {apart:.1e} of their size")
            if apart > 1e-4:
                raise SystemExit("the two do not compute the same: there is nothing to compare")
    rows, pairs = measure(learners, peers, Products(sizes), args.steps, args.repeats)
    name = f"fast_sac_{args.size}" + ("_compiled" if args.compile else "") + ("" if peers else "_alone")
    report(name, rows, {label: ratio(rows[a], rows[b]) for label, a, b in pairs}, "updates/CPU min")
    known = json.loads((RESULTS / f"{name}.json").read_text())
    known |= {"sizes": vars(sizes), "peer": CHANGES if peers else None, "difference": apart}
    (RESULTS / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n")


def measure(
    learners: dict[str, Any], peers: list[Holosoma | FastTD3], products: Products, count: int, repeats: int
) -> tuple[dict[str, list[float]], list[tuple[str, str, str]]]:
    """Return updates a minute by name, and which two rows a ratio is made of."""
    pairs = [(f"{OURS} / bound", OURS, BOUND)]
    works: dict[str, Callable[[], int]] = {
        name: partial(repeat, partial(learn, agent), count) for name, agent in learners.items()
    }
    for peer in peers:
        works[peer.name] = partial(repeat, peer.learn, count)
        beside = (APART,) if isinstance(peer, Holosoma) else (OURS, PLAIN)
        pairs += [(f"{row} / {peer.name}", row, peer.name) for row in beside]
        pairs.append((f"bound / {peer.name}", BOUND, peer.name))
    works[BOUND] = partial(repeat, products.learn, count)
    return alternate(works, repeats, clock=cpu_minutes), pairs


def cpu_minutes() -> float:
    """Return what this process has used of a core: the original's sizes make less than two updates of a second."""
    return time.process_time() / 60


def learn(agent: FastSac) -> int:
    """Do what our learner does after an env step; return the updates."""
    agent._learn_from_ring()
    return agent.cfg.num_updates


def repeat(step: Callable[[], int], count: int) -> int:
    """Return the updates of `count` env steps."""
    return sum(step() for _ in range(count))


if __name__ == "__main__":
    main()
