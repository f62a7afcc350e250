"""Start a run: `python launch.py --help` says how."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent

try:
    from regimen.cli.launch import launch
except ModuleNotFoundError as error:
    if error.name not in ("regimen", "hydra", "omegaconf", "yaml"):
        raise
    sys.exit(f"{error}. Install first: `make setup`, then `. .venv/bin/activate` in {ROOT}.")


def main() -> int:
    """Launch what the command line describes; return the exit code."""
    return launch(sys.argv[1:], ROOT / "conf")


if __name__ == "__main__":
    sys.exit(main())
