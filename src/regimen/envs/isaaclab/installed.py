"""Print the versions of Isaac Lab's packages in this interpreter: `python -m regimen.envs.isaaclab.installed`."""

from __future__ import annotations

import sys

from regimen.envs.foreign.installed import print_versions
from regimen.envs.isaaclab.library import ISAAC_LAB

if __name__ == "__main__":
    sys.exit(print_versions(ISAAC_LAB))
