"""Updates a minute of RLPD from pixels on one thread, beside those on the features of a frozen encoder.

    python benchmarks/rlpd_pixels.py

Networks of conf/experiment/gear_pixels.yaml: two cameras of 64 x 64, an update of the actor for each of the critics.
Minibatches are drawn and shifted within the measured time; the pictures are random, and no two are alike. Measurements
alternate in one process, and count its CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from measure import alternate, ratio, report

from regimen.agents.rlpd.config import RlpdCfg
from regimen.agents.rlpd.learner import Learner
from regimen.agents.rlpd.pixels import PixelLearner
from regimen.data.frame_store import FrameStore
from regimen.data.transition_buffer import Minibatches, TransitionBuffer, Transitions

VECTORS, FEATURES, ACTIONS = 25, 64, 7
"""Of gear_assembly: the group `policy`, and what a frozen encoder adds to it."""

IMAGES = {"wrist_1": [64, 64, 3], "wrist_2": [64, 64, 3]}
ROWS = 500
BATCHES = (64, 128)
CPU = torch.device("cpu")


def filled(width: int, store: FrameStore | None) -> TransitionBuffer:
    """Return a buffer of random transitions, with pictures where there is a store."""
    sides = []
    for _ in range(2):
        obs = {"policy": torch.randn(ROWS, width)}
        if store is not None:
            obs |= {name: torch.randint(0, 256, (ROWS, *size), dtype=torch.uint8) for name, size in IMAGES.items()}
        sides.append(obs)
    buffer, rest = TransitionBuffer(ROWS, {"policy": width}, ACTIONS, CPU, store), torch.zeros(ROWS)
    action = 2 * torch.rand(ROWS, ACTIONS) - 1
    buffer.push(Transitions(sides[0], action, rest, rest, sides[1], rest.bool()))
    return buffer


def updates(batch: int, pixels: bool, count: int) -> Callable[[], int]:
    """Return the work of a measurement: `count` updates of a new learner; it returns sixty times that."""
    cfg = RlpdCfg(batch_size=batch, cta_ratio=1, critic_lr=1e-3)
    torch.manual_seed(0)
    learner = (
        PixelLearner(cfg, VECTORS, IMAGES, ACTIONS, CPU, seed=0)
        if pixels
        else Learner(cfg, VECTORS + FEATURES, ACTIONS, CPU)
    )
    buffer = filled(VECTORS if pixels else VECTORS + FEATURES, FrameStore(IMAGES) if pixels else None)

    def draw(wanted: int) -> Minibatches:
        return buffer.sample(wanted, batch - batch // 2).beside(buffer.sample(wanted, batch // 2))

    def work() -> int:
        for _ in range(count):
            learner.update(1, draw)
        return 60 * count

    return work


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--updates", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ways = {"pixels": True, "features": False}
    works = {f"{w}, batch {b}": updates(b, way, arguments.updates) for b in BATCHES for w, way in ways.items()}
    rows = alternate(works, arguments.repeats, clock=time.process_time)
    ratios = {f"batch {b}": ratio(rows[f"features, batch {b}"], rows[f"pixels, batch {b}"]) for b in BATCHES}
    report("rlpd_pixels", rows, ratios, "updates/min")


if __name__ == "__main__":
    main()
