"""Names and sizes of the observation terms of a fault estimate; needs neither torch nor a simulator."""

from __future__ import annotations

import copy
from typing import Any

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
