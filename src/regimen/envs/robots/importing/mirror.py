"""Left and right of a robot, found by the names of its joints and checked by its geometry."""

from __future__ import annotations

import numpy as np

from regimen.envs.robots.importing.anatomy import Anatomy, Posture
from regimen.envs.robots.robot import Mirror

PAIRS = (
    (("left", "right"),),
    (("Left", "Right"),),
    (("LEFT", "RIGHT"),),
    (("FL", "FR"), ("RL", "RR")),
    (("LF", "RF"), ("LH", "RH")),
    (("LF", "RF"), ("LR", "RR")),
    (("fl_", "fr_"), ("rl_", "rr_")),
    (("fl_", "fr_"), ("hl_", "hr_")),
    (("lf_", "rf_"), ("lh_", "rh_")),
    (("_l_", "_r_"),),
    (("L_", "R_"),),
    (("l_", "r_"),),
)
"""Words for left and right, in the order in which they are tried."""

PLACE, TURN = 0.01, 0.05
"""Largest difference of the places in m, and of the axes, of a joint and the image of its partner."""


def find_mirror(anatomy: Anatomy, feet: list[str], zero: Posture) -> tuple[Mirror | None, str]:
    """Return the mirror image of the robot in its x-z plane, or None, and what was found.

    Args:
        anatomy: of the robot.
        feet: names of the feet.
        zero: kinematics in which the robot is symmetric.
    """
    names, reason = tuple(anatomy.names), "no words for left and right in the names of joints"
    for swap in PAIRS:
        candidate = Mirror(swap=swap, turned="")
        order = candidate.order(names)
        if order is None or order == list(range(len(names))) or candidate.order(feet) is None:
            continue
        turned, unlike = [], []
        for i, image in enumerate(order):
            place = zero.anchors[i] * [1, -1, 1]
            slide = int(anatomy.model.jnt_type[anatomy.joints[i]]) == 2  # mjJNT_SLIDE
            axis = zero.axes[i] * ([1, -1, 1] if slide else [-1, 1, -1])
            apart = np.linalg.norm(place - zero.anchors[image]) > PLACE
            sign = 1.0 if axis @ zero.axes[image] > 0 else -1.0
            if apart or np.linalg.norm(sign * axis - zero.axes[image]) > TURN:
                unlike.append(names[i])
            elif sign < 0:
                turned.append(names[i])
        if unlike:
            reason = f"{', '.join(unlike[:4])}: not where the image of the other side is"
            continue
        found = Mirror(swap=swap, turned="|".join(turned))
        return found, f"{' and '.join('/'.join(pair) for pair in swap)}, {len(turned)} joints change their sign"
    return None, reason
