"""`regimen check-env task=<name>`: check every rule of the `VecEnv` contract on a task."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from regimen.config import structured
from regimen.config.compose import compose
from regimen.config.determinism import declared_class
from regimen.config.groups import config_home
from regimen.config.task_schema import EvaluationCfg
from regimen.envs.conformance.check import check_env, describe, factory
from regimen.envs.conformance.rules import RULES
from regimen.envs.task_io import environment_of_child, other_interpreter


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
    plain = compose(arguments.overrides, [config_home(), *arguments.config_dir]).plain
    config = structured.build_config(plain)
    if (python := other_interpreter(config)) is not None:
        return _checked_by(python, argv)
    print(f"task {config.choices['task']} on sim {config.choices['sim']}, seed {config.seed}")
    if arguments.describe:
        describe(config)
        return 0
    judged = getattr(config.env, "evaluation", None) or EvaluationCfg()
    broken = 0
    declared = declared_class(plain)
    for result in check_env(
        factory(config), arguments.num_envs, config.seed, judged.command, judged.grid, declared=declared
    ):
        print(result, flush=True)
        broken += not result.ok
    print(f"{broken} of {len(RULES)} rules are broken" if broken else f"all {len(RULES)} rules are kept")
    return 1 if broken else 0


def _checked_by(python: str, argv: list[str]) -> int:
    """Check the task in another interpreter; return its exit code."""
    command = [python, "-m", "regimen.cli", "check-env", *argv]
    return subprocess.run(command, env=environment_of_child(), check=False).returncode
