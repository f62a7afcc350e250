"""What is wrong with an rsl_rl configuration, found without importing the library: its source says what it takes."""

from __future__ import annotations

import ast
from typing import Any

from regimen.config import static_modules
from regimen.system.errors import did_you_mean

SCHEDULES = ("adaptive", "fixed")
COMPILE_MODES = ("default", "max-autotune-no-cudagraphs")
"""The library refuses those that use CUDA graphs."""

MODELS = ("actor", "critic")

_OWN_RUNNER = "The runner is this project's; agent.algorithm.class_name names the algorithm."
_NAMED = "Runs are named by name=<name>."
_STARTED = "Go on with a run by `python launch.py resume=<run>`; start from a policy by policy=<run>@<step>."

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
    "multi_gpu": "This agent learns in one process: leave it out.",
}
"""Keys of other runners' dictionaries -> where that is said here."""


def problems(agent: Any, config: dict[str, Any]) -> list[str]:
    """Return what is wrong with an `RslRlPpoCfg`, one line each.

    Args:
        agent: the section.
        config: the run's plain configuration.
    """
    return [
        *_counts(agent, config),
        *_choices(agent),
        *_groups(agent.obs_groups, config["env"].get("observations")),
    ]


def _counts(agent: Any, config: dict[str, Any]) -> list[str]:
    counts = {name: getattr(agent, name) for name in ("num_steps_per_env", "max_iterations")}
    lines = [f"{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
    if agent.value_warmup_iterations < 0:
        lines.append(f"value_warmup_iterations={agent.value_warmup_iterations}: expected 0 or more.")
    envs = int(config["env"].get("num_envs", 1))
    rows, parts = agent.num_steps_per_env * envs, agent.algorithm.get("num_mini_batches", 4)
    if rows < parts and config["choices"]["stage"] == "train":
        lines.append(
            f"algorithm.num_mini_batches={parts}: {agent.num_steps_per_env} steps of {envs} envs are {rows} rows, "
            "fewer than one for each."
        )
    return lines


def _choices(agent: Any) -> list[str]:
    """Return a line for each name that the library would refuse or, as it does with schedules, take for another."""
    activations, optimizers = (_known(f) for f in ("resolve_nn_activation", "resolve_optimizer"))
    given = [(f"{model}.activation", getattr(agent, model).get("activation"), activations) for model in MODELS]
    given.append(("algorithm.optimizer", agent.algorithm.get("optimizer"), optimizers))
    given.append(("algorithm.schedule", agent.algorithm.get("schedule"), SCHEDULES))
    given.append(("torch_compile_mode", agent.torch_compile_mode, COMPILE_MODES))
    return [
        f"{key}={value}: not a choice. {did_you_mean(str(value), known)}"
        for key, value, known in given
        if value is not None and value not in known
    ]


def _known(function: str) -> tuple[str, ...]:
    """Return the names that one of the library's resolving functions has a table of."""
    _, statement = static_modules.find("rsl_rl.utils.utils", function)
    tables = [node for node in ast.walk(statement) if isinstance(node, ast.Dict)]
    return tuple(str(key.value) for table in tables for key in table.keys if isinstance(key, ast.Constant))


def _groups(sets: dict[str, list[str]], offered: dict[str, Any] | None) -> list[str]:
    """Return a line for each set of observations that cannot be made of the task's groups."""
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
