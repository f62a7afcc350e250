"""Twenty updates of PPO as one of several workers or alone; the first saves what it learnt, by agent.

python ppo_pair.py FILE: each worker steps its share of the envs. Rows of the env, noise of actions and minibatches are
functions of the number of a row among those of all workers, so what is left to differ is how the workers add up.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml
from torch.distributions import Normal

from helpers.point_env import PointEnv
from helpers.tasks import CONF
from regimen.agents.rsl_rl import RslRlPpo, RslRlPpoCfg
from regimen.agents.skrl_ppo import SkrlPpo, SkrlPpoCfg
from regimen.system import distributed

ENVS, STEPS, UPDATES, WORKERS = 8, 12, 20, 2
CPU, NO_SHAPE = torch.device("cpu"), torch.Size()
CURIOUS = {
    "rnd_cfg": {
        "weight": 0.5, "num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8],
        "state_normalization": True, "reward_normalization": True,
    }
}  # fmt: skip


MIRRORED = {
    "symmetry_cfg": {
        "data_augmentation_func": "agents.ppo_pair:with_mirror_image",
        "use_data_augmentation": True, "use_mirror_loss": True, "mirror_loss_coeff": 0.5,
    }
}  # fmt: skip


def with_mirror_image(env: Any, obs: Any, actions: torch.Tensor | None) -> tuple[Any, torch.Tensor | None]:
    """Observations and actions, and behind them the same of points mirrored at the origin."""
    both = None if obs is None else torch.cat([obs, obs.apply(torch.neg)])
    return both, None if actions is None else torch.cat([actions, -actions])


class RowEnv(PointEnv):
    """Points whose episodes follow from their number among those of all workers, and how many they had."""

    def __init__(self) -> None:
        super().__init__(ENVS // distributed.world_size(), length=10, noise=0.0)
        self.row = torch.arange(ENVS).chunk(distributed.world_size())[distributed.rank()]
        self.episode = torch.zeros_like(self.row)

    def restart(self, mask: torch.Tensor) -> None:
        phase = (self.row + 0.37 * self.episode)[:, None] * torch.tensor([1.0, 2.3, 3.1, 4.7])
        drawn = phase.sin()
        self.position[mask], self.goal[mask] = 1.2 * drawn[mask, :2], drawn[mask, 2:]
        self.age[mask] = 0
        self.episode += mask

    def stagger(self) -> None:
        self.age = self.row % self.max_episode_length


class Steps:
    """Counts steps and iterations, as a session does."""

    steps_done = iteration = 0

    def step(self, *_: Any) -> None:
        self.steps_done += 1

    def end_iteration(self, losses: dict[str, float], bundle: Any) -> None:
        self.iteration += 1
        self.losses = losses
        assert bundle().keys() == ({"policy", "training"} if distributed.rank() == 0 else {"training"})


class Draws:
    """Draws that the workers make together: each takes those of its rows, and one alone takes all of them.

    Attributes:
        parts: minibatches of an epoch.
        calls: draws so far.
    """

    def __init__(self, parts: int) -> None:
        self.parts, self.calls = parts, 0

    def _next(self, number: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(100 * self.calls + number)

    def sample(self, distribution: Normal, shape: torch.Size = NO_SHAPE) -> torch.Tensor:
        """Noise of the actions of a worker's rows; `shape` is always empty."""
        self.calls += 1
        mean, size = distribution.loc, distributed.world_size()
        noise = torch.randn(len(mean) * size, *mean.shape[1:], generator=self._next())
        return mean + distribution.scale * noise.chunk(size)[distributed.rank()]

    def randperm(self, count: int, **_: Any) -> torch.Tensor:
        """The order of a worker's rows; alone, minibatches with the rows of the same minibatch of all workers."""
        self.calls += 1
        size = distributed.world_size()
        orders = [torch.rand(count * size // WORKERS, generator=self._next(r)).argsort() for r in range(WORKERS)]
        if size > 1:
            return orders[distributed.rank()]
        envs = ENVS // WORKERS
        rows = [order // envs * ENVS + number * envs + order % envs for number, order in enumerate(orders)]
        return torch.cat([torch.cat(parts) for parts in zip(*(row.chunk(self.parts) for row in rows), strict=True)])


def rsl_rl(model: dict[str, Any], algorithm: dict[str, Any], **agent: Any) -> RslRlPpo:
    sections = yaml.safe_load((CONF / "agent" / "rsl_rl_ppo.yaml").read_text())
    sections |= {"max_iterations": UPDATES, "num_steps_per_env": STEPS, **agent}
    sections["algorithm"] |= {"num_learning_epochs": 2, "num_mini_batches": 2, **algorithm}
    for name in ("actor", "critic"):
        sections[name] |= {"hidden_dims": [16], **model}
    env = RowEnv()
    return RslRlPpo(RslRlPpoCfg(**sections), env.io, env.num_envs, CPU, seed=3)


def skrl() -> SkrlPpo:
    sections = yaml.safe_load((CONF / "agent" / "skrl_ppo.yaml").read_text())
    sections["agent"] |= {"learning_epochs": 2, "mini_batches": 2, "rollouts": STEPS}
    sections["trainer"]["timesteps"] = UPDATES * STEPS
    for role in ("policy", "value"):
        sections["models"][role]["network"][0]["layers"] = [16]
    env = RowEnv()
    return SkrlPpo(SkrlPpoCfg(**sections | {"value_warmup_iterations": 2}), env.io, env.num_envs, CPU, seed=3)


def learnt(agent: Any, parts: int) -> dict[str, Any]:
    """What twenty updates make of an agent: tensors by name, and the scalars of the last update."""
    draws, session = Draws(parts), Steps()
    with (
        patch.object(Normal, "sample", lambda *given: draws.sample(*given).detach()),
        patch.object(Normal, "rsample", lambda *given: draws.sample(*given)),
        patch.object(torch, "randperm", draws.randperm),
    ):
        agent.learn(RowEnv(), session, None)
    assert session.iteration == UPDATES
    ppo = agent.ppo
    if isinstance(agent, SkrlPpo):
        modules = {name: m.state_dict() for name, m in ppo.checkpoint_modules.items() if name != "optimizer"}
    else:
        modules = {"actor": ppo.actor.state_dict(), "critic": ppo.critic.state_dict()}
        modules |= {"rnd": ppo.rnd.state_dict()} if ppo.rnd else {}
    tensors = {f"{name}.{key}": value for name, state in modules.items() for key, value in state.items()}
    losses = {name: value for name, value in session.losses.items() if "time (ms)" not in name}
    return {"tensors": tensors, "losses": losses}


def main(path: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("cpu")
    recurrent = {"class_name": "RNNModel", "rnn_type": "lstm", "rnn_hidden_dim": 8}
    groups = {name: ["policy"] for name in ("actor", "critic", "rnd_state")}
    result = {
        "rsl_rl": learnt(rsl_rl({}, {}, value_warmup_iterations=2), 2),
        "recurrent": learnt(rsl_rl(recurrent, {"num_mini_batches": 1}), 1),
        "curious": learnt(rsl_rl({}, CURIOUS, obs_groups=groups), 2),
        "symmetric": learnt(rsl_rl({}, MIRRORED), 2),
        "skrl": learnt(skrl(), 2),
    }
    if distributed.rank() == 0:
        torch.save(result, path)
    distributed.destroy_process_group()
    distributed.exit_process(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
