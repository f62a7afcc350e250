"""`SkrlPpoCfg`: the sections of a skrl Runner configuration, and the names that version 1 has for their keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.agents.network_memory import update_bytes
from regimen.config.schema import count_workers
from regimen.config.task_schema import above_zero, at_least_one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regimen.config.yaml_io import PlainConfig, PlainSection

CRITIC = "critic"
"""Group of observations that is skrl's `STATES`: what a value network may see that the policy does not."""

RunnerSection = dict[str, Any]
"""A section of a skrl Runner configuration, in skrl's keys."""

RENAMED = {
    "lambda": "gae_lambda",
    "state_preprocessor": "observation_preprocessor",
    "state_preprocessor_kwargs": "observation_preprocessor_kwargs",
}
"""Settings of PPO in skrl 1 -> in skrl 2."""

REMOVED = ("random_timesteps", "learning_starts", "clip_predicted_values", "experiment")
"""Settings of PPO in skrl 1 that skrl 2 does not have, and the folder of logs, which is the run's."""


@dataclass
class SkrlPpoCfg:
    """The sections of a skrl Runner configuration.

    Attributes:
        models: networks of `policy` and `value`.
        memory: rollout storage; a size of -1 takes `agent.rollouts`.
        agent: hyperparameters of PPO.
        trainer: `timesteps` is the number of steps of each env.
        value_warmup_iterations: updates of the value network alone before the policy moves. A policy that comes from
            another run has no critic: a new one misjudges it so much at first that its gait is lost.
        from_task: whether the task's own settings for skrl replace those of the option; arguments and experiments
            still count.
    """

    POLICY_FORMAT: ClassVar[str] = "skrl_ppo"
    LIBRARY: ClassVar[str] = "skrl"
    DISTRIBUTED: ClassVar[bool] = True
    IMPORT_BYTES: ClassVar[int] = 34 * 2**20
    _target_: str = "regimen.agents.skrl_ppo.SkrlPpo"
    models: RunnerSection = field(default_factory=dict)
    memory: RunnerSection = field(default_factory=lambda: {"class": "RandomMemory", "memory_size": -1})
    agent: RunnerSection = field(
        default_factory=dict,
        metadata={
            "library": ["skrl.agents.torch.ppo.ppo_cfg:PPO_CFG", "skrl.agents.torch.base:AgentCfg"],
            "extra": ["class", "rewards_shaper_scale"],
        },
    )
    trainer: RunnerSection = field(
        default_factory=dict,
        metadata={"library": ["skrl.trainers.torch.base:TrainerCfg"], "extra": ["class"]},
    )
    value_warmup_iterations: int = 0
    from_task: bool = False

    @staticmethod
    def of_task(settings: PlainSection) -> PlainSection:
        """Return a task's settings for skrl 1, as Isaac Lab has them, in the keys of skrl 2.

        Args:
            settings: `models`, `memory`, `agent` and `trainer`.
        """
        agent = {RENAMED.get(name, name): value for name, value in settings.get("agent", {}).items()}
        if not agent.get("clip_predicted_values", True):
            agent["value_clip"] = 0.0
        agent = {name: value for name, value in agent.items() if name not in REMOVED}
        return {**settings, "agent": agent}

    def problems(self, config: PlainConfig) -> list[str]:
        """Return a line for each problem of this section in the plain `config`."""
        return [*self._setting_problems(config), *self._group_problems(config), *self._process_problems(config)]

    def _setting_problems(self, config: PlainConfig) -> list[str]:
        """Return a line for each setting that skrl ignores or fails on in a training.

        Other stages have the settings of their policy, which acts by them as it was trained.
        """
        from regimen.agents.skrl_ppo import setting_checks

        if config["choices"]["stage"] != "train":
            return []
        # Tasks without the key `env.actions` have a bound, or none, once they are open: see `build`.
        unbounded = "actions" in config["env"] and config["env"]["actions"]["clip"] is None
        return [
            *self._number_problems(),
            *setting_checks.activation_problems(self.models),
            *setting_checks.policy_input_problems(self.models),
            *setting_checks.evaluated_problems(self.agent),
            *setting_checks.warmup_problems(self.models, self.value_warmup_iterations),
            *setting_checks.value_clip_problems(self.models),
            *(setting_checks.clip_problems(self.models) if unbounded else []),
        ]

    def _number_problems(self) -> list[str]:
        """Return a line for each number of skrl's that is out of its range; skrl trains with all of them."""
        counts = {f"agent.{key}": self.agent.get(key) for key in ("rollouts", "learning_epochs", "mini_batches")}
        counts["trainer.timesteps"] = self.trainer.get("timesteps")
        lines = at_least_one(**{key: int(value) for key, value in counts.items() if value is not None})
        rates = self.agent.get("learning_rate")
        if isinstance(rates, list):
            return lines + above_zero(**{f"agent.learning_rate.{i}": float(rate) for i, rate in enumerate(rates)})
        return lines if rates is None else lines + above_zero(**{"agent.learning_rate": float(rates)})

    def _process_problems(self, config: PlainConfig) -> list[str]:
        """Return a line for each setting by which each of several processes would decide for itself."""
        workers = count_workers(config["hardware"])
        if workers == 1 or config["choices"]["stage"] != "train":
            return []
        lines = []
        if threshold := self.agent.get("kl_threshold"):
            lines.append(
                f"agent.kl_threshold={threshold}: with {workers} processes, each would end its epoch by its own rows. "
                "Type agent.agent.kl_threshold=0, or hardware.processes=1."
            )
        if (name := str(self.agent.get("class", "PPO"))).lower() != "ppo":
            lines.append(f"agent.class={name}: {workers} processes train PPO. Type agent.agent.class=PPO.")
        rows, parts = self._rows(config, workers), int(self.agent.get("mini_batches", 2))
        if rows < parts:
            lines.append(
                f"agent.mini_batches={parts}: each of {workers} processes has {rows} rows, fewer than one for each."
            )
        return lines

    def _rows(self, config: PlainConfig, workers: int) -> int:
        """Return the number of rows of one process between two updates."""
        return int(self.agent.get("rollouts", 16)) * int(config["env"].get("num_envs", 1)) // workers

    def _group_problems(self, config: PlainConfig) -> list[str]:
        """Return a line for networks that read `STATES` in a task without the group `critic`."""
        groups = config["env"].get("observations") or {}
        if not groups or CRITIC in groups or not self.reads_states():
            return []
        return [
            f"models: STATES are the group `{CRITIC}` of the task, which has {', '.join(groups)}. "
            f"Add +env.observations.{CRITIC}={{extends: policy, terms: {{…}}}}, or type OBSERVATIONS."
        ]

    def reads_states(self) -> bool:
        """Return whether a network reads skrl's `STATES`."""
        from regimen.agents.skrl_ppo.setting_checks import networks, reads_states

        return any(reads_states(network) for _, _, network in networks(self.models))

    def total_steps(self) -> int:
        """Return the env steps per env of the whole training, a whole number of rollouts."""
        rollouts = int(self.agent["rollouts"])
        return max(1, int(self.trainer["timesteps"]) // rollouts) * rollouts

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of rollouts: stored once, and copied while minibatches are drawn."""
        return 2 * 4 * int(self.agent.get("rollouts", 24)) * num_envs * (observation + action + 5)

    def network_bytes(self, num_envs: int, observation: int, action: int, on_gpu: bool) -> int:
        """Return the approximate memory of the networks and of an update with one minibatch."""
        rows = int(self.agent.get("rollouts", 24)) * num_envs // max(1, int(self.agent.get("mini_batches", 4)))
        models = [self.models.get(name) or {} for name in ("policy", "value")]
        used = models if self.models.get("separate", True) else models[:1]
        return update_bytes(rows, observation + action, [list(_widths(model)) for model in used])


def _widths(model: RunnerSection) -> Iterator[int]:
    """Yield the widths of the hidden layers of a model, as far as they are numbers."""
    for part in model.get("network") or []:
        yield from (width for width in part.get("layers") or [] if isinstance(width, int))
