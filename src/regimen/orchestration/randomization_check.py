"""Check before the start of the events that randomise robots or break joints: words, ranges, and the simulator.

The curriculum that widens their ranges is checked as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.config.yaml_io import PlainSection
from regimen.envs.sims.quantities import DISTRIBUTIONS, NOMINALLY_ZERO, OF_JOINT_ERRORS, OPERATIONS, QUANTITIES
from regimen.orchestration.preflight_report import PreflightContext
from regimen.system.errors import did_you_mean

FAULT = "change_joint_torque"
WORDS = {"quantity": QUANTITIES, "operation": OPERATIONS, "distribution": DISTRIBUTIONS}
PLACE, ANGLE = ("x", "y", "z"), ("roll", "pitch", "yaw")
RANGES: dict[str, dict[str, tuple[str, ...]]] = {
    "randomize": {"between": ()},
    "push_by_setting_velocity": {"velocity_range": (*PLACE, *ANGLE)},
    "apply_wrench": {"force": PLACE, "torque": PLACE},
}
"""Event whose ranges a curriculum widens -> parameter with ranges -> its axes; none: a single range."""

AXES = RANGES | {
    "reset_root_state_uniform": {"pose_range": (*PLACE, *ANGLE), "velocity_range": (*PLACE, *ANGLE)},
}
"""The same of all events whose axes are checked."""

AT_INTERVALS = {
    "apply_wrench": "a wrench begins at random times",
    "push_by_setting_velocity": "a reset sets the velocity after its events, and the push has no effect",
}
"""Event that fires within episodes only -> why."""


def check_randomization(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem for each unknown word, wrong range, second joint fault, and simulator that cannot."""
    env = composed.plain["env"]
    able = getattr(composed.config.sim, "RANDOMIZES", False)
    events = _used(env.get("events"))
    first, *further = [name for name, event in events.items() if event.get("func") == FAULT] or [""]
    for name in further:
        yield Problem(
            f"env.events.{name}",
            f"env.events: {first} and {name} are both {FAULT}, and at most one joint fails in an episode: list all "
            f"joints in env.events.{first}.params.joints, and set env.events.{name}=null.",
        )
    for name, event in events.items():
        func, params, path = event.get("func"), event.get("params") or {}, f"env.events.{name}"
        if func not in AXES:
            continue
        what = {"randomize": f"change {params.get('quantity')}", "apply_wrench": "apply an external wrench"}.get(func)
        if what and not able and not (func == "randomize" and params.get("quantity") in OF_JOINT_ERRORS):
            sim = composed.choices["sim"]
            yield Problem(
                path, f"sim={sim} cannot {what} of single robots: choose sim=mujoco or mujoco_warp, or {path}=null."
            )
        yield from _word_problems(params, path) if func == "randomize" else ()
        if func in AT_INTERVALS and event.get("mode") in ("startup", "reset"):
            message = f"`{path}.mode={event['mode']}`: {AT_INTERVALS[func]}: set {path}.mode=interval."
            yield Problem(f"{path}.mode", message)
        yield from _wrench_problems(params, path) if func == "apply_wrench" else ()
        yield from _axis_problems(func, params, f"{path}.params")
    for name, term in _used(env.get("curriculum")).items():
        if term.get("func") == "AutomaticRange":
            yield from _curriculum_problems(term.get("params") or {}, env, f"env.curriculum.{name}.params")


def _used(terms: PlainSection | None) -> dict[str, PlainSection]:
    return {name: term for name, term in (terms or {}).items() if isinstance(term, dict)}


def _word_problems(params: PlainSection, path: str) -> Iterator[Problem]:
    """Yield a problem for each unknown name in a `randomize`, and each range that it cannot have."""
    path = f"{path}.params"
    for key, words in WORDS.items():
        word = params.get(key)
        if word is not None and word not in words:
            yield Problem(f"{path}.{key}", f"`{path}.{key}={word}`: {did_you_mean(str(word), words)}")
    between, quantity = params.get("between"), params.get("quantity")
    if params.get("distribution") == "log_uniform" and isinstance(between, list) and between and between[0] <= 0:
        yield Problem(f"{path}.between", f"`{path}.between={between}`: log_uniform needs values above 0.")
    if quantity in NOMINALLY_ZERO and params.get("operation", "scale") == "scale":
        message = f"`{path}.quantity={quantity}` is 0 times any factor: set {path}.operation=add."
        yield Problem(f"{path}.operation", message)


def _wrench_problems(params: PlainSection, path: str) -> Iterator[Problem]:
    """Yield a problem for an `apply_wrench` without a force, or without a time."""
    if not params.get("force") and not params.get("torque"):
        yield Problem(
            f"{path}.params.force", f"`{path}.params` has neither force nor torque: give one, {{x: [-50, 50]}}."
        )
    duration = params.get("duration_s")
    if isinstance(duration, list) and duration and not duration[0] > 0:
        key = f"{path}.params.duration_s"
        yield Problem(key, f"`{key}={duration}`: expected [shortest, longest] in s, above 0.")


def _axis_problems(func: str, params: PlainSection, path: str) -> Iterator[Problem]:
    """Yield a problem for each axis that does not exist, and each range that is none."""
    for key, axes in AXES[func].items():
        given = params.get(key)
        if given is None:
            continue
        ranges: Any = given if axes else {"": given}
        for axis, limits in ranges.items() if isinstance(ranges, dict) else ():
            where = f"{path}.{key}" + (f".{axis}" if axes else "")
            if axes and axis not in axes:
                yield Problem(where, f"`{where}`: {did_you_mean(str(axis), axes)}")
            elif not _is_range(limits):
                yield Problem(where, f"`{where}={limits}`: expected [least, greatest].")


def _is_range(limits: Any) -> bool:
    numbers = isinstance(limits, list) and len(limits) == 2 and all(isinstance(v, (int, float)) for v in limits)
    return numbers and limits[0] <= limits[1]


def _curriculum_problems(params: PlainSection, env: PlainSection, path: str) -> Iterator[Problem]:
    """Yield a problem for each name, range and threshold that an `AutomaticRange` cannot have."""
    events = {name: event for name, event in _used(env.get("events")).items() if event.get("func") in RANGES}
    name, final = params.get("event"), params.get("final")
    event = events.get(str(name))
    if name is not None and event is None:
        yield Problem(f"{path}.event", f"`{path}.event={name}`: {did_you_mean(str(name), events)}")
    if event is not None:
        if event.get("mode") == "startup" and event["func"] not in AT_INTERVALS:
            message = f"`{path}.event={name}` draws once, at the startup: set env.events.{name}.mode=reset."
            yield Problem(f"{path}.event", message)
        accepted = RANGES[str(event["func"])]
        for key in final if isinstance(final, dict) else ():
            if key not in accepted:
                yield Problem(f"{path}.final.{key}", f"`{path}.final.{key}`: {did_you_mean(str(key), accepted)}")
        if isinstance(final, dict):
            yield from _axis_problems(str(event["func"]), final, f"{path}.final")
            shown = (event.get("params") or {}) | final
            if (
                shown.get("distribution") == "log_uniform"
                and _is_range(shown.get("between"))
                and shown["between"][0] <= 0
            ):
                yield Problem(f"{path}.final.between", f"`{path}.final.between`: log_uniform needs values above 0.")
    metric = str(params.get("metric", "episode_length"))
    metrics = ["episode_length"]
    metrics += [f"{kind}.{n}" for kind in ("rewards", "terminations") for n in _used(env.get(kind))]
    if metric not in metrics:
        yield Problem(f"{path}.metric", f"`{path}.metric={metric}`: {did_you_mean(metric, metrics)}")
    if params.get("widen_at", 0.8) == params.get("narrow_at", 0.4):
        yield Problem(f"{path}.widen_at", f"`{path}.widen_at` is equal to narrow_at: set them apart.")
    for key, least in (("step", 0.0), ("episodes", 0)):
        value = params.get(key)
        if isinstance(value, (int, float)) and not value > least:
            yield Problem(f"{path}.{key}", f"`{path}.{key}={value}`: expected more than 0.")
