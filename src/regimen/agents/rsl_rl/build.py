"""Build the library's objects from a configuration, with a stub of the environment."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rsl_rl.utils import resolve_callable, resolve_class
from tensordict import TensorDict

from regimen.system.distributed import local_rank, rank, world_size

if TYPE_CHECKING:
    from regimen.agents.rsl_rl.config import RslRlPpoCfg
    from regimen.envs.vec_env import IOSpec


class EnvStub:
    """Sizes and times of the task; the argument `env` of a user's symmetry function.

    Attributes:
        io: names, sizes and order of observations and actions.
        num_envs: N.
        num_actions: A.
        step_dt: seconds between two actions, by which the library scales the weight of random network distillation.
        device: of the agent.
    """

    def __init__(self, io: IOSpec, num_envs: int, device: torch.device) -> None:
        self.io, self.num_envs, self.device = io, num_envs, device
        self.num_actions, self.step_dt = io.num_actions, io.step_dt

    @property
    def unwrapped(self) -> EnvStub:
        """Itself: nothing is wrapped."""
        return self

    def no_observations(self, groups: list[str]) -> dict[str, torch.Tensor]:
        """Return group -> zeros (N, d), from which the library reads the sizes."""
        return {group: torch.zeros(self.num_envs, self.io.size(group), device=self.device) for group in groups}


def as_tensordict(obs: Mapping[str, torch.Tensor], groups: list[str], device: torch.device) -> Any:
    """Return the observations of `groups` as a TensorDict of N rows on the agent's device."""
    chosen = {group: obs[group].to(device) for group in groups}
    return TensorDict(chosen, batch_size=[len(chosen[groups[0]])], device=device)


def groups_of(cfg: RslRlPpoCfg) -> list[str]:
    """Return the observation groups that any model reads."""
    return list(dict.fromkeys(group for groups in cfg.obs_groups.values() for group in groups))


def build(cfg: RslRlPpoCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> Any:
    """Return the library's algorithm with its models and storage.

    Args:
        cfg: the `agent` group.
        io: sizes of observations and actions.
        num_envs: N.
        device: of models and storage.
        seed: of the initial weights, and of what the user's own classes may draw.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    keys = ("num_steps_per_env", "obs_groups", "actor", "critic", "algorithm", "torch_compile_mode")
    sections = {key: copy.deepcopy(getattr(cfg, key)) for key in keys} | {"multi_gpu": _processes()}
    facts, groups = EnvStub(io, num_envs, device), groups_of(cfg)
    obs = as_tensordict(facts.no_observations(groups), groups, device)
    algorithm: Any = resolve_callable(cfg.algorithm["class_name"])
    with redirect_stdout(None):  # the library prints its models
        return algorithm.construct_algorithm(obs, facts, sections, str(device))


def _processes() -> dict[str, int] | None:
    """Return the library's description of the processes that train together; None for one."""
    if world_size() == 1:
        return None
    return {"global_rank": rank(), "local_rank": local_rank(), "world_size": world_size()}


def build_actor(cfg: RslRlPpoCfg, io: IOSpec, device: torch.device) -> Any:
    """Return the policy network alone; see `build`."""
    model, arguments = resolve_class(cfg.actor)
    obs = EnvStub(io, 1, device).no_observations(cfg.obs_groups["actor"])
    return model(obs, cfg.obs_groups, "actor", io.num_actions, **arguments).to(device)
