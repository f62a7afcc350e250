"""What the joints were told and what they did, one panel a joint."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from regimen.display import figures

SHOWN_S = 10.0
"""Of a longer log only its beginning can be made out."""


def draw(log: Path, out: Path) -> bool:
    """Draw targets and positions of the first env of a log; return whether it has any.

    Args:
        log: file of `StepLog`.
        out: PNG to write.
    """
    with h5py.File(log, "r") as file:
        if "joint_pos" not in file:
            return False
        acting, joints = json.loads(file.attrs["action_joints"]), json.loads(file.attrs["joints"])
        dt, env_id = float(file.attrs["step_dt"]), json.loads(file.attrs["env_ids"])[0]
        rows = min(len(file["target"]), round(SHOWN_S / dt))
        target, found, episode = (file[name][:rows, 0] for name in ("target", "joint_pos", "episode"))
    times = np.arange(rows) * dt
    ends = np.flatnonzero(np.diff(episode)) + 1
    figure, axes = figures.sheet(len(acting), columns=4, size=(3.4, 2.1))
    for column, (ax, name) in enumerate(zip(axes, acting, strict=False)):
        position = found[:, joints.index(name)]
        ax.plot(times, _broken(target[:, column], ends), color=figures.COLORS[1], linewidth=0.9, label="target")
        ax.plot(times, _broken(position, ends), color=figures.COLORS[0], linewidth=1.3, label="position")
        ax.set_title(f"{name} (rad)", fontsize=9)
        ax.set_xlabel("s", fontsize=8)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper right", ncols=2, fontsize=9, frameon=False)
    gaps = f"; a gap is a new episode ({len(ends)})" if len(ends) else ""
    figure.supxlabel(f"env {env_id}, the first {times[-1] + dt:g} s{gaps}", fontsize=9)
    figures.save(figure, out)
    return True


def _broken(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return values (T,) without those at which a new episode begins, so that no line joins two of them."""
    cut = values.astype(float)
    cut[at] = np.nan
    return cut
