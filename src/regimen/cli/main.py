"""The command `regimen`; each verb is an entry of `VERBS`."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from regimen.config.static_modules import use_current_folder
from regimen.display.console import print_in_any_encoding, say
from regimen.display.formatting import table, visible_lines
from regimen.runs import outcome
from regimen.system.errors import RegimenError, did_you_mean, of_system

VERBS: dict[str, tuple[str, str]] = {
    "launch": ("regimen.cli.launch:launch_verb", "start a run, a sweep or a pipeline, as `python launch.py` does"),
    "list": ("regimen.cli.list_options:list_verb", "list the options of a group: tasks, agents, sims, stages, …"),
    "check-env": ("regimen.cli.check_env:check_env_verb", "check every rule of the VecEnv contract on a task"),
    "terrain": ("regimen.cli.terrain:terrain_verb", "draw the uneven ground of a task, and list its kinds"),
    "import-robot": (
        "regimen.cli.import_robot:import_robot_verb",
        "write a robot of your own from an MJCF or a URDF, with a task and a report",
    ),
    "publish": ("regimen.cli.publish:publish_verb", "keep a run's policy in the repository as pretrained:<name>"),
    "adopt": (
        "regimen.cli.adopt:adopt_verb",
        "write a policy from a checkpoint of rsl_rl, skrl or rl_games",
    ),
    "card": ("regimen.cli.card:card_verb", "describe a dataset and check whether it is fit for training"),
    "motion": (
        "regimen.cli.motion:motion_verb",
        "facts, pictures and a film of a motion clip; converts those of others",
    ),
    "import-legacy": (
        "regimen.cli.convert:import_legacy_verb",
        "convert recordings of the older formats into a dataset",
    ),
    "import-demos": (
        "regimen.cli.convert:import_demos_verb",
        "convert demonstrations of HIL-SERL into a dataset",
    ),
    "import-histories": (
        "regimen.cli.convert:import_histories_verb",
        "convert public Vintix data into learning histories",
    ),
    "export-lerobot": ("regimen.cli.convert:export_lerobot_verb", "write a dataset in the LeRobot v3 layout"),
    "runs": ("regimen.cli.runs:runs_verb", "list runs, with filters: task=h1_failure status=failed since=3d"),
    "export": (
        "regimen.cli.export_policy:export_verb",
        "export a policy for a robot (format=onnx), or a list of runs as CSV",
    ),
    "deploy-check": (
        "regimen.cli.deploy_check:deploy_check_verb",
        "run an exported policy in closed loop outside of Regimen: exit code 0 or 1",
    ),
    "clean": ("regimen.cli.clean:clean_verb", "list old runs that can be removed, and remove them with --yes"),
    "completion": ("regimen.cli.completion:completion_verb", "print the completion script of a shell, bash or zsh"),
    "ui": ("regimen.cli.ui:ui_verb", "page of all runs in a browser: curves, films, lineage, notes, resume"),
    "show": ("regimen.cli.show:show_verb", "one run: configuration, result, files, and reasons for doubt"),
    "replay": ("regimen.cli.replay:replay_verb", "play the last steps of a run that became NaN or infinite"),
    "watch": ("regimen.cli.watch:watch_verb", "watch a policy in the browser, also one that is being trained"),
    "diff": ("regimen.cli.diff:diff_verb", "differences between two runs: settings, code, packages, metrics"),
    "compare": ("regimen.cli.compare:compare_verb", "groups of seeds: IQM with intervals, learning curves"),
    "gate": ("regimen.cli.gate:gate_verb", "check an evaluation against requirements: exit code 0 or 1, for CI"),
    "verify": ("regimen.cli.verify:verify_verb", "make the figures of an evaluation again, and repeat it"),
    "lineage": ("regimen.cli.lineage:lineage_verb", "show the parents and children of a run"),
    "mcp": ("regimen.cli.mcp:mcp_verb", "serve the history to tools over stdio, by the Model Context Protocol"),
    "note": ("regimen.cli.annotate:note_verb", "add a note to the record of a run, or list its notes"),
    "tag": ("regimen.cli.annotate:tag_verb", "add tags to a run, or remove them with -tag"),
    "rerun": ("regimen.cli.rerun:rerun_verb", "repeat a run, and compare the results bit for bit"),
    "queue": ("regimen.cli.queue:queue_verb", "queued and running jobs: node, times, why they wait"),
    "cancel": ("regimen.cli.cancel:cancel_verb", "cancel the jobs of runs, a sweep, a pipeline, or all"),
    "resume": ("regimen.cli.rerun:resume_verb", "resume a run in place"),
}
"""Verb -> function, imported on use and called with the remaining arguments, and a description."""


def usage() -> str:
    """Return the help text, one line for each verb."""
    lines = table([(verb, text) for verb, (_, text) in VERBS.items()], indent="  ")
    return "\n".join(["regimen <verb> ...", *lines, "Help on a verb: regimen <verb> --help"])


def main(argv: list[str] | None = None) -> int:
    """Run a verb; return the exit code.

    Args:
        argv: arguments, by default those of the process.
    """
    print_in_any_encoding()
    verb, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(usage())
        return 0
    use_current_folder()
    try:
        if verb not in VERBS:
            raise RegimenError(f"Unknown verb `{verb}`. {did_you_mean(verb, VERBS)}")
        module, _, function = VERBS[verb][0].partition(":")
        code = int(getattr(importlib.import_module(module), function)(rest) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has closed the pipe: `regimen runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except RegimenError as error:
        say(visible_lines(str(error)), sys.stderr)
        return outcome.EXIT_BAD_INPUT
    except OSError as error:
        say(f"regimen {visible_lines(f'{verb}: {of_system(error)}')}", sys.stderr)
        return outcome.EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
