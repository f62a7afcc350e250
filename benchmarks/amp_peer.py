"""The other parties of `benchmarks/amp.py`: AMP of skrl, and of IsaacGymEnvs out of a checkout, on our environment.

Both get observations, style features and pairs of the clips from `StyleEnv`. A checkout of IsaacGymEnvs is never part
of this repository; `isaacgymenvs.learning.amp_continuous` is imported from it and trains by its own `train`. What is
ours is said here, and printed: `gym` is gymnasium; `to_torch` is ours, since its module needs Isaac Gym; `seq_len`,
which rl_games has renamed, is set; nothing is saved.
"""

from __future__ import annotations

import copy
import importlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from skrl import logger
from skrl.agents.torch.amp import AMP
from skrl.envs.wrappers.torch import Wrapper
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.resources.schedulers.torch import KLAdaptiveLR
from skrl.trainers.torch import SequentialTrainer
from torch import nn

from regimen.agents.runner import library
from regimen.envs.motion.style_features import style_features

library.load()

from rl_games.algos_torch import model_builder  # noqa: E402
from rl_games.common.algo_observer import DefaultAlgoObserver  # noqa: E402
from rl_games.common.ivecenv import IVecEnv  # noqa: E402
from rl_games.common.tr_helpers import DefaultRewardsShaper  # noqa: E402

CHANGES = "IsaacGymEnvs: gym is gymnasium, to_torch is a stub, seq_len is set, nothing is saved"
NAME = "isaacgymenvs_amp"
CLIP_ROWS = 512
"""Transitions of the clips that a peer adds to its ring in each rollout, as both do by default."""

DEMO_ROWS = 40 * CLIP_ROWS
"""Rows of that ring. skrl's forgets all rows but the last ones if rows that are added do not end where it ends."""


@dataclass
class Side:
    """A training that has been built.

    Attributes:
        train: trains to the end.
        modules: policy and discriminator.
        losses: names and values of the last update, once it has trained.
    """

    train: Callable[[], Any]
    modules: list[nn.Module]
    losses: dict[str, float] = field(default_factory=dict)


class StyleEnv:
    """Our environment with the style features of each step, and the clips."""

    viewer = None

    def __init__(self, env: Any, seed: int) -> None:
        self.inner, self.motion, self.seed = env, env.motion, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.features = self.fetch_amp_obs_demo(1)

    def reset(self) -> torch.Tensor:
        """Return observations (N, d) of envs whose episodes begin at random times."""
        obs = self.inner.reset(seed=self.seed)
        self.inner.stagger()
        self.obs, self.pose = obs["policy"], obs["motion"]
        return self.obs

    def step(self, actions: torch.Tensor) -> Any:
        """Step by actions (N, A); `features` (N, f) then describe the transition to the pose before a reset."""
        obs, reward, terminated, truncated, info = self.inner.step(actions)
        dt, joints = self.inner.io.step_dt, self.motion.num_joints
        self.features = style_features(self.pose, info["final_obs"]["motion"], dt, joints).nan_to_num()
        self.obs, self.pose = obs["policy"], obs["motion"]
        return self.obs, reward, terminated, truncated, info

    def fetch_amp_obs_demo(self, n: int) -> torch.Tensor:
        """Return style features (n, f) of transitions drawn from the clips."""
        pairs = self.motion.sample_pairs(n, self.generator)
        return style_features(pairs[:, 0], pairs[:, 1], self.inner.io.step_dt, self.motion.num_joints)


def box(size: int, bound: float = float("inf")) -> Box:
    """Return the space of `size` numbers."""
    return Box(-bound, bound, (size,), np.float32)


class SkrlEnv(Wrapper):
    """The environment as skrl's trainer sees one."""

    def __init__(self, env: StyleEnv) -> None:
        self.env, self.io = env, env.inner.io

    num_envs = property(lambda self: self.env.inner.num_envs)
    device = property(lambda self: self.env.inner.device)
    num_agents = property(lambda self: 1)
    observation_space = property(lambda self: box(self.io.size()))
    state_space = property(lambda self: None)
    action_space = property(lambda self: box(self.io.num_actions))

    def reset(self) -> Any:
        return self.env.reset(), {}

    def step(self, actions: torch.Tensor) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(actions)
        info = {**info, "amp_obs": self.env.features}
        return obs, reward[:, None].clone(), terminated[:, None], truncated[:, None], info

    def state(self) -> None:
        return None

    def render(self) -> None:
        return None

    def close(self) -> None:
        return None


def layers(width: int, out: int, activation: type[nn.Module]) -> nn.Sequential:
    """Return layers of 256 and 128 between `width` and `out`."""
    hidden = nn.Linear(width, 256), activation(), nn.Linear(256, 128), activation()
    return nn.Sequential(*hidden, nn.Linear(128, out))


class Policy(GaussianMixin, Model):
    """Policy with a learned standard deviation that does not depend on the observation."""

    def __init__(self, env: SkrlEnv, log_std: float) -> None:
        spaces = {"observation_space": env.observation_space, "action_space": env.action_space}
        Model.__init__(self, **spaces, device=env.device)
        GaussianMixin.__init__(self)
        self.net = layers(self.num_observations, self.num_actions, nn.ELU)
        nn.init.orthogonal_(self.net[-1].weight, 0.01)
        self.log_std = nn.Parameter(torch.full((self.num_actions,), log_std))

    def compute(self, inputs: dict[str, Any], role: str) -> Any:
        return self.net(inputs["observations"]), {"log_std": self.log_std}


class Scalar(DeterministicMixin, Model):
    """Value of an observation, or logit of a transition."""

    def __init__(self, env: SkrlEnv, space: Box, activation: type[nn.Module]) -> None:
        Model.__init__(self, observation_space=space, action_space=env.action_space, device=env.device)
        DeterministicMixin.__init__(self)
        self.net = layers(self.num_observations, 1, activation)

    def compute(self, inputs: dict[str, Any], role: str) -> Any:
        return self.net(inputs["observations"]), {}


class LoggedAMP(AMP):
    """skrl's agent, whose last losses are kept."""

    def track_data(self, tag: str, value: float) -> None:
        super().track_data(tag, value)
        if tag.startswith("Loss"):
            self.last[tag] = value


def skrl_amp(config: Any, env: Any, folder: Path) -> Side:
    """Build skrl's AMP and its SequentialTrainer with the settings of a configuration of ours."""
    logger.setLevel(logging.WARNING)
    params, settings = config.agent.params, config.agent.params["config"]
    style = StyleEnv(env, config.seed)
    wrapper = SkrlEnv(style)
    space = box(style.features.shape[1])
    models = {
        "policy": Policy(wrapper, params["network"]["space"]["continuous"]["sigma_init"]["val"]),
        "value": Scalar(wrapper, wrapper.observation_space, nn.ELU),
        "discriminator": Scalar(wrapper, space, nn.ReLU),
    }
    scalers = {"observation": wrapper.observation_space, "value": 1, "amp_observation": space}
    cfg: dict[str, Any] = {f"{name}_preprocessor": RunningStandardScaler for name in scalers}
    cfg |= {f"{name}_preprocessor_kwargs": {"size": size, "device": env.device} for name, size in scalers.items()}
    cfg |= {
        "rollouts": settings["horizon_length"],
        "learning_epochs": settings["mini_epochs"],
        "mini_batches": settings["horizon_length"] // settings["minibatch_size_per_env"],
        "discount_factor": settings["gamma"],
        "gae_lambda": settings["tau"],
        "learning_rate": settings["learning_rate"],
        "learning_rate_scheduler": KLAdaptiveLR,
        "learning_rate_scheduler_kwargs": {"kl_threshold": settings["kl_threshold"]},
        "grad_norm_clip": settings["grad_norm"],
        "ratio_clip": settings["e_clip"],
        "value_clip": 0.0,
        "value_loss_scale": 0.5 * settings["critic_coef"],
        "time_limit_bootstrap": True,
        "task_reward_scale": settings["task_reward_w"],
        "style_reward_scale": settings["disc_reward_w"] * env.io.step_dt,
        "amp_batch_size": CLIP_ROWS,
        "discriminator_batch_size": settings["amp_minibatch_size"],
        "discriminator_loss_scale": settings["disc_coef"],
        "discriminator_logit_regularization_scale": settings["disc_logit_reg"],
        "discriminator_gradient_penalty_scale": settings["disc_grad_penalty"],
        "discriminator_weight_decay_scale": settings["disc_weight_decay"],
        "experiment": {
            "directory": str(folder),
            "write_interval": settings["horizon_length"],
            "checkpoint_interval": 0,
        },
    }
    agent = LoggedAMP(
        models=models,
        memory=RandomMemory(memory_size=cfg["rollouts"], num_envs=env.num_envs, device=env.device),
        observation_space=wrapper.observation_space,
        action_space=wrapper.action_space,
        device=env.device,
        cfg=cfg,
        amp_observation_space=space,
        motion_dataset=RandomMemory(memory_size=DEMO_ROWS, device=env.device),
        reply_buffer=RandomMemory(memory_size=settings["amp_replay_buffer_size"], device=env.device),
        collect_reference_motions=style.fetch_amp_obs_demo,
    )
    agent.last = {}
    trainer_cfg = {
        "timesteps": config.agent.total_steps(env.num_envs),
        "headless": True,
        "disable_progressbar": True,
        "close_environment_at_exit": False,
        "environment_info": "log",
    }
    trainer = SequentialTrainer(env=wrapper, agents=agent, cfg=trainer_cfg)
    return Side(trainer.train, [models["policy"], models["discriminator"]], agent.last)


class IsaacEnv(IVecEnv):
    """The environment as IsaacGymEnvs' agent sees one: a step returns the observation before resets."""

    def __init__(self, env: StyleEnv) -> None:
        self.env = env

    def get_env_info(self) -> dict[str, Any]:
        io = self.env.inner.io
        spaces = {"observation_space": box(io.size()), "action_space": box(io.num_actions, 1.0)}
        return {**spaces, "amp_observation_space": box(self.env.features.shape[1])}

    def reset(self) -> torch.Tensor:
        return self.env.reset()

    def reset_done(self) -> tuple[torch.Tensor, None]:
        return self.env.obs, None

    def step(self, actions: torch.Tensor) -> Any:
        _, reward, terminated, truncated, info = self.env.step(actions)
        infos = {"terminate": terminated, "amp_obs": self.env.features}
        return info["final_obs"]["policy"], reward, terminated | truncated, infos


def isaacgymenvs_amp(checkout: Path) -> Callable[[Any, Any, Path], Side]:
    """Import IsaacGymEnvs' agent from a checkout; return what builds a training with it."""
    import gymnasium

    if not (checkout / "isaacgymenvs" / "learning" / "amp_continuous.py").is_file():
        raise SystemExit(
            f"{checkout} is no checkout of IsaacGymEnvs: isaacgymenvs/learning/amp_continuous.py is missing."
        )
    for name in ("isaacgymenvs", "isaacgymenvs.utils"):  # without their __init__.py, which needs Isaac Gym
        package = ModuleType(name)
        package.__path__ = [str(checkout.joinpath(*name.split(".")))]
        sys.modules[name] = package
    tools: Any = ModuleType("isaacgymenvs.utils.torch_jit_utils")
    tools.to_torch = partial(torch.tensor, dtype=torch.float)
    sys.modules[tools.__name__] = tools
    sys.modules.setdefault("gym", gymnasium)
    with library.unchanged_process():
        parts = ("continuous", "models", "network_builder")
        part = {name: importlib.import_module(f"isaacgymenvs.learning.amp_{name}") for name in parts}

    class Agent(part["continuous"].AMPAgent):  # type: ignore[name-defined, misc]
        """Its agent, whose last losses are kept."""

        seq_len = 4

        def train_epoch(self) -> Any:
            info = super().train_epoch()
            for name in ("actor_loss", "critic_loss", "disc_loss"):
                self.last[name] = float(info[name][-1].detach().mean())
            return info

        def save(self, *_: Any) -> None:
            return None

    def build(config: Any, env: Any, folder: Path) -> Side:
        params = copy.deepcopy(config.agent.params)
        settings, network = params["config"], params["network"]
        model_builder.register_model(NAME, part["models"].ModelAMPContinuous)
        model_builder.register_network(NAME, part["network_builder"].AMPBuilder)
        network["space"]["continuous"]["learn_sigma"] = True
        adapter = IsaacEnv(StyleEnv(env, config.seed))
        settings |= {
            "name": "run",
            "env_name": "regimen",
            "train_dir": str(folder),
            "device": str(env.device),
            "num_actors": env.num_envs,
            "vec_env": adapter,
            "env_info": adapter.get_env_info(),
            "reward_shaper": DefaultRewardsShaper(),
            "features": {"observer": DefaultAlgoObserver()},
            "clip_actions": False,
            "max_epochs": settings["max_epochs"] - 1,  # it trains for one more
            "critic_coef": 0.5 * settings["critic_coef"],  # rl_games halves it
            "disc_reward_w": settings["disc_reward_w"] * env.io.step_dt,
            "amp_batch_size": CLIP_ROWS,
            "amp_obs_demo_buffer_size": DEMO_ROWS,
        }
        params |= {"model": {"name": NAME}, "network": {**network, "name": NAME}}
        with library.unchanged_process():
            agent = Agent("run", params)
        agent.last = {}
        policy, discriminator = agent.model.a2c_network.actor_mlp, agent.model.a2c_network._disc_mlp
        return Side(agent.train, [policy, discriminator], agent.last)

    return build
