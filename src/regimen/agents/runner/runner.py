"""`Runner` with the interface of rl_games': registries, `load`, `run_train`, `run_play`, on any `VecEnv`."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.runner import library, limits
from regimen.agents.runner.components import KINDS, ComponentsCfg
from regimen.agents.runner.registry import Builder, Registry
from regimen.system.errors import ConfigError
from regimen.system.seeding import seed_all

if TYPE_CHECKING:
    from regimen.agents.runner.env_adapter import EnvAdapter
    from regimen.envs.vec_env import IOSpec, StepInfo, VecEnv

Params = dict[str, Any]
"""Sections `algo`, `model`, `network` and `config` of an rl_games configuration."""


class Runner:
    """Builds, trains and plays agents by the names in a configuration.

    Attributes:
        algo: algorithms; `algo_factory` is the same registry under the library's name.
        player: players; also `player_factory`.
        model: models.
        network: builders of networks.
        params: the loaded configuration.
    """

    def __init__(
        self, env: VecEnv | None = None, algo_observer: Any = None, device: str | torch.device = "cpu"
    ) -> None:
        """Begin with the components of rl_games.

        Args:
            env: for `run_train` and `run_play`.
            algo_observer: an `rl_games.common.algo_observer.AlgoObserver`.
            device: of networks.

        Raises:
            PreflightError: rl_games is not installed.
        """
        library.load()
        self.env, self.algo_observer, self.device = env, algo_observer, torch.device(device)
        self.algo, self.player = Registry("algo"), Registry("player")
        self.model, self.network = Registry("model"), Registry("network")
        self.algo_factory, self.player_factory = self.algo, self.player
        self.params: Params = {}
        self.agent: Any = None

    def register(self, kind: str, name: str, builder: Builder | str) -> None:
        """Add a component; see `Registry.register`.

        Args:
            kind: `algo`, `player`, `model` or `network`.
            name: by which a configuration names it.
            builder: class, function, or `pkg.mod:Class`.
        """
        if kind not in KINDS:
            raise ConfigError(f"There is no kind of components `{kind}`: expected {', '.join(KINDS)}.")
        getattr(self, kind).register(name, builder)

    def register_all(self, components: ComponentsCfg) -> None:
        """Add the components of a configuration."""
        for kind in KINDS:
            for name, target in components.of(kind).items():
                self.register(kind, name, target)

    def load(self, config: Mapping[str, Any]) -> None:
        """Take a configuration.

        Args:
            config: `{"params": {"algo", "model", "network", "config", …}}`.

        Raises:
            ConfigError: a section is missing, or no component has a name.
        """
        params = config.get("params")
        if not isinstance(params, Mapping):
            raise ConfigError("Expected the key `params` with `algo`, `model`, `network` and `config`.")
        for kind in ("algo", "model", "network"):
            self.registry(kind).builder(_name(params, kind))
        if not isinstance(params.get("config"), Mapping):
            raise ConfigError("params.config is missing: it holds the settings of the algorithm.")
        self.params = copy.deepcopy(dict(params))

    def registry(self, kind: str) -> Registry:
        """Return the registry of a kind."""
        registry: Registry = getattr(self, kind)
        return registry

    def run(self, args: Mapping[str, Any]) -> Any:
        """Play if `args["play"]` is set and `args["train"]` is not, else train."""
        return self.run_play(args) if args.get("play") and not args.get("train") else self.run_train(args)

    def run_train(self, args: Mapping[str, Any] | None = None) -> Any:
        """Train until the first of `max_epochs` and `max_frames`; return the agent.

        Args:
            args: `checkpoint`, a file of rl_games to start from; `sigma`, the standard deviation to start with.
        """
        from regimen.agents.runner.training import AgentTraining

        env, args = self._env(), args or {}
        epochs = self.max_epochs
        self.agent, adapter = self.build_agent(env.io, env.num_envs, self.seed)
        training = AgentTraining(self.agent, adapter)
        _prepare(self.agent, args)
        session = _Steps(epochs * limits.epoch_steps(self.params["config"]))
        training.learn(env, session, None, self.seed)  # type: ignore[arg-type]
        return self.agent

    def run_play(self, args: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Play the agent of `run_train`, or a checkpoint; return `av_reward`, `av_steps` and `games`.

        Args:
            args: `checkpoint`, a file of rl_games; `sigma`.
        """
        env, args = self._env(), args or {}
        if not args.get("checkpoint") and self.agent is None:
            raise ConfigError("There is nothing to play: train first, or name a file by `checkpoint`.")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(args.get("checkpoint") or Path(folder) / "agent.pth")
            if not args.get("checkpoint"):
                torch.save(self.agent.get_full_state_weights(), path)
            return self.play(_name(self.params, "algo"), env, path, args)

    @property
    def seed(self) -> int:
        """The configuration's seed; 0 is one as well."""
        seed = self.params.get("seed")
        return int(time.time()) if seed is None else int(seed)

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole training.

        Raises:
            ConfigError: neither `max_epochs` nor `max_frames` is a limit.
        """
        epochs = limits.epochs(self.params["config"], self._env().num_envs)
        if epochs is None:
            raise ConfigError(f"params.config has no limit. {limits.EXPECTED}")
        return epochs

    def build_agent(self, io: IOSpec, num_envs: int, seed: int) -> tuple[Any, EnvAdapter]:
        """Return a new agent and the environment it is built for, to be attached.

        Args:
            io: observations and actions.
            num_envs: N.
            seed: of weights and draws.

        Raises:
            ConfigError: the settings do not fit.
        """
        from regimen.agents.runner.training import UpdateThreads

        adapter = self.adapter(io, num_envs)
        seed_all(seed)
        with tempfile.TemporaryDirectory() as folder:
            params = self._filled(adapter, self.algo_observer or UpdateThreads(), folder)
            agent = self._built("algo", base_name="run", params=params)
            if getattr(agent, "writer", None) is not None:
                agent.writer.close()
        _compile(agent, params["config"].get("torch_compile", False))
        return agent, adapter

    def play(self, name: str, env: VecEnv, checkpoint: Path, args: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Run a registered player; return mean reward and length of the episodes that it played, and their number.

        Without `games_num` in the configuration, these are the first of each env: the first N to end would be the short
        ones. What a method `figures` of the player returns is added.

        Args:
            name: of the player.
            env: its environment.
            checkpoint: file in the library's format.
            args: `sigma`.
        """
        episodes = _Episodes(env.num_envs)
        adapter = self.adapter(env.io, env.num_envs)
        adapter.attach(env, episodes, None, self.seed, stagger=False)
        params = self._filled(adapter, self.algo_observer, "")
        given = params["config"].get("player") or {}
        params["config"]["player"] = {"games_num": env.num_envs, "print_stats": False, **given, "use_vecenv": True}
        player = self._built("player", name, params=params)
        if "games_num" not in given and player.games_num * player.n_game_life == env.num_envs:
            episodes.waiting[:] = True
            adapter.seen_ends = lambda: episodes.counted
        player.restore(str(checkpoint))
        _override_sigma(player, args or {})
        with library.unchanged_process():
            player.run()
        own: dict[str, float] = player.figures() if hasattr(player, "figures") else {}
        return episodes.figures() | own

    def adapter(self, io: IOSpec, num_envs: int) -> EnvAdapter:
        """Return the environment for agents of this configuration; SAC's actions span the range of the joints."""
        from rl_games.algos_torch.sac_agent import SACAgent

        from regimen.agents.action_bounds import action_bounds
        from regimen.agents.runner.env_adapter import EnvAdapter

        bounds, algo = None, self.algo.builder(_name(self.params, "algo"))
        if isinstance(algo, type) and issubclass(algo, SACAgent):
            bounds = torch.tensor(action_bounds(io.action, None, "env.actions.clip=1.0"), device=self.device)
        return EnvAdapter(io, num_envs, self.device, bounds)

    def _env(self) -> VecEnv:
        if self.env is None:
            raise ConfigError("This Runner has no environment: Runner(env).")
        if not self.params:
            raise ConfigError("This Runner has no configuration: call load first.")
        return self.env

    def _filled(self, adapter: EnvAdapter, observer: Any, folder: str) -> Params:
        """Return a copy of the configuration with what the library expects of its own runner and of a command line."""
        from rl_games.common.tr_helpers import DefaultRewardsShaper

        params = copy.deepcopy(self.params)
        config = params["config"]
        on_gpu = self.device.type == "cuda"
        config |= {
            "name": "run", "full_experiment_name": "run", "env_name": "regimen", "num_actors": adapter.num_envs,
            "env_info": adapter.get_env_info(), "vec_env": adapter, "multi_gpu": False, "train_dir": folder,
            "device": str(self.device), "device_name": str(self.device), "print_stats": False, "save_frequency": 0,
            "mixed_precision": bool(config.get("mixed_precision", False)) and on_gpu,
            "reward_shaper": DefaultRewardsShaper(**(config.get("reward_shaper") or {})),
            "features": {**(config.get("features") or {}), "observer": observer},
        }  # fmt: skip
        config.setdefault("clip_actions", False)
        if "seq_len" in config:
            config.setdefault("seq_length", config.pop("seq_len"))
        config["max_epochs"] = limits.epochs(config, adapter.num_envs) or -1
        config.pop("max_frames", None)
        return params

    def _built(self, kind: str, name: str | None = None, **arguments: Any) -> Any:
        """Return a new agent or player, with this runner's models and networks registered in the library.

        Raises:
            ConfigError: a key is missing.
        """
        from rl_games.algos_torch import model_builder

        for own, builder in self.network.own.items():
            model_builder.register_network(own, builder)
        for own, builder in self.model.own.items():
            model_builder.register_model(own, builder)
        with library.unchanged_process():
            try:
                return self.registry(kind).create(name or _name(self.params, kind), **arguments)
            except KeyError as error:
                if not _reads_settings(error):
                    raise
                raise ConfigError(f"agent.params lacks the key {error}, which its {kind} reads.") from error


class _Steps:
    """Counts the steps of a training without a run."""

    def __init__(self, total_steps: int) -> None:
        self.steps_done, self.total_steps = 0, total_steps

    def step(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo) -> None:
        self.steps_done += 1

    def end_iteration(self, losses: dict[str, float], bundle: Any) -> None:
        """Keep nothing."""


class _Episodes:
    """Return and length of episodes that end.

    Attributes:
        waiting: (N,) envs whose first episode is to be counted; until none is left, no others are counted.
        counted: (N,) episodes that ended in the last step and are counted.
    """

    def __init__(self, num_envs: int) -> None:
        self.waiting = torch.zeros(num_envs, dtype=torch.bool)
        self.counted = torch.zeros(num_envs, dtype=torch.bool)
        self.reward, self.length = torch.zeros(num_envs), torch.zeros(num_envs)
        self.rewards: list[float] = []
        self.lengths: list[float] = []

    def step(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo) -> None:
        self.reward += reward.cpu()
        self.length += 1
        done = (terminated | truncated).cpu()
        self.counted = done & self.waiting if self.waiting.any() else done
        self.waiting = self.waiting & ~done
        self.rewards += self.reward[self.counted].tolist()
        self.lengths += self.length[self.counted].tolist()
        self.reward[done] = self.length[done] = 0.0

    def figures(self) -> dict[str, float]:
        count = max(1, len(self.rewards))
        means = {"av_reward": sum(self.rewards) / count, "av_steps": sum(self.lengths) / count}
        return means | {"games": float(len(self.rewards))}


def _name(params: Mapping[str, Any], kind: str) -> str:
    section = params.get(kind)
    name = section.get("name") if isinstance(section, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"params.{kind}.name is missing.")
    return name


def _prepare(agent: Any, args: Mapping[str, Any]) -> None:
    if args.get("checkpoint"):
        agent.restore(str(args["checkpoint"]))
    _override_sigma(agent, args)


def _override_sigma(agent: Any, args: Mapping[str, Any]) -> None:
    """Set the standard deviation of a network that has a fixed one.

    Raises:
        ConfigError: it has none.
    """
    if args.get("sigma") is None:
        return
    network: Any = getattr(agent.model, "a2c_network", None)
    if not getattr(network, "fixed_sigma", False):
        raise ConfigError("sigma: the network has no fixed standard deviation; set space.continuous.fixed_sigma=true.")
    with torch.no_grad():
        network.sigma.fill_(float(args["sigma"]))


def _compile(agent: Any, setting: Any) -> None:
    """Compile the model as `torch_compile` says: false, true, a mode, or `{mode, critic_mode}`."""
    if not setting:
        return
    modes = setting if isinstance(setting, Mapping) else {"mode": setting if isinstance(setting, str) else "default"}
    mode = modes.get("mode", "default")
    agent.model = torch.compile(agent.model, mode=mode)
    if getattr(agent, "central_value_net", None) is not None:
        central = agent.central_value_net
        central.model = torch.compile(central.model, mode=modes.get("critic_mode", mode))


def _reads_settings(error: BaseException) -> bool:
    """Return whether an error was raised by rl_games or by the components of AMP, and by no user's code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.startswith(("rl_games.", "regimen.agents.amp"))
