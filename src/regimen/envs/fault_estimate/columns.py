"""Classes of a fault estimate, names and sizes of its observation terms; needs neither torch nor a simulator."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from regimen.envs.robots.robot import match
from regimen.envs.vec_env import IOSpec

HEALTHY = "healthy"
PROBABILITY, SINCE = "fault_probability", "time_since_verdict"
SINCE_CLIP_S = 2.0
"""Upper bound of the observed age of a verdict: by then the robot has fallen or has adapted."""


def resolve_mode(estimate: Any, estimator: str | None) -> str | None:
    """Return the mode of the fault estimate, or None if the observation has none.

    Args:
        estimate: the section `env.estimate`, typed or plain; None for a task without it.
        estimator: the run's `estimator`.
    """
    mode = estimate.get("mode") if isinstance(estimate, dict) else getattr(estimate, "mode", None)
    return mode or ("classifier" if estimate is not None and estimator else None)


def affected_joints(env: Any, joints: Sequence[str]) -> list[str]:
    """Return those of `joints` that the events of `env.evaluation.faults` can affect, in the order of `joints`.

    Args:
        env: configuration of the task.
        joints: all joints of the robot.
    """
    events = [env.events.get(name) for name in env.evaluation.faults]
    patterns = [event.params["joints"] for event in events if event is not None and "joints" in event.params]
    affected = {j for p in patterns for j in match(tuple(joints), *([p] if isinstance(p, str) else p))}
    return [name for name in joints if name in affected]


def keys_of_faults(env: Any) -> str:
    """Return the keys of the joints in the events of `env.evaluation.faults`, for messages."""
    return ", ".join(f"env.events.{name}.params.joints" for name in env.evaluation.faults)


NO_FAULTS = "env.evaluation.faults names no active event, so the task has no faults to detect."


def class_difference(classes: Sequence[str], joints: Sequence[str], keys: str) -> str | None:
    """Return what differs between the classes of a detector and those of a task; None if they are the same.

    Args:
        classes: of the detector, `healthy` first.
        joints: of the task that can fail, in order.
        keys: of the configuration that name the joints.
    """
    wanted = [HEALTHY, *joints]
    if list(classes) == wanted:
        return None
    return (
        f"The detector distinguishes {', '.join(classes)}; {keys} makes the classes {', '.join(wanted)}. Train a "
        f"detector on this task, or set {keys} to its joints."
    )


def with_estimate(io: IOSpec, joints: list[str]) -> IOSpec:
    """Return `io` with the estimate's terms at the end of the group `policy`; the same in every mode.

    Args:
        io: of the environment without the estimate.
        joints: names of the joints that can fail, in order.
    """
    extended = copy.deepcopy(io)
    classes = [HEALTHY, *joints]
    extended.observations["policy"] |= {PROBABILITY: len(classes), SINCE: 1}
    extended.meaning.setdefault("policy", {}).update(
        {
            PROBABILITY: {"scale": 1.0, "clip": None, "classes": classes},
            SINCE: {"scale": 1.0 / SINCE_CLIP_S, "clip": SINCE_CLIP_S},
        }
    )
    return extended
