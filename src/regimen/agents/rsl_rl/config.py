"""`RslRlPpoCfg` and its checks. The library is not imported: its source is parsed for what it accepts."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.agents.network_memory import update_bytes
from regimen.config.schema import count_workers
from regimen.config.task_schema import above_zero, at_least_one
from regimen.system.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from regimen.config.yaml_io import PlainConfig

SCHEDULES = ("adaptive", "fixed")
COMPILE_MODES = ("default", "max-autotune-no-cudagraphs")
"""The library refuses those that use CUDA graphs."""

MODELS = ("actor", "critic")

RunnerSection = dict[str, Any]
"""A section of an rsl_rl runner's dictionary: `class_name` and the arguments of that class."""

_OWN_RUNNER = "The runner is this project's; agent.algorithm.class_name names the algorithm."
_NAMED = "Runs are named by name=<name>."
_STARTED = "Resume a run by `python launch.py resume=<run>`; start from a policy by policy=<run>@<step>."

MOVED = {
    "policy": "rsl_rl 5 has a section for each model: actor.hidden_dims, actor.activation, "
    "actor.distribution_cfg.init_std, and the same of critic.",
    "empirical_normalization": "rsl_rl 5 has actor.obs_normalization and critic.obs_normalization.",
    "runner": "Its keys stand in `agent` itself, such as agent.max_iterations.",
    "clip_actions": "The task bounds actions: env.actions.clip=<value>.",
    "save_interval": "The stage saves: stage.checkpoint_interval=<iterations times num_steps_per_env>.",
    "seed": "It is the run's: seed=<number>.",
    "device": "It is the run's: hardware.device=<device>.",
    **dict.fromkeys(("logger", "wandb_project", "neptune_project"), "It is the run's: logger=wandb or logger=mlflow."),
    **dict.fromkeys(("experiment_name", "run_name"), _NAMED),
    **dict.fromkeys(("resume", "load_run", "load_checkpoint"), _STARTED),
    **dict.fromkeys(("class_name", "runner_class_name"), _OWN_RUNNER),
    "init_member_classes": "Nothing takes its place: leave it out.",
    "multi_gpu": "The run starts the processes: hardware=multi hardware.processes=<number>.",
}
"""Keys of other runners' dictionaries -> the setting to use here."""


MODEL = {
    "package": "rsl_rl.models",
    "supplied": ["obs", "obs_groups", "obs_set", "output_dim"],
    "sections": {"distribution_cfg": {"package": "rsl_rl.modules", "supplied": ["output_dim"]}},
}
ALGORITHM = {
    "package": "rsl_rl.algorithms",
    "supplied": ["actor", "critic", "storage", "device", "multi_gpu_cfg"],
    "extra": ["share_cnn_encoders"],
    "sections": {
        "rnd_cfg": {
            "target": "rsl_rl.extensions:RandomNetworkDistillation",
            "supplied": ["num_states", "obs_groups", "device"],
        },
        "symmetry_cfg": {"target": "rsl_rl.extensions:Symmetry", "supplied": ["env"]},
    },
}
"""Classes that the sections `actor`, `critic` and `algorithm` construct, and the arguments that this package supplies;
read by `regimen.config.validation`."""


@dataclass
class RslRlPpoCfg:
    """The settings of an rsl_rl runner that affect the training.

    Attributes:
        num_steps_per_env: steps of each env between two updates.
        max_iterations: updates of the whole training.
        obs_groups: set of observations -> groups of the task side by side: `actor`, `critic`, and `rnd_state` with
            `algorithm.rnd_cfg`.
        actor: the policy: `class_name` and the arguments of that class.
        critic: the value function, likewise.
        algorithm: hyperparameters, likewise.
        check_for_nan: whether to stop at the first NaN that the environment returns. On a GPU it has no effect, because
            the check would wait for the device: the environment of a run is watched for such values anyway.
        torch_compile_mode: of the models; null: not compiled.
        value_warmup_iterations: updates of the critic alone before the policy moves, for a policy that comes from
            another run: it has no critic.
        from_task: whether the task's own settings for rsl_rl replace those of the option; arguments and experiments
            still count.
    """

    MOVED: ClassVar[dict[str, str]] = MOVED
    POLICY_FORMAT: ClassVar[str] = "rsl_rl"
    LIBRARY: ClassVar[str] = "rsl_rl"
    DISTRIBUTED: ClassVar[bool] = True
    IMPORT_BYTES: ClassVar[int] = 125 * 2**20  # torch's compiler among them
    _target_: str = "regimen.agents.rsl_rl.RslRlPpo"
    num_steps_per_env: int = 24
    max_iterations: int = 400
    obs_groups: dict[str, list[str]] = field(default_factory=lambda: {"actor": ["policy"], "critic": ["policy"]})
    actor: RunnerSection = field(default_factory=dict, metadata={"built": MODEL})
    critic: RunnerSection = field(default_factory=dict, metadata={"built": MODEL})
    algorithm: RunnerSection = field(default_factory=dict, metadata={"built": ALGORITHM})
    check_for_nan: bool = True
    torch_compile_mode: str | None = None
    value_warmup_iterations: int = 0
    from_task: bool = False

    def total_steps(self) -> int:
        """Return the env steps per env of the whole training."""
        return self.max_iterations * self.num_steps_per_env

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of rollouts, and of one minibatch that is copied."""
        rows, parts = self.num_steps_per_env * num_envs, self._mini_batches()
        return 4 * (rows + rows // parts) * (observation + 3 * action + 6)

    def network_bytes(self, num_envs: int, observation: int, action: int, on_gpu: bool) -> int:
        """Return the approximate memory of the networks and of an update with one minibatch."""
        rows = self.num_steps_per_env * num_envs // self._mini_batches()
        hidden = [getattr(self, name).get("hidden_dims") or [] for name in MODELS]
        return update_bytes(rows, observation + action, hidden)

    def _mini_batches(self) -> int:
        return max(1, int(self.algorithm.get("num_mini_batches", 4)))

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each problem of this section in the plain `config`."""
        return [
            *_counts(self, config),
            *_rows(self, config),
            *_choices(self),
            *_groups(self.obs_groups, config["env"].get("observations")),
        ]


def _counts(agent: RslRlPpoCfg, config: PlainConfig) -> list[str]:
    lines = at_least_one(num_steps_per_env=agent.num_steps_per_env, max_iterations=agent.max_iterations)
    if (rate := agent.algorithm.get("learning_rate")) is not None:
        lines += above_zero(**{"algorithm.learning_rate": float(rate)})
    if agent.value_warmup_iterations < 0:
        lines.append(f"value_warmup_iterations={agent.value_warmup_iterations}: expected 0 or more.")
    return lines


def _rows(agent: RslRlPpoCfg, config: PlainConfig) -> list[str]:
    """Return a line for minibatches that would be empty, or that several processes cannot make as one makes them."""
    if config["choices"]["stage"] != "train":
        return []
    workers = count_workers(config["hardware"])
    envs, steps = int(config["env"].get("num_envs", 1)) // workers, agent.num_steps_per_env
    parts, lines = agent.algorithm.get("num_mini_batches", 4), []
    whose = f"{envs} envs" if workers == 1 else f"{envs} envs in each of {workers} processes"
    if steps * envs < parts:
        lines.append(
            f"algorithm.num_mini_batches={parts}: {steps} steps of {whose} are {steps * envs} rows, fewer than one for "
            "each."
        )
    recurrent = any(getattr(agent, model).get("class_name") == "RNNModel" for model in MODELS)
    if recurrent and envs < parts <= steps * envs:
        lines.append(
            f"algorithm.num_mini_batches={parts}: a recurrent model takes whole episodes of envs, and there are "
            f"{whose}. Type agent.algorithm.num_mini_batches={max(1, envs)}."
        )
    if workers > 1 and recurrent and agent.algorithm.get("rnd_cfg"):
        lines.append(
            f"algorithm.rnd_cfg: with a recurrent model, the library's loss is a mean over padded episodes, whose "
            f"number differs between {workers} processes. Type agent.algorithm.rnd_cfg=null, or hardware.processes=1."
        )
    if workers > 1 and agent.algorithm.get("normalize_advantage_per_mini_batch"):
        lines.append(
            f"algorithm.normalize_advantage_per_mini_batch=true: with {workers} processes, the library standardises "
            "the rows of each by themselves. Type agent.algorithm.normalize_advantage_per_mini_batch=false, which "
            "standardises those of all together, or hardware.processes=1."
        )
    return lines


def _choices(agent: RslRlPpoCfg) -> list[str]:
    """Return a line for each name that the library does not accept, or silently replaces, as it does with schedules."""
    known = activations()
    given = [(f"{model}.activation", getattr(agent, model).get("activation"), known) for model in MODELS]
    given.append(("algorithm.optimizer", agent.algorithm.get("optimizer"), _known("resolve_optimizer")))
    given.append(("algorithm.schedule", agent.algorithm.get("schedule"), SCHEDULES))
    given.append(("torch_compile_mode", agent.torch_compile_mode, COMPILE_MODES))
    return [
        f"{key}={value}: not a choice. {did_you_mean(str(value), choices)}"
        for key, value, choices in given
        if value is not None and value not in choices
    ]


def activations() -> tuple[str, ...]:
    """Return the names of activations that the library has."""
    return _known("resolve_nn_activation")


def _known(function: str) -> tuple[str, ...]:
    """Return the names that one of the library's resolving functions has a table of."""
    from regimen.config.static_modules import find

    _, statement = find("rsl_rl.utils.utils", function)
    tables = [node for node in ast.walk(statement) if isinstance(node, ast.Dict)]
    return tuple(str(key.value) for table in tables for key in table.keys if isinstance(key, ast.Constant))


def _groups(sets: dict[str, list[str]], offered: Collection[str] | None) -> list[str]:
    """Return a line for each set of observations that names an unknown group of the task."""
    lines = [f"obs_groups.{model}: missing; such as [policy]." for model in MODELS if not sets.get(model)]
    if sets.get("actor") and sets["actor"] != ["policy"]:
        lines.append(
            f"obs_groups.actor={sets['actor']}: expected [policy], which is what every policy here is judged and "
            "recorded with. Put what it should read into env.observations.policy.terms."
        )
    return lines + [
        f"obs_groups.{name}={groups}: the task has no observation group `{group}`. {did_you_mean(group, offered)}"
        for name, groups in sets.items()
        for group in groups
        if offered and group not in offered
    ]
