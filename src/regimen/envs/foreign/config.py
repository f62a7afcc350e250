"""Checks and changes of the configurations of tasks of other libraries."""

from __future__ import annotations

from collections.abc import Iterator

from regimen.config.task_schema import EvaluationCfg
from regimen.config.yaml_io import PlainSection
from regimen.envs.foreign.catalogue import TaskDescription
from regimen.system.errors import did_you_mean


def without_event(settings: PlainSection, name: str) -> PlainSection:
    """Return settings of a task with an event switched off, for an evaluation without disturbances."""
    return {**settings, "events": {**settings.get("events", {}), name: None}}


def evaluation_problems(
    described: TaskDescription, settings: PlainSection, evaluation: EvaluationCfg, task: str
) -> Iterator[str]:
    """Yield a line for each name of the evaluation that the task does not have, or that is switched off.

    Args:
        described: the task.
        settings: values of its configuration by the user, such as `env.isaac`.
        evaluation: `env.evaluation`.
        task: its id.
    """
    named = [("commands", name) for name in [evaluation.command] if name is not None]
    named += [("events", name) for name in evaluation.disturbances]
    for section, name in named:
        names = described.names(section)
        changed = settings.get(section, {})
        if name not in names:
            yield f"evaluation names `{name}`, which is none of the {section} of {task}. {did_you_mean(name, names)}"
        elif isinstance(changed, dict) and name in changed and changed[name] is None and section == "commands":
            key = f"env.{described.library.settings}.commands.{name}"
            yield f"evaluation.command is `{name}`, but {key} is switched off (null)."
