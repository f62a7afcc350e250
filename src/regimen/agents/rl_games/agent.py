"""Agents of rl_games, and of users of its interface, in a run, resumed exactly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.rl_games.config import RlGamesCfg
from regimen.agents.rl_games.policy import MeanAction, RlGamesPolicy
from regimen.agents.runner.runner import Runner
from regimen.agents.runner.training import AgentTraining, restart
from regimen.config.structured import build
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError
from regimen.system.seeding import seed_all

if TYPE_CHECKING:
    from regimen.agents.training_session import TrainingSession
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict


class RlGames:
    """Trains an agent that `params.algo.name` names.

    Attributes:
        runner: registries with the components.
        agent: the agent of rl_games.
    """

    def __init__(self, cfg: RlGamesCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> None:
        """Build the agent.

        Raises:
            ConfigError: the settings do not fit.
            PreflightError: rl_games is not installed.
        """
        self.cfg, self.num_envs, self.seed = cfg, num_envs, seed
        self.runner = _runner(cfg, device, seed)
        self.agent, self.adapter = self.runner.build_agent(io, num_envs, seed)
        self.training = AgentTraining(self.agent, self.adapter)

    @property
    def total_steps(self) -> int:
        """Env steps per env of the whole training."""
        return self.cfg.total_steps(self.num_envs)

    def learn(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Train until `total_steps`, or until the agent ends by itself, as at `score_to_win`.

        Args:
            env: new, or restored if `resume` is given.
            session: receives every step and epoch.
            resume: the `training` part of a checkpoint, or None to begin.

        Raises:
            DivergedError: naming what is not finite.
        """
        self.training.learn(env, session, resume, self.seed)

    def load_policy_state(self, state: StateDict) -> None:
        """Initialise the model by another run's policy.

        Raises:
            CheckpointError: it is of another architecture.
        """
        _load_model(self.agent.model, state)

    def restart(self, state: StateDict, obs: Obs) -> StateDict:
        """Return the state of a checkpoint for envs that begin new episodes with `obs`; recurrent states are zero."""
        return restart(state, obs)

    def policy(self) -> RlGamesPolicy:
        """Return the policy of the agent's present model."""
        clip = bool(self.cfg.settings.get("clip_actions", False))
        return RlGamesPolicy(MeanAction(self.agent.model, clip, self.adapter.bounds))

    @classmethod
    def of_bundle(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> RlGames:
        """Return an agent with the weights of a checkpoint."""
        cfg = build(RlGamesCfg, {**bundle["agent"]})
        made = cls(cfg, io, int(bundle["policy"]["num_envs"]), device, 0)
        made.load_policy_state(bundle["policy"])
        return made

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> RlGamesPolicy:
        """Return the policy of a checkpoint, acting by the model's own mean; global generators stay as they are."""
        with checkpoint.unchanged_rng():
            return cls.of_bundle(bundle, io, device).policy()

    @classmethod
    def play(
        cls, bundle: PolicyBundle, env: VecEnv, name: str, seed: int, games_num: int | None = None
    ) -> dict[str, float]:
        """Run a registered player with the policy of a checkpoint; return `av_reward`, `av_steps` and `games`.

        Args:
            bundle: the checkpoint.
            env: the environment.
            name: of the player, or `pkg.mod:Class`.
            seed: of environment and draws.
            games_num: episodes; None: those of the configuration.
        """
        made = cls.of_bundle(bundle, env.io, env.device)
        if "training" in bundle:
            state = bundle["training"]["agent"]["agent"]
            made.training.capture.load(made.agent, state, tolerate_absent=True)
        made.runner.params["seed"] = seed
        if games_num is not None:
            settings = made.runner.params["config"]
            settings["player"] = {**(settings.get("player") or {}), "games_num": games_num}
        if name not in made.runner.player.names():
            made.runner.player.register(name, name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "agent.pth"
            torch.save(made.agent.get_full_state_weights(), path)
            seed_all(seed)  # building the agent has seeded the generators alike for every evaluation
            return made.runner.play(name, env, path)


def _runner(cfg: RlGamesCfg, device: torch.device, seed: int) -> Runner:
    runner = Runner(device=device)
    runner.register_all(cfg.components)
    runner.load({"params": {**cfg.params, "seed": seed}})
    return runner


def _load_model(model: Any, state: StateDict) -> None:
    if "model" not in state:
        raise CheckpointError("This policy was not trained by rl_games: its weights belong to another library.")
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in state["model"].items() if k.endswith("weight"))
        raise CheckpointError(
            f"The policy's network is not the one that agent.params.network describes; it has {shapes}. {error}"
        ) from error
