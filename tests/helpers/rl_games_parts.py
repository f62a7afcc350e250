"""Components as users of rl_games write them, and short trainings with them."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import torch

from regimen.agents.runner import library

library.load()  # a bare import of rl_games warns, which is an error in tests

# ruff: noqa: E402
from rl_games.algos_torch.a2c_continuous import A2CAgent
from rl_games.algos_torch.models import ModelA2CContinuousLogStd
from rl_games.algos_torch.network_builder import A2CBuilder
from rl_games.algos_torch.players import PpoPlayerContinuous

from helpers.point_env import PointEnvCfg
from regimen.agents.rl_games.config import RlGamesCfg
from regimen.agents.runner.components import ComponentsCfg
from regimen.config.schema import Config, HardwareCfg
from regimen.envs.sims.mujoco import MujocoWorldCfg
from regimen.stages.train import TrainCfg

CONTINUOUS = {
    "mu_activation": "None",
    "sigma_activation": "None",
    "mu_init": {"name": "default"},
    "sigma_init": {"name": "const_initializer", "val": -0.7},
    "fixed_sigma": True,
}
MLP = {"units": [16, 16], "activation": "elu", "initializer": {"name": "default"}}
PPO: dict[str, Any] = {
    "algo": {"name": "a2c_continuous"},
    "model": {"name": "continuous_a2c_logstd"},
    "network": {"name": "actor_critic", "separate": False, "space": {"continuous": CONTINUOUS}, "mlp": MLP},
    "config": {
        "max_epochs": 6,
        "horizon_length": 8,
        "minibatch_size": 32,
        "mini_epochs": 2,
        "gamma": 0.9,
        "tau": 0.95,
        "learning_rate": 3e-3,
        "lr_schedule": "adaptive",
        "kl_threshold": 0.008,
        "e_clip": 0.2,
        "clip_value": True,
        "critic_coef": 2,
        "entropy_coef": 0.0,
        "bounds_loss_coef": 1e-4,
        "grad_norm": 1.0,
        "truncate_grads": True,
        "normalize_input": True,
        "normalize_value": True,
        "normalize_advantage": True,
        "reward_shaper": {"scale_value": 0.5},
    },
}
SAC: dict[str, Any] = {
    "algo": {"name": "sac"},
    "model": {"name": "soft_actor_critic"},
    "network": {
        "name": "soft_actor_critic",
        "separate": True,
        "space": {"continuous": None},
        "mlp": {"units": [16, 16], "activation": "relu", "initializer": {"name": "default"}},
        "log_std_bounds": [-5, 2],
    },
    "config": {
        "max_epochs": 40,
        "num_steps_per_episode": 2,
        "num_updates_per_step": 1,
        "num_warmup_steps": 4,
        "normalize_input": True,
        "batch_size": 16,
        "init_alpha": 0.5,
        "learnable_temperature": True,
        "replay_buffer_size": 200,
        "gamma": 0.9,
        "actor_lr": 1e-3,
        "critic_lr": 1e-3,
        "alpha_lr": 1e-3,
    },
}


class RingAgent(A2CAgent):
    """Keeps past observations in a ring, draws from it, and adds to its loss how far the policy has moved on them."""

    def __init__(self, base_name: str, params: dict[str, Any]) -> None:
        super().__init__(base_name, params)
        self.ring = Ring(40, self.obs_shape[0])
        self.recent: deque[float] = deque(maxlen=3)
        self.order = torch.randperm(40)
        self.draws = torch.Generator().manual_seed(5)
        self.counts = {"kept": 0, 3: 0.0}

    def prepare_dataset(self, batch_dict: dict[str, torch.Tensor]) -> None:
        super().prepare_dataset(batch_dict)
        self.ring.add(batch_dict["obses"][torch.randperm(len(batch_dict["obses"]), generator=self.draws)[:7]])
        self.order = self.order.roll(self.config["ring_shift"])
        drawn = self.ring.rows[self.order[:4]]
        self.recent.append(float(drawn.mean()))
        self.counts["kept"] += 1
        self.entropy_coef = 0.01 * abs(sum(self.recent))


class Ring:
    __slots__ = ("at", "rows")

    def __init__(self, size: int, width: int) -> None:
        self.rows, self.at = torch.zeros(size, width), 0

    def add(self, rows: torch.Tensor) -> None:
        for row in rows:
            self.rows[self.at] = row
            self.at = (self.at + 1) % len(self.rows)


class LateAgent(A2CAgent):
    """Creates its ring when a training begins."""

    def init_tensors(self) -> None:
        super().init_tensors()
        self.ring = Ring(4, self.obs_shape[0])


class QuietModel(ModelA2CContinuousLogStd):
    """A model of the user: the library's, half as noisy."""

    class Network(ModelA2CContinuousLogStd.Network):
        def forward(self, input_dict: dict[str, Any]) -> dict[str, Any]:
            result = super().forward(input_dict)
            if not input_dict.get("is_train", True):
                result["actions"] = result["mus"] + 0.5 * (result["actions"] - result["mus"])
            return result


class WideBuilder(A2CBuilder):
    """A network of the user: twice as wide as configured."""

    def load(self, params: dict[str, Any]) -> None:
        wide = copy.deepcopy(params)
        wide["mlp"]["units"] = [params["width_factor"] * units for units in wide["mlp"]["units"]]
        super().load(wide)


class PatientPlayer(PpoPlayerContinuous):
    """A player of the user: stands still."""

    def get_action(self, obs: Any, is_deterministic: bool = False) -> torch.Tensor:
        return torch.zeros_like(super().get_action(obs, is_deterministic))


class NoAgent:
    """No subclass of anything."""


def changed(params: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """A copy of `params` with other settings in `config`; `network` is merged into the network."""
    made = copy.deepcopy(params)
    made["network"] |= settings.pop("network", {})
    made["config"] |= settings
    return made


def rl_games_config(params: dict[str, Any], interval: int = 8, **components: dict[str, str]) -> Config:
    """A training of `params` on the point env."""
    return Config(
        env=PointEnvCfg(num_envs=8, episode_length_s=1.2),
        sim=MujocoWorldCfg(),
        agent=RlGamesCfg(params=params, components=ComponentsCfg(**components)),
        hardware=HardwareCfg(threads=1),
        stage=TrainCfg(checkpoint_interval=interval),
        seed=0,
        choices={"task": "point", "sim": "mujoco", "agent": "rl_games", "hardware": "cpu", "stage": "train"},
    )
