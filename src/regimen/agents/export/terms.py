"""Observation terms as a robot has to supply them: sensors, fed back actions and delays."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from regimen.agents.export.descriptions import LAST_ACTION, DelayDescription, SensorDescription
from regimen.config.static_types import class_variable
from regimen.envs.term_binding import find_term
from regimen.system.errors import CheckpointError, RegimenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from regimen.config.yaml_io import PlainConfig, PlainSection
    from regimen.envs.vec_env import IOSpec


def has_readings(env: PlainConfig) -> bool:
    """Return whether the observations of a task are terms of its configuration, whose readings are described."""
    return bool(class_variable(env, "MANAGER_BASED")) and not (env.get("low_level") or {}).get("policy")


def terms_of(group: str, env: PlainConfig) -> dict[str, PlainSection]:
    """Return the terms of a group, after those of the group that it extends.

    Args:
        group: its name.
        env: plain configuration of the task.
    """
    section = (env.get("observations") or {}).get(group) or {}
    before = terms_of(section["extends"], env) if section.get("extends") else {}
    return before | {name: term for name, term in (section.get("terms") or {}).items() if term}


def read_terms(groups: Iterable[str], env: PlainConfig) -> Iterator[tuple[str, str, PlainSection]]:
    """Yield group, name and configuration of each term of the groups."""
    for group in groups:
        for name, term in terms_of(group, env).items():
            yield group, name, term


def fed_back(groups: Iterable[str], env: PlainConfig) -> list[str]:
    """Return the terms `group.term` that hold the action of the last step."""
    return [f"{group}.{name}" for group, name, term in read_terms(groups, env) if _is_last_action(term)]


def describe_delays(groups: Iterable[str], env: PlainConfig) -> dict[str, DelayDescription]:
    """Return `actions` or `group.term` -> its delay in the training, of those that have one."""
    delayed = {"actions": env.get("actions") or {}}
    delayed |= {f"{group}.{name}": term for group, name, term in read_terms(groups, env)}
    return {
        name: DelayDescription([int(steps) for steps in section["delay"]], str(section.get("delay_drawn", "episode")))
        for name, section in delayed.items()
        if max(section.get("delay") or (0, 0)) > 0
    }


def describe_sensors(io: IOSpec, groups: Iterable[str], env: PlainConfig) -> dict[str, SensorDescription]:
    """Return term -> its reading, before clip, scale and history; a term of several groups is one reading.

    Args:
        io: observations of the policy.
        groups: observation groups that it reads.
        env: plain configuration of the task.

    Raises:
        CheckpointError: two groups use one name for different readings.
    """
    sensors: dict[str, SensorDescription] = {}
    sources: dict[str, tuple[str, Any]] = {}
    for group in groups:
        configured = terms_of(group, env)
        for name, size in io.observations[group].items():
            term = configured.get(name, {})
            source = (str(term.get("func")), term.get("params") or {})
            width = size // int(io.meaning.get(group, {}).get(name, {}).get("history", 1))
            path = f"{group}.{name}"
            if name not in sensors:
                sensors[name], sources[name] = SensorDescription(width, _documented(term), [path]), source
                continue
            if sources[name] != source or sensors[name].size != width:
                raise CheckpointError(
                    f"env.observations: {sensors[name].terms[0]} and {path} are different readings with one name. "
                    "Rename one of them in the task, or export with observations=scaled."
                )
            sensors[name].terms.append(path)
    return sensors


def _is_last_action(term: PlainSection) -> bool:
    return str(term.get("func")).rpartition(":")[2] == LAST_ACTION


def _documented(term: PlainSection) -> str:
    """Return the first line of the documentation of a term."""
    try:
        return (inspect.getdoc(find_term("observations", str(term["func"]))) or "").partition("\n")[0]
    except (KeyError, RegimenError):  # a column that a wrapper adds; a user's own term, whose module is not here
        return ""
