"""What a failure estimate adds to an observation, by name; known without torch and without a simulator."""

from __future__ import annotations

import copy
from typing import Any

from regimen.envs.vec_env import IOSpec

HEALTHY = "healthy"
PROBABILITY, SINCE = "fault_probability", "time_since_verdict"
SINCE_CLIP_S = 2.0
"""Time after which a verdict is no longer told to be older: by then the robot has fallen or copes."""


def resolve_mode(estimate: Any, estimator: str | None) -> str | None:
    """Return the mode in which faults are told, or None if nothing is added to the observation.

    Args:
        estimate: the section `env.estimate`, typed or plain; None for a task without it.
        estimator: the run's `estimator`.
    """
    mode = estimate.get("mode") if isinstance(estimate, dict) else getattr(estimate, "mode", None)
    return mode or ("classifier" if estimate is not None and estimator else None)


def with_estimate(io: IOSpec, joints: list[str]) -> IOSpec:
    """Return `io` with the estimate's terms at the end of the group `policy`; the same in every mode.

    Args:
        io: of the environment that is told about.
        joints: names of the joints that can fail, in order.
    """
    wider = copy.deepcopy(io)
    classes = [HEALTHY, *joints]
    wider.observations["policy"] |= {PROBABILITY: len(classes), SINCE: 1}
    wider.meaning.setdefault("policy", {}).update(
        {
            PROBABILITY: {"scale": 1.0, "clip": None, "classes": classes},
            SINCE: {"scale": 1.0 / SINCE_CLIP_S, "clip": SINCE_CLIP_S},
        }
    )
    return wider
