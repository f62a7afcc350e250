"""The active terms of a task as tables, in the sections that Isaac Lab and mjlab print at the start of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regimen.config.task_schema import ManagerEnvCfg
from regimen.display.text_tables import TextTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regimen.envs.vec_env import IOSpec

NONE = "–"


def term_tables(env: Any, io: IOSpec) -> list[TextTable]:
    """Return one table per section that has a term: observation groups, actions, actuators, commands, and so on.

    Terms that are switched off (null, or a reward of weight 0) are left out. A task without managers, such as one of
    Gymnasium, has observation groups and actions only.

    Args:
        env: the task's typed configuration.
        io: sizes and order of observations and actions, of the open environment.
    """
    commands, rewards = _terms(env, "commands"), _terms(env, "rewards")
    rewards = {name: term for name, term in rewards.items() if term.weight != 0.0}
    terminations, events = _terms(env, "terminations"), _terms(env, "events")
    tables = [_observation_group(env, io, group) for group in io.observations]
    if io.images:
        rows = tuple((group, "x".join(map(str, size))) for group, size in io.images.items())
        tables.append(TextTable(f"Images ({len(rows)}), uint8", ("group", ">height x width x channels"), rows))
    tables.append(_actions(env, io))
    sections: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]] = [
        (
            "Actuators",
            ("name", "func", "joints", ">delay", "params"),
            [(n, t.func, ", ".join(t.joints), _delay(t), _params(t)) for n, t in _terms(env, "actuators").items()],
        ),
        ("Commands", ("term", "func", "params"), [(n, t.func, _params(t)) for n, t in commands.items()]),
        (
            "Rewards",
            ("term", ">weight", "func", "params"),
            [(n, f"{t.weight:g}", t.func, _params(t)) for n, t in rewards.items()],
        ),
        (
            "Terminations",
            ("term", "time-out", "func", "params"),
            [(n, "yes" if t.time_out else "no", t.func, _params(t)) for n, t in terminations.items()],
        ),
        (
            "Events",
            ("term", "mode", "func", "params"),
            [(n, _mode(t), t.func, _params(t)) for n, t in events.items()],
        ),
    ]
    for section in ("curriculum", "metrics"):
        plain = [(n, t.func, _params(t)) for n, t in _terms(env, section).items()]
        sections.append((section.capitalize(), ("term", "func", "params"), [*plain]))
    tables += [TextTable(f"{name} ({len(rows)})", columns, tuple(rows)) for name, columns, rows in sections if rows]
    return [_without_empty_columns(table) for table in tables]


def _without_empty_columns(table: TextTable) -> TextTable:
    used = [i for i in range(len(table.columns)) if any(row[i] != NONE for row in table.rows)]
    rows = tuple(tuple(row[i] for i in used) for row in table.rows)
    return TextTable(table.title, tuple(table.columns[i] for i in used), rows)


def _terms(env: Any, section: str) -> Mapping[str, Any]:
    """Return the terms of a section that are switched on; none for a task without managers."""
    terms: Mapping[str, Any] = getattr(env, section) if isinstance(env, ManagerEnvCfg) else {}
    return {name: term for name, term in terms.items() if term is not None}


def _observation_group(env: Any, io: IOSpec, group: str) -> TextTable:
    terms, meaning = _group_terms(env, group), io.meaning.get(group, {})
    rows = []
    for name, size in io.observations[group].items():
        term, about = terms.get(name), meaning.get(name, {})
        noise = f"±{term.noise:g}" if term is not None and term.noise and env.observation_noise else NONE
        func = NONE if term is None else term.func
        params = NONE if term is None else _params(term)
        row = (name, str(size), noise, _clip(about.get("clip")), _scale(about.get("scale")))
        rows.append((*row, func, params))
    title = f"Observation group {group}: {io.size(group)} values"
    return TextTable(title, ("term", ">size", ">noise", ">clip", ">scale", "func", "params"), tuple(rows))


def _clip(clip: float | list[float] | None) -> str:
    """Return the bounds of a term: a number is that of the absolute value, a list has the lower and the upper one."""
    if isinstance(clip, list):
        return " … ".join(f"{bound:g}" for bound in clip)
    return NONE if clip is None else f"±{clip:g}"


def _scale(scale: float | list[float] | None) -> str:
    """Return the factor of a term; of one for each column, those that differ."""
    if isinstance(scale, list):
        return ", ".join(dict.fromkeys(f"{factor:g}" for factor in scale))
    return NONE if scale is None else f"{scale:g}"


def _group_terms(env: Any, group: str) -> Mapping[str, Any]:
    """Return the configured terms of a group, those of the group it extends first."""
    cfg = env.observations.get(group) if isinstance(env, ManagerEnvCfg) else None
    if cfg is None:
        return {}
    inherited = _group_terms(env, cfg.extends) if cfg.extends else {}
    return {**inherited, **{name: term for name, term in cfg.terms.items() if term is not None}}


def _actions(env: Any, io: IOSpec) -> TextTable:
    spec = io.action
    limits = spec.limits or [[]] * len(spec.joints)
    rows = tuple(
        (joint, f"{scale:g}", f"{offset:g}", " … ".join(f"{value:.4g}" for value in limit) or NONE)
        for joint, scale, offset, limit in zip(spec.joints, spec.scale, spec.offset, limits, strict=True)
    )
    clip = "" if spec.clip is None else f", clip ±{spec.clip:g}"
    kind = "Actions: joint position targets in rad" if isinstance(env, ManagerEnvCfg) else "Actions"
    return TextTable(f"{kind}, {io.num_actions} values{clip}", ("name", ">scale", ">offset", "limits"), rows)


def _mode(term: Any) -> str:
    if term.mode != "interval" or term.interval_range_s is None:
        return str(term.mode)
    return f"interval, {' … '.join(f'{value:g}' for value in term.interval_range_s)} s"


def _delay(actuator: Any) -> str:
    """Return the delay of an actuator, in physics steps."""
    low, high = actuator.delay
    return NONE if high == 0 else f"{low} … {high} steps, each {actuator.delay_drawn}"


def _params(term: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in term.params.items()) or NONE
