"""`regimen deploy-check <run>`: an exported policy acts in the simulator, and is compared with its checkpoint."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents.deployment.closed_loop import STEPS, check_in_closed_loop, find_exported
from regimen.agents.deployment.exporting import find_source
from regimen.config.structured import build_config
from regimen.display.text_tables import TextTable, print_tables
from regimen.envs.task_io import environment_of_child, other_interpreter
from regimen.runs import outcome
from regimen.system.files import display_path

if TYPE_CHECKING:
    from regimen.agents.deployment.closed_loop import DeployCheck


def deploy_check_verb(argv: list[str]) -> int:
    """Print the differences of a closed loop; return 1 if they are larger than allowed.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen deploy-check",
        description="Run the exported file of a policy in closed loop, by its runner alone, and compare its targets "
        "with those of the checkpoint. Exit code 1: different.",
    )
    parser.add_argument("policy", help="run reference, such as walker@best, pretrained:<name>, or a checkpoint")
    parser.add_argument("overrides", nargs="*", metavar="task=<name>", help="of a checkpoint outside of a run")
    parser.add_argument("--file", type=Path, help="the exported file, by default where regimen export writes it")
    parser.add_argument("--steps", type=int, default=STEPS, help="control steps, by default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the envs, by default %(default)s")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    args = parser.parse_intermixed_args(argv)
    source = find_source(args.policy, args.overrides, args.config_dir)
    if (python := other_interpreter(build_config(source.config))) is not None:
        command = [python, "-m", "regimen.cli", "deploy-check", *argv]
        return subprocess.run(command, env=environment_of_child(), check=False).returncode
    policy = find_exported(source.path, args.file)
    result = check_in_closed_loop(source, policy, args.steps, args.seed)
    _print(result, policy)
    print(f"result: {display_path(result.write(policy))}")
    return 0 if result.agrees else outcome.EXIT_FAILED


def _print(result: DeployCheck, policy: Path) -> None:
    """Print steps, differences, times and falls as a table."""
    joint, gap = result.worst
    rows = [
        ("steps", f"{result.steps:,}"),
        ("largest difference", f"{gap:.1e} of {joint}, allowed {result.tolerance:g}"),
        ("time of a step", f"median {1e6 * result.step_median_s:.0f} µs, p99 {1e6 * result.step_p99_s:.0f} µs"),
        ("episodes", f"{result.episodes}, of which {result.falls} ended by a fall or another termination"),
        ("run by", f"{result.run_by}, observations={result.observations}"),
    ]
    answer = "equals its checkpoint" if result.agrees else "differs from its checkpoint"
    print_tables([TextTable(f"{display_path(policy)} {answer}", ("quantity", "value"), rows)])
