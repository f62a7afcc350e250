"""`RlGamesCfg` and its checks. The library is not imported: its source is parsed for what it reads."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.agents.runner import limits
from regimen.agents.runner.components import ComponentsCfg
from regimen.config.task_schema import above_zero
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.agents.runner.config_keys import Keys
    from regimen.config.yaml_io import PlainConfig

Section = dict[str, Any]

_NAMED = "name=<name> names the run"
_STARTED = "policy=<run>@<step> starts from a policy, resume=<run> continues a run"
_FOLDERS = "the run has its own directory"
_DEVICE = "hardware.device=<device>"
SUPPLIED = {
    "params.seed": "seed=<number>",
    "params.load_checkpoint": _STARTED,
    "params.load_path": _STARTED,
    "params.torch_threads": "hardware.threads=<number>",
    "params.config.name": _NAMED,
    "params.config.full_experiment_name": _NAMED,
    "params.config.env_name": "task=<name>",
    "params.config.env_config": "task=<name> and its keys, such as env.num_envs",
    "params.config.num_actors": "env.num_envs=<number>",
    "params.config.multi_gpu": "one process trains",
    "params.config.device": _DEVICE,
    "params.config.device_name": _DEVICE,
    "params.config.train_dir": _FOLDERS,
    "params.config.log_path": _FOLDERS,
    "params.config.network_path": _FOLDERS,
    "params.config.print_stats": "the run shows its progress",
    "params.config.amp_obs_demo_buffer_size": "env.motion: pairs are drawn from the clips themselves",
    "params.config.amp_batch_size": "env.motion: pairs are drawn from the clips themselves",
    "params.config.save_frequency": "stage.checkpoint_interval=<env steps per env>",
}
"""Keys below `agent` that a run supplies -> where they are set instead."""

MOVED = {
    "max_steps": "rl_games 1.6.5 fails on it. Type max_frames=<env steps of all envs together>.",
    "normalize_rms_advantage": "rl_games 1.6.5 fails on it: leave it out.",
    "population_based_training": "Sweeps take its place: launch.py -m agent.params.config.learning_rate=1e-4,3e-4.",
    "self_play_config": "Self-play needs an environment with opponents, which no task has: leave it out.",
    "use_action_masks": "No task has action masks: leave it out.",
}
"""Keys of `params.config` that rl_games reads and that have no effect or do not work here."""

FILLED = {"features", "network", "reward_shaper", "env_info", "vec_env", "is_train"}
"""Keys of `params.config` that `Runner` fills in."""

SECTIONS = ("algo", "model", "network", "config")
SAC_UPDATES = ("num_steps_per_episode", "num_updates_per_step")
INITIALIZERS = ("initializer", "_init")


@dataclass
class RlGamesCfg:
    """A configuration of rl_games as its users have it.

    Attributes:
        params: sections `algo`, `model`, `network` and `config`, in the keys of rl_games 1.6.5.
        components: a user's own algorithms, players, models and networks, by name.
    """

    SUPPLIED: ClassVar[dict[str, str]] = SUPPLIED
    POLICY_FORMAT: ClassVar[str] = "rl_games"
    _target_: str = "regimen.agents.rl_games.RlGames"
    params: Section = field(default_factory=dict)
    components: ComponentsCfg = field(default_factory=ComponentsCfg)

    @property
    def settings(self) -> Section:
        """The section `params.config`."""
        settings = self.params.get("config")
        return settings if isinstance(settings, dict) else {}

    def epoch_steps(self) -> int:
        """Return the env steps per env of an epoch."""
        return limits.epoch_steps(self.settings)

    def total_steps(self, num_envs: int) -> int:
        """Return the env steps per env of the whole training with N envs.

        Raises:
            ConfigError: neither `max_epochs` nor `max_frames` is a limit.
        """
        epochs = limits.epochs(self.settings, num_envs)
        if epochs is None:
            raise ConfigError(f"agent.params.config has no limit. {limits.EXPECTED}")
        return epochs * self.epoch_steps()

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of rollouts, or of the replay buffer, and of AMP's pairs of poses."""
        poses = int(self.settings.get("amp_replay_buffer_size") or 0)  # twice: a checkpoint copies them
        style = 2 * 4 * poses * (3 * action + 38)
        if ring := self.settings.get("replay_buffer_size"):
            return 4 * int(ring) * (2 * observation + action + 2) + style
        return 2 * 4 * self.epoch_steps() * num_envs * (observation + 3 * action + 6) + style

    def problems(self, config: PlainConfig) -> Iterator[str]:
        """Yield one line for each problem of this section in the plain `config`."""
        from regimen.agents.runner import components, config_keys, style_checks

        if importlib.util.find_spec("rl_games") is None:
            yield "rl_games is not installed. Type: make rl_games"
            return
        yield from components.problems(self.components)
        missing = [name for name in SECTIONS if not isinstance(self.params.get(name), dict)]
        if missing:
            yield f"params: {', '.join(missing)} missing. Expected `algo`, `model`, `network` and `config`."
            return
        named = list(self._name_problems())
        yield from named
        keys = config_keys.keys_of(self.components)
        yield from _unknown("params", self.params, {*SECTIONS, "diayn"})
        yield from self._setting_problems(keys)
        yield from _network_problems(self.params["network"], keys)
        if not named and config["choices"]["stage"] == "train":
            yield from self._required()
            yield from self._rates()
            yield from self._sizes(int(config["env"].get("num_envs", 1)))
            if style_checks.learns_style(self._component("algo")):
                yield from style_checks.problems(self.params, config)

    def player_problem(self, name: str) -> str | None:
        """Return why a name, or `pkg.mod:Class`, is no player, with the nearest names; None if it is one."""
        from regimen.agents.runner.components import class_problem, unknown_name

        if ":" in name:
            return class_problem("player", name)
        return unknown_name("player", name, self.components.of("player"))

    def _name_problems(self) -> Iterator[str]:
        """Yield the names of components that nothing has."""
        from regimen.agents.runner.components import unknown_name

        for kind in ("algo", "model", "network"):
            name = self.params[kind].get("name")
            problem = unknown_name(kind, str(name), self.components.of(kind))
            if problem:
                yield f"params.{kind}.name={name}: {problem}"

    def _setting_problems(self, keys: Keys) -> Iterator[str]:
        """Yield the settings that nothing reads; rl_games accepts them silently."""
        settings = self.settings
        yield from _unknown("params.config", settings, keys.config | FILLED)
        for key in MOVED.keys() & settings.keys():
            if settings[key] not in (None, False):
                yield f"params.config.{key}={settings[key]}: {MOVED[key]}"
        sections = {"player": keys.player, "central_value_config": keys.central, "reward_shaper": _shaper_keys()}
        for section, known in sections.items():
            value = settings.get(section)
            if isinstance(value, dict):
                yield from _unknown(f"params.config.{section}", value, known)
                if isinstance(value.get("network"), dict):
                    yield from _network_problems(value["network"], keys, f"params.config.{section}.network")

    def _required(self) -> Iterator[str]:
        """Yield the settings that the algorithm cannot do without; rl_games raises a KeyError."""
        from regimen.agents.runner.config_keys import required_keys

        algo = str(self.params["algo"]["name"])
        needed = required_keys(self._component("algo"))
        supplied = {key.rpartition(".")[2] for key in SUPPLIED} | FILLED
        by = self.components.algo.get(algo, "rl_games")
        for key in sorted(needed - supplied - self.settings.keys()):
            yield f"params.config.{key}: missing; {by} needs it for {algo}. Type +agent.params.config.{key}=<value>."
        wrong = [key for key in limits.KEYS if not isinstance(self.settings.get(key, -1), int | float | None)]
        yield from (f"params.config.{key}={self.settings[key]}: expected a number." for key in wrong)
        if not wrong and limits.epochs(self.settings, 1) is None:
            yield f"params.config.max_epochs: the training has no limit. {limits.EXPECTED}"

    def _rates(self) -> list[str]:
        rate = self.settings.get("learning_rate")
        return above_zero(**{"params.config.learning_rate": rate}) if isinstance(rate, int | float) else []

    def _component(self, kind: str) -> str:
        """Return `pkg.mod:Class` of the chosen component, the name itself if it is one of rl_games."""
        name = str(self.params[kind]["name"])
        return self.components.of(kind).get(name, name)

    def _sizes(self, num_envs: int) -> Iterator[str]:
        """Yield numbers that do not divide each other."""
        settings, steps = self.settings, self.settings.get("horizon_length")
        if isinstance(steps, int):
            central = settings.get("central_value_config") or {}
            for name, section in (("", settings), ("central_value_config.", central)):
                yield from _minibatch(f"params.config.{name}", section, steps, num_envs)
            if "rnn" in self.params["network"]:
                length = int(settings.get("seq_length") or settings.get("seq_len") or 4)
                if steps % length:
                    yield f"params.config.horizon_length={steps}: expected a multiple of seq_length, {length}."
        elif "replay_buffer_size" in settings:
            yield from _sac_updates(settings)


def _minibatch(path: str, section: Section, steps: int, num_envs: int) -> Iterator[str]:
    rows = steps * num_envs
    size = section.get("minibatch_size") or num_envs * int(section.get("minibatch_size_per_env", 0))
    if section and not size:
        yield f"{path}minibatch_size: missing; a divisor of the {rows} rows of {steps} steps of {num_envs} envs."
    elif size and rows % size:
        envs = size // steps
        other = f", or env.num_envs={envs} or a multiple" if size % steps == 0 else ""
        yield (
            f"{path}minibatch_size={size}: {steps} steps of {num_envs} envs are {rows} rows, no multiple of it. Type "
            f"agent.{path}minibatch_size={max(1, rows // 4)}{other}."
        )


def _sac_updates(settings: Section) -> Iterator[str]:
    """Yield a number of updates for which rl_games fails: its means expect each epoch to begin alike."""
    updates = int(settings.get(SAC_UPDATES[0], 1)) * int(settings.get(SAC_UPDATES[1], 1))
    every = int(settings.get("policy_frequency", 2))
    if updates > 1 and updates % every:
        yield (
            f"params.config.{SAC_UPDATES[1]}={settings.get(SAC_UPDATES[1], 1)}: {updates} updates an epoch; rl_games "
            f"fails unless it is 1 or a multiple of policy_frequency, {every}."
        )


def _unknown(path: str, section: Section, known: set[str]) -> Iterator[str]:
    for key in section:
        if key not in known:
            yield f"{path}.{key}={section[key]}: nothing reads `{key}`. {did_you_mean(str(key), known)}"


def _network_problems(section: Section, keys: Keys, path: str = "params.network") -> Iterator[str]:
    """Yield the keys of a network that its builder does not read.

    Arguments of initialisers are those of torch, and sections that are passed on have those of any class.
    """
    yield from _unknown(path, section, keys.network)
    for key, value in section.items():
        if isinstance(value, dict) and not str(key).endswith(INITIALIZERS) and key not in keys.passed_on:
            yield from _network_problems(value, keys, f"{path}.{key}")


def _shaper_keys() -> set[str]:
    from regimen.config.static_types import parameters

    return {param.name for param in parameters("rl_games.common.tr_helpers:DefaultRewardsShaper")}
