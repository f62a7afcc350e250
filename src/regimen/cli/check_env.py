"""`regimen check-env task=<name>`: check every rule of the `VecEnv` contract on a task."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.config.compose import compose_config
from regimen.config.task_schema import EvaluationCfg
from regimen.envs.conformance.check import check_env, describe, factory
from regimen.envs.conformance.rules import RULES
from regimen.system import files, host

if TYPE_CHECKING:
    from regimen.config.schema import Config


def check_env_verb(argv: list[str]) -> int:
    """Print one line for each rule of the `VecEnv` contract; return 0 if all hold, 1 otherwise.

    With `--describe` no rule is checked: the active terms of the task are printed instead.

    Args:
        argv: overrides as for launch.py, and `--config-dir <folder>` for options of your own.
    """
    parser = argparse.ArgumentParser(
        "regimen check-env", description="Try every rule of the VecEnv contract on a task."
    )
    parser.add_argument("overrides", nargs="*", help="as for launch.py, for example task=reach")
    parser.add_argument("--describe", action="store_true", help="print the active terms of the task, and check no rule")
    parser.add_argument("--num-envs", type=int, default=16, help="environments stepped together, 16 if not given")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    arguments = parser.parse_args(argv)
    config = compose_config(arguments.overrides, arguments.config_dir)
    if (python := _other_interpreter(config)) is not None:
        return _checked_by(python, argv)
    print(f"task {config.choices['task']} on sim {config.choices['sim']}, seed {config.seed}")
    if arguments.describe:
        describe(config)
        return 0
    judged = getattr(config.env, "evaluation", None) or EvaluationCfg()
    broken = 0
    for result in check_env(
        factory(config), arguments.num_envs, seed=config.seed, command=judged.command, grid=judged.grid
    ):
        print(result, flush=True)
        broken += not result.ok
    print(f"{broken} of {len(RULES)} rules are broken" if broken else f"all {len(RULES)} rules are kept")
    return 1 if broken else 0


def _other_interpreter(config: Config) -> str | None:
    """Return the Python that the task has to be opened in, None if it is this one."""
    named = getattr(config.env, "interpreter", None)
    plain = {"env": {"interpreter": named}, "choices": config.choices, "hardware": asdict(config.hardware)}
    python = host.interpreter(plain)
    return python if Path(python).absolute() != Path(sys.executable).absolute() else None


def _checked_by(python: str, argv: list[str]) -> int:
    """Check the task in another interpreter; return its exit code."""
    paths = [str(files.PACKAGE.parent), os.environ.get("PYTHONPATH")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run([python, "-m", "regimen.cli", "check-env", *argv], env=env, check=False).returncode
