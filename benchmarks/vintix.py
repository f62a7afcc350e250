"""Vintix at work and in training, tokens a second, beside the public code: same sizes, same batch, one thread.

    python benchmarks/vintix.py                # ours alone
    python benchmarks/vintix.py --peer DIR     # beside the public code; DIR holds the package `vintix` of a clone

The clone is never part of this repository. See `vintix_peer.py` for what is changed in it, so that it runs without
flash-attn.

Decoding: one robot (the clone has no batch there) and several, their context full, with float32 and with 16 bits, which
are bfloat16, where the processor has it. `weights alone` are the products of the trunk's weights with a vector, and
nothing else. Training: steps of the optimiser without accumulation, the making of batches included. Measurements
alternate in one process, and count its CPU seconds: with one thread these are seconds on a core that nobody else uses.
Before anything is measured both networks get the same weights, and have to give the same actions.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import RESULTS, alternate, ratio, report
from vintix_peer import CHANGES, TASK, Peer, Sizes

from regimen.agents.vintix.config import ModelCfg, SamplingCfg, TrainingCfg, sixteen_bits
from regimen.agents.vintix.model import Group, VintixNet
from regimen.agents.vintix.policy import KeyCache, Scaling, VintixPolicy
from regimen.agents.vintix.trainer import Training
from regimen.agents.vintix.windows import load
from regimen.data.histories.file import append
from regimen.data.histories.reader import HistoryIndex
from regimen.data.histories.writer import write_index

SIZES = {"standard": Sizes(), "small": Sizes(context=512, layers=4, heads=4, hidden=130, feedforward=520)}
"""As conf/agent/vintix.yaml and vintix_small.yaml have them."""


class Quiet:
    """A run and its checkpoints that nobody looks at."""

    leads = True

    def load(self) -> None:
        return None


def network(sizes: Sizes) -> VintixNet:
    """Return our network of `sizes`."""
    torch.manual_seed(0)
    cfg = ModelCfg(sizes.context, sizes.layers, sizes.heads, sizes.hidden, sizes.reward_dim)
    cfg.feedforward = sizes.feedforward
    return VintixNet({"group": Group(sizes.observations, sizes.actions)}, cfg)


def decoder(sizes: Sizes, envs: int, steps: int, half: bool, device: str = "cpu") -> Callable[[], int]:
    """Return work: `steps` actions of each of `envs` robots whose context is full, of made-up keys and values."""
    place = torch.device(device)
    scaling = Scaling(torch.zeros(sizes.observations), torch.ones(sizes.observations), 1.0).to(place)
    policy, rewards = VintixPolicy(network(sizes).to(place), "group", scaling), torch.full((envs,), 0.5, device=place)
    policy.use_fp16 = half
    given = torch.randn(64, envs, sizes.observations, device=place)
    _, memory = policy.act({"policy": given[0]}, None)
    assert isinstance(memory.context, KeyCache)
    _fill(memory.context, 4 * sizes.context)

    def decode() -> int:
        for step in range(steps):
            policy.observe(memory, rewards)
            policy.act({"policy": given[step % 64]}, memory)
        return steps * envs

    return decode


def reader(sizes: Sizes, half: bool) -> Callable[[], int]:
    """Return work: the products of all weights of the trunk with a vector, a token each time, and nothing else."""
    kind = torch.bfloat16 if half else torch.float32
    weights = [part.detach().to(kind) for part in network(sizes).blocks.parameters() if part.ndim == 2]
    vectors = {weight.shape[1]: torch.randn(weight.shape[1], dtype=kind) for weight in weights}

    def read(tokens: int = 4) -> int:
        for _ in range(tokens):
            for weight in weights:
                torch.mv(weight, vectors[weight.shape[1]])
        return tokens

    return read


def _fill(cache: KeyCache, now: int) -> None:
    """Have a cache go on from step `now`: its content is random, its cost that of a full one."""
    cache.keys.normal_()
    cache.values.normal_()
    begin = 0
    for ring in cache.rings:
        places = torch.arange(now - ring.size, now, device=cache.positions.device)
        for _ in ring.heads:
            cache.positions[begin + places % ring.size] = places.float()
            begin += ring.size
    cache._steps = now
    cache._read(now)


def histories(folder: Path, sizes: Sizes, windows: int) -> Path:
    """Write a made-up history that holds `windows` windows, in the layout that both read; return its index."""
    rng, rows = np.random.default_rng(0), sizes.context + 2 + sizes.context // 8 * windows
    columns = {
        "proprio_observation": rng.standard_normal((rows, sizes.observations), dtype=np.float32),
        "action": rng.uniform(-1, 1, (rows, sizes.actions)).astype(np.float32),
        "reward": rng.random(rows, dtype=np.float32),
        "step_num": (np.arange(rows) % 200).astype(np.int32),
    }
    folder.mkdir()
    append(folder / "00000.h5", 0, columns)
    return write_index(folder, HistoryIndex(task_name=TASK, group="group", mode="made up"))


def trainer(sizes: Sizes, batch: int, index: Path, windows: int) -> Callable[[], int]:
    """Return work: optimiser steps on `windows` windows, in tokens."""
    cfg = TrainingCfg(batch_size=batch, accumulation=1)
    tasks = load([index], SamplingCfg(sizes.context // 8, held_out=0.0), sizes.context, 0, 2**33)
    quiet: Any = Quiet()
    learner = Training(network(sizes), tasks, cfg, quiet, quiet, 0)

    def train() -> int:
        for chosen in itertools.islice(learner.schedule.epoch(0), windows // batch):
            learner._update(chosen)
        return windows * sizes.context

    return train


def difference(peer: Peer, sizes: Sizes) -> float:
    """Return how far apart the actions of both are on the same weights and the same window, relative to their size."""
    theirs, ours = peer.model(sizes), network(sizes).eval()
    ours.load_state_dict(_translated(theirs.state_dict()))
    rng, length = np.random.default_rng(1), min(sizes.context, 300)
    observation = torch.from_numpy(rng.standard_normal((length, sizes.observations), dtype=np.float32))
    action = torch.from_numpy(rng.uniform(-1, 1, (length, sizes.actions)).astype(np.float32))
    reward, step = torch.from_numpy(rng.random(length, dtype=np.float32)), torch.arange(length) % 50
    mean, std = (torch.tensor(theirs.metadata[TASK][name]) for name in ("obs_mean", "obs_std"))
    window = {"observation": observation, "prev_action": action, "prev_reward": reward[:, None], "step_num": step}
    with torch.no_grad():
        (expected,), _ = theirs([window | {"task_name": TASK}])
        scaled = (observation - mean) / (std + 1e-6)
        found = ours("group", scaled[None], action[None], reward[None], (step == 0)[None])[0]
    return float((expected - found).abs().max() / expected.std())


def _translated(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the clone's weights by our names."""
    names = {
        "encoder.obs_encoders.group.layers.": "encoders.group.observation.",
        "encoder.acs_encoders.group.layers.": "encoders.group.action.",
        "encoder.rews_encoders.group.layers.": "encoders.group.reward.",
        "encoder.prev_acs_padding": "encoders.group.no_action",
        "encoder.prev_rew_padding": "encoders.group.no_reward",
        "head.acs_decoders.group.layers.": "heads.group.",
        "transformer.ln_f.": "norm.",
        "transformer.blocks.": "blocks.",
        ".in_proj.": ".qkv.",
        ".out_proj.": ".out.",
        ".mlp.fc.": ".mlp.0.",
        ".mlp.proj.": ".mlp.2.",
    }
    found = {}
    for name, value in weights.items():
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        found[name] = value[0] if name.endswith(("no_action", "no_reward")) else value
    return found


def decoding(sizes: Sizes, peer: Peer | None, envs: int, steps: int, repeats: int) -> dict[str, list[float]]:
    """Return tokens a second by name."""
    works: dict[str, Callable[[], int]] = {}
    for half, bits in ((False, ""), (True, ", 16 bits")):
        if half and sixteen_bits("cpu"):
            break
        works |= {f"ours, {n} robot{'s' * (n > 1)}{bits}": decoder(sizes, n, steps, half) for n in (1, envs)}
        works[f"weights alone{bits}"] = reader(sizes, half)
        if peer is not None:
            works[f"public Vintix, 1 robot{bits}"] = peer.decoder(sizes, steps, half)
    return alternate(works, repeats, clock=time.process_time)


def ratios(rows: dict[str, list[float]], envs: int) -> dict[str, tuple[float, float, float]]:
    """Return ratios with their intervals by name."""
    ours, many, public = "ours, 1 robot", f"ours, {envs} robots", "public Vintix, 1 robot"
    pairs = {
        "1 robot each": (ours, public),
        "1 robot each, 16 bits": (f"{ours}, 16 bits", f"{public}, 16 bits"),
        "1 robot, 16 bits / float32": (f"{ours}, 16 bits", public),
        f"{envs} robots / 1": (many, public),
        f"{envs} robots / 1, 16 bits": (f"{many}, 16 bits", f"{public}, 16 bits"),
        "training": ("ours, training", "public Vintix, training"),
    }
    return {label: ratio(rows[a], rows[b]) for label, (a, b) in pairs.items() if a in rows and b in rows}


def training(sizes: Sizes, peer: Peer | None, batch: int, steps: int, repeats: int) -> dict[str, list[float]]:
    """Return tokens a second by name."""
    with tempfile.TemporaryDirectory() as folder:
        index = histories(Path(folder) / "histories", sizes, batch * steps)
        works = {"ours, training": trainer(sizes, batch, index, batch * steps)}
        if peer is not None:
            works["public Vintix, training"] = peer.trainer(sizes, batch, index.parent, batch * steps)
        return alternate(works, repeats, clock=time.process_time)


def main() -> None:
    """Measure, print, write `results/vintix_<size>.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="folder that holds the public package `vintix`")
    parser.add_argument("--size", choices=SIZES, default="standard")
    parser.add_argument("--envs", type=int, default=8, help="robots of a batch in decoding")
    parser.add_argument("--steps", type=int, default=10, help="of a measurement in decoding")
    parser.add_argument("--batch", type=int, default=1, help="windows of a step in training")
    parser.add_argument("--train-steps", type=int, default=1, help="of a measurement in training")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes, peer = SIZES[args.size], Peer(args.peer) if args.peer else None
    print(CHANGES if peer else "no --peer: only our own figures, no ratio (see the head of this file)")
    apart = None if peer is None else difference(peer, sizes)
    if apart is not None:
        print(f"same weights, same window: actions differ by {apart:.1e} of their spread at most")
        if apart > 1e-3:
            raise SystemExit("the two networks do not compute the same: there is nothing to compare")
    rows = decoding(sizes, peer, args.envs, args.steps, args.repeats)
    rows |= training(sizes, peer, args.batch, args.train_steps, args.repeats)
    name = f"vintix_{args.size}" if peer else f"vintix_{args.size}_alone"
    report(name, rows, ratios(rows, args.envs), "tokens/CPU s")
    known = json.loads((RESULTS / f"{name}.json").read_text())
    known |= {"sizes": vars(sizes), "batch": args.batch, "peer": CHANGES if peer else None, "difference": apart}
    (RESULTS / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
