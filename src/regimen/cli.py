"""The `regimen` command: looks at what there is and what was run. Each verb is one entry of `VERBS`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from regimen import catalogue, outcome
from regimen.errors import RegimenError, did_you_mean


def list_(argv: list[str]) -> int:
    """List the options of a group: tasks, agents, sims, hardware, stages or experiments."""
    plurals = {g if g == "hardware" else f"{g}s": g for g in catalogue.GROUPS}
    parser = argparse.ArgumentParser(prog="regimen list", description=list_.__doc__)
    parser.add_argument("what", choices=sorted(plurals), help="group")
    parser.add_argument("--config-dir", type=Path, action="append", default=[], help="a folder of your own options")
    args = parser.parse_args(argv)
    print(catalogue.table(plurals[args.what], [catalogue.config_home(), *args.config_dir]))
    return 0


def check_env(argv: list[str]) -> int:
    """Try every rule of the VecEnv contract on a task: `regimen check-env task=<name>`."""
    from regimen.envs.check import main as check

    return int(check(argv) or 0)


def publish(argv: list[str]) -> int:
    """Keep a run's policy in the repository as `pretrained:<name>`: `regimen publish <run reference> <name>`."""
    from regimen.publish import publish as keep

    parser = argparse.ArgumentParser(prog="regimen publish", description=publish.__doc__)
    parser.add_argument("policy", help="run reference, such as walker@best")
    parser.add_argument("name", help="used as policy=pretrained:<name>")
    args = parser.parse_args(argv)
    path = keep(args.policy, args.name)
    print(f"{path} ({path.stat().st_size / 1e6:.2f} MB): use it as policy=pretrained:{args.name}")
    return 0


VERBS: dict[str, Callable[[list[str]], int]] = {"list": list_, "check-env": check_env, "publish": publish}


def usage() -> str:
    """Return the help: one line for each verb."""
    width = max(len(verb) for verb in VERBS)
    lines = [f"  {verb:<{width}}  {(function.__doc__ or '').splitlines()[0]}" for verb, function in VERBS.items()]
    return "\n".join(["regimen <verb> ...", *lines, "Runs are started with `python launch.py --help`."])


def main(argv: list[str] | None = None) -> int:
    """Call a verb; return the exit code.

    Args:
        argv: arguments, by default those of the process.
    """
    verb, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(usage())
        return 0
    try:
        if verb not in VERBS:
            raise RegimenError(f"There is no verb `{verb}`. {did_you_mean(verb, VERBS)}")
        return VERBS[verb](rest)
    except RegimenError as error:
        print(error, file=sys.stderr)
        return outcome.EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
