"""The `regimen` command: looks at what there is and what was run. Each verb is one entry of `VERBS`."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from regimen.config.static_modules import use_current_folder
from regimen.runs import outcome
from regimen.system.errors import RegimenError, did_you_mean

VERBS: dict[str, tuple[str, str]] = {
    "list": (
        "regimen.config.groups:list_verb",
        "list the options of a group: tasks, agents, sims, stages, …",
    ),
    "check-env": ("regimen.envs.conformance.check:main", "try every rule of the VecEnv contract on a task"),
    "publish": ("regimen.cli.publish:publish_verb", "keep a run's policy in the repository as pretrained:<name>"),
    "adopt": ("regimen.agents.rsl_rl.adopt:adopt_verb", "make a policy of a checkpoint that rsl_rl itself wrote"),
    "card": (
        "regimen.data.episodes.card:card_verb",
        "describe a dataset and check whether it is fit for training",
    ),
    "import-legacy": (
        "regimen.data.episodes.legacy_import:import_verb",
        "convert recordings of the older formats into a dataset",
    ),
    "import-histories": (
        "regimen.data.histories.vintix_import:import_verb",
        "convert public Vintix data into learning histories",
    ),
    "export-lerobot": ("regimen.data.lerobot.export:export_verb", "write a dataset in the LeRobot v3 layout"),
    "runs": ("regimen.cli.runs:runs_verb", "list runs, with filters: task=h1_failure status=failed since=3d"),
    "export": ("regimen.cli.export_policy:export_verb", "a policy for a robot (format=onnx), or a list of runs as CSV"),
    "clean": ("regimen.cli.clean:clean_verb", "show what would be freed of old runs, and free it with --yes"),
    "completion": ("regimen.cli.completion:completion_verb", "print the completion of the shell, bash or zsh"),
    "show": ("regimen.cli.show:show_verb", "one run: what it was, how it ended, whether it can be trusted"),
    "diff": ("regimen.cli.diff:diff_verb", "what differs between two runs: settings, code, packages, figures"),
    "compare": ("regimen.cli.compare:compare_verb", "groups of seeds: IQM with intervals, learning curves"),
    "lineage": (
        "regimen.runs.history.lineage_text:lineage_verb",
        "show the parents and children of a run",
    ),
    "note": ("regimen.cli.annotate:note_verb", "write a note into a run's record, or list its notes"),
    "tag": ("regimen.cli.annotate:tag_verb", "tag a run, or take a tag away with -tag"),
    "rerun": ("regimen.cli.rerun:rerun_verb", "repeat a run, and compare the results bit for bit"),
    "queue": ("regimen.cli.queue:queue_verb", "the runs that a scheduler has: where they are, why they wait"),
    "cancel": ("regimen.cli.cancel:cancel_verb", "take runs, a sweep, a pipeline or all from their scheduler"),
    "resume": ("regimen.cli.rerun:resume_verb", "continue a run in place"),
}
"""Verb -> function called with the arguments that follow it, and what it does. Imported when it is called."""


def usage() -> str:
    """Return the help: one line for each verb."""
    width = max(len(verb) for verb in VERBS)
    lines = [f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()]
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
    use_current_folder()
    try:
        if verb not in VERBS:
            raise RegimenError(f"There is no verb `{verb}`. {did_you_mean(verb, VERBS)}")
        module, _, function = VERBS[verb][0].partition(":")
        code = int(getattr(importlib.import_module(module), function)(rest) or 0)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has seen enough: `regimen runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except RegimenError as error:
        print(error, file=sys.stderr)
        return outcome.EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
