"""Some updates of FastSAC on made transitions, as one of several workers or alone; the first saves what it learnt.

python sac_pair.py FILE: each worker has its share of the envs and of the same minibatches.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from agents.fast_sac.sac import CPU, IO, made_batch, sac_cfg
from regimen.agents import data_parallel
from regimen.agents.fast_sac.agent import FastSac
from regimen.data.replay_buffer import Batch
from regimen.system import distributed

ROWS, UPDATES = 32, 20


def own_rows(x: torch.Tensor) -> torch.Tensor:
    """This worker's share of (B, …)."""
    return x.chunk(distributed.world_size())[distributed.rank()]


def share_noise(generator: torch.Generator) -> None:
    """Let the workers draw together what one alone would draw."""

    def draw(like: torch.Tensor) -> torch.Tensor:
        rows = len(like) * distributed.world_size()
        return own_rows(torch.randn(rows, *like.shape[1:], generator=generator))

    torch.randn_like = draw


def main(path: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("cpu")
    share_noise(torch.Generator().manual_seed(0))
    agent = FastSac(sac_cfg(max_grad_norm=1.0, actor_learning_rate=1e-3), IO, 4, CPU, seed=3 + distributed.rank())
    data_parallel.share([*agent._weights(), *agent.norms.buffers()])
    for k in range(UPDATES):
        whole = made_batch(ROWS, seed=k)
        obs, following = ({"policy": own_rows(o["policy"])[None]} for o in (whole.obs, whole.next_obs))
        batch = Batch(obs, *(own_rows(x)[None] for x in (whole.action, whole.reward, whole.discount)), following)
        batch = agent._normalised(batch).minibatch(0)
        agent._update_critics(batch)
        agent._update_actor(batch)
    if distributed.rank() == 0:
        norm = agent.norms["policy"]
        torch.save([w.detach() for w in agent._weights()] + [norm.mean, norm.var, norm.count], path)
    distributed.destroy_process_group()
    distributed.exit_process(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
