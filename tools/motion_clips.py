"""Make the humanoid's motion clips that come with Regimen from the wheel of Isaac Lab.

    pip download isaaclab==3.0.0 --no-deps --python-version 3.12 --only-binary=:all: -d /tmp/wheel
    python tools/motion_clips.py /tmp/wheel/isaaclab-3.0.0-py3-none-any.whl

The go2 clips are recordings of a policy that comes with Regimen: see src/regimen/envs/motion/clips/README.md.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

from regimen.config.motion_files import SHIPPED
from regimen.data.motion.cycle import cut_cycle
from regimen.data.motion.repair import import_clip
from regimen.envs.robots.robot import load

FOLDER = "isaaclab_tasks/contrib/humanoid_amp/motions"
CLIPS = ("walk", "run")


def main(wheel: Path) -> None:
    """Import, repair and write the clips."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for name in CLIPS:
            path = Path(archive.extract(f"{FOLDER}/humanoid_{name}.npz", folder))
            clip = import_clip(path, load("humanoid")).clip
            clip.source = f"{wheel.name.split('-py3')[0]}: {FOLDER}/humanoid_{name}.npz, made of CMU motion capture"
            clip.license = "BSD-3-Clause, see LICENSE.isaaclab; CMU Graphics Lab Motion Capture Database: free to use"
            for ending, made in (("", clip), ("_cycle", cut_cycle(clip))):
                file = SHIPPED / f"humanoid_{name}{ending}.npz"
                made.save(file)
                print(f"{file}: {made.frames} frames at {made.fps:g} Hz", *made.repairs, sep="\n  ")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
