"""`regimen mcp`: the history and the launcher as tools of the Model Context Protocol, over stdin and stdout.

The tools do what the commands of the same name do. What a tool starts is checked as `dry_run=true` checks it, and
works on under a supervisor of its own when the server has ended.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regimen.system.errors import ConfigError, RegimenError

OUTPUTS = Path("outputs")
MOST_RUNS = 200
MOST_POINTS = 500
LISTED = (
    *("id", "name", "stage", "task", "agent", "sim", "status", "seed", "headline", "overrides", "started"),
    *("wall_s", "tags", "sweep", "reason"),
)
"""What a list has of a run."""
INSTRUCTIONS = """Runs of robot-learning experiments: trainings, evaluations, datasets. A run is named by its id, a
beginning of it, its name or `latest`. Begin with list_runs. Before launch, try the same arguments with dry_run."""


def mcp_verb(argv: list[str]) -> int:
    """Serve until the client closes stdin: `regimen mcp [--read-only]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen mcp", description="Serve the history over stdio to an MCP client.")
    parser.add_argument("--read-only", action="store_true", help="offer no tool that starts or changes a run")
    args = parser.parse_args(argv)
    if importlib.util.find_spec("mcp") is None:
        raise ConfigError(f"`regimen mcp` needs the package mcp. Type: {sys.executable} -m pip install -e '.[mcp]'.")
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("regimen", instructions=INSTRUCTIONS, log_level="WARNING")
    for tool in READING if args.read_only else (*READING, *ACTING):
        server.add_tool(_with_errors(tool), structured_output=False)
    server.run("stdio")
    return 0


def list_runs(filters: list[str] | None = None, sort: str = "-started", limit: int = 20) -> str:
    """List runs as JSON, newest first.

    Args:
        filters: as of `regimen runs`, such as ["task=h1_failure", "status=failed", "since=3d", "sweep=<id>"].
        sort: keys or headline metrics separated by commas; `-` reverses, such as `-return`.
        limit: number of runs at most.
    """
    from regimen.orchestration.slurm.job_states import ask_schedulers
    from regimen.runs.history.filters import order, parse, select
    from regimen.runs.index.index import Index

    wanted, found = parse(filters or []), Index().rows()
    ask_schedulers(found)
    runs = order(select(wanted, found), sort, found)
    rows = [{name: getattr(run, name) for name in LISTED} for run in runs[: max(1, min(limit, MOST_RUNS))]]
    return _as_json({"matching": len(runs), "runs": rows})


def show_run(run: str) -> str:
    """Show one run as text: reasons for doubt, settings, times, result, files, relatives, and the next command."""
    from regimen.runs.history.run_report import describe, gather
    from regimen.runs.history.run_view import open_view

    view = open_view(run)
    return describe(view, gather(view))


def read_metrics(run: str, names: list[str] | None = None, points: int = 50) -> str:
    """Return curves of a training as JSON; without names, which metrics there are.

    Args:
        run: the run.
        names: metrics, such as ["Train/return"].
        points: of a curve at most.
    """
    from regimen.runs.history.run_view import open_view
    from regimen.system.errors import did_you_mean

    rows = list(open_view(run).metrics())
    known = sorted({name for row in rows for name in row} - {"step", "time_s"})
    if not names:
        return _as_json({"rows": len(rows), "metrics": known})
    curves = {}
    for name in names:
        if name not in known:
            raise ConfigError(f"{run} logged no `{name}`. {did_you_mean(name, known)}")
        curve = [[row["step"], row[name]] for row in rows if row.get(name) is not None]
        step = max(1, -(-len(curve) // max(2, min(points, MOST_POINTS))))
        curves[name] = curve[::step] + ([curve[-1]] if (len(curve) - 1) % step else [])
    return _as_json(curves)


def diff_runs(a: str, b: str) -> str:
    """Return the differences of two runs as JSON: settings, inputs, packages, host, end, headline, code."""
    from regimen.runs.history.code_diff import code_difference
    from regimen.runs.history.run_diff import differences
    from regimen.runs.history.run_view import open_view
    from regimen.system import files

    first, second = open_view(a), open_view(b)
    return _as_json(files.plain({**differences(first, second), "code": code_difference(first, second).lines}))


def compare_runs(runs: list[str]) -> str:
    """Compare groups of seeds of one task as text: interquartile means of the headline metrics with 95 % intervals.

    Args:
        runs: references, and filters such as "sweep=<id>" that must all match.
    """
    from regimen.cli.compare import report
    from regimen.runs.history.comparison import select
    from regimen.runs.history.groups import grouped

    found, left_out = select(runs)
    return "\n".join(report(found, grouped(found), left_out))


def lineage(run: str) -> str:
    """Return parents and children of a run as a text tree."""
    from regimen.runs.history.lineage import Lineage
    from regimen.runs.history.lineage_text import tree
    from regimen.runs.history.run_view import open_view

    row = open_view(run).row
    return "\n".join(tree(row, *Lineage.known().graph(row)))


def dry_run(arguments: list[str]) -> str:
    """Check a run without starting it; return what it would do, with memory and disk, or everything that is wrong.

    Args:
        arguments: as of `regimen launch`, such as ["task=reach", "agent=skrl_ppo", "seed=1"].
    """
    from regimen.config.compose import compose
    from regimen.config.groups import config_home
    from regimen.orchestration.dry_run import describe, run_directory
    from regimen.orchestration.new_run import check_scheduler
    from regimen.orchestration.preflight import preflight

    composed = compose(arguments, [config_home()])
    report = preflight(composed, OUTPUTS)
    check_scheduler([composed])
    warnings = [f"warning: {line}" for line in dict.fromkeys(report.warnings)]
    return "\n".join([describe(composed, report, run_directory(OUTPUTS, composed.plain)), *warnings])


def launch(arguments: list[str]) -> str:
    """Start one run in the background; what `dry_run` refuses is refused. Return its id; follow it by show_run.

    Args:
        arguments: as of `regimen launch`, without sweeps.
    """
    from regimen.orchestration import launched_run

    return _started(launched_run.launch(arguments, OUTPUTS, [], wait=False))


def rerun(run: str) -> str:
    """Repeat a run in the background with its frozen configuration and seed. Return the id of the new run."""
    from regimen.orchestration.launched_run import start_again
    from regimen.orchestration.repeated_run import cautions
    from regimen.runs.history.run_view import open_view

    original = open_view(run)
    return _started(start_again(original), rerun_of=original.id, cautions=list(cautions(original)))


def add_note(run: str, text: str) -> str:
    """Add a note to the record of a run."""
    from regimen.runs.history import annotations
    from regimen.runs.history.run_view import open_view
    from regimen.runs.run import Run

    view = open_view(run)
    annotations.add_note(Run(view.dir), text)
    return f"noted in {view.where}/run.json"


READING: tuple[Callable[..., str], ...] = (
    *(list_runs, show_run, read_metrics, diff_runs, compare_runs, lineage, dry_run),
)
ACTING: tuple[Callable[..., str], ...] = (launch, rerun, add_note)


def _started(run: Any, **more: Any) -> str:
    return _as_json({"run": run.id, "dir": os.path.relpath(run.dir), "status": run.status, **more})


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str)


def _with_errors(tool: Callable[..., str]) -> Callable[..., str]:
    """Return a tool whose errors for the user are results that a client reads, not failures of the server."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    def guarded(**arguments: Any) -> str:
        try:
            return tool(**arguments)
        except RegimenError as error:
            raise ToolError(str(error)) from error

    return guarded
