"""Print the versions of mjlab's packages in this interpreter: `python -m regimen.envs.mjlab.installed`."""

from __future__ import annotations

import sys

from regimen.envs.foreign.installed import print_versions
from regimen.envs.mjlab.library import MJLAB

if __name__ == "__main__":
    sys.exit(print_versions(MJLAB))
