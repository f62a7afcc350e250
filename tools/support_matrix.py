"""Write `docs/support.md` from the runs that tests make: `python tools/support_matrix.py [recording …]`.

A recording is a file of `pytest --support-record <file>`. Its tests replace their earlier rows in
`docs/results/support/runs.json`; without a recording the page is written again from that file.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from support_cases import ROOT, RunCase, SupportData, Tests

DATA = ROOT / "docs" / "results" / "support" / "runs.json"
PAGE = ROOT / "docs" / "support.md"

SIMULATORS = {
    "mujoco": "MuJoCo",
    "mujoco_warp": "MuJoCo Warp",
    "genesis": "Genesis",
    "isaaclab": "Isaac Lab",
    "mjlab": "mjlab",
    "gymnasium": "Gymnasium",
    "remote": "`sim=remote`",
    "own": "a test's own",
    "": "none",
}
"""Simulator of a case -> head of its column."""

INTRODUCTION = """# Support: what runs in the tests

Each entry is a run that a test started as a user starts it, with `launch.py`, `regimen.launch`, a
sweep, a pipeline or Slurm, and that finished in a test that passed. The links lead to the tests.
`make support` runs the tests and writes this page; its data are in
[runs.json](results/support/runs.json). The runs are short: an entry shows that the parts work
together, not that a policy learns. [Measured](measured.md) has what was trained to the end. The
task `own` is one that a test brings along, as a user would.

Not counted: tests that call an environment, a stage or an agent directly, `regimen check-env`,
`regimen export` and the other commands. An empty cell is a combination that no test runs; it may
work.
"""

HINTS = {
    "train": "Agents that learn in the task.",
    "collect": "Policies that act; `scripted` and `human` are demonstrators.",
    "distill": "Agents that learn from data of the task.",
    "evaluate": "Agents whose policies are judged.",
    "serve": "Tasks that are served to `sim=remote`.",
    "report": "Tasks of the runs that are reported.",
}


def write() -> None:
    """Merge the recordings that are named as arguments, and write data and page."""
    data = SupportData.read(DATA) if DATA.exists() else SupportData()
    for name in sys.argv[1:]:
        data.merge(Path(name).read_text(encoding="utf-8"))
    DATA.parent.mkdir(parents=True, exist_ok=True)
    DATA.write_text(data.text, encoding="utf-8")
    PAGE.write_text(page(data), encoding="utf-8")


def page(data: SupportData) -> str:
    """Return the page."""
    cases = data.runs
    order = [*HINTS, *sorted({case.stage for case in cases} - HINTS.keys())]
    stages = [stage for stage in order if any(case.stage == stage for case in cases)]
    parts = [INTRODUCTION, _overview(cases)]
    parts += [_stage(stage, {case: tests for case, tests in cases.items() if case.stage == stage}) for stage in stages]
    return "\n".join([*parts, _ways(cases), _missing(cases), _recorded(data.files)])


def _overview(cases: Tests) -> str:
    """Return the table of trainings: agents by simulators, with the tasks in the cells."""
    trained = {case: tests for case, tests in cases.items() if case.stage == "train"}
    sims = [sim for sim in SIMULATORS if any(case.sim == sim for case in cases)]
    rows = []
    for agent in sorted({case.agent for case in trained}):
        own = {case: tests for case, tests in trained.items() if case.agent == agent}
        rows.append([f"`{agent}`", *_by_simulator(own, sims, lambda case: case.task)])
    heads = ["agent", *(SIMULATORS[sim] for sim in sims)]
    return "## Training: agents by simulators\n\n" + _table(heads, rows)


def _stage(stage: str, cases: Tests) -> str:
    """Return the table of a stage: tasks by simulators, with the agents in the cells."""
    sims = [sim for sim in SIMULATORS if any(case.sim == sim for case in cases)]
    rows = []
    for task, env_id in sorted({(case.task, case.env_id) for case in cases}):
        own = {case: tests for case, tests in cases.items() if (case.task, case.env_id) == (task, env_id)}
        name = " ".join(f"`{part}`" for part in (task, env_id) if part) or "imported files"
        rows.append([name, *_by_simulator(own, sims, lambda case: case.agent or "yes")])
    hint = f"{HINTS[stage]}\n\n" if stage in HINTS else ""
    return f"## `stage={stage}`\n\n{hint}" + _table(["task", *(SIMULATORS[sim] for sim in sims)], rows)


def _by_simulator(cases: Tests, sims: list[str], label: Callable[[RunCase], str]) -> list[str]:
    """Return the cell of each simulator."""
    return [_linked({case: tests for case, tests in cases.items() if case.sim == sim}, label) for sim in sims]


WAYS: dict[str, Callable[[RunCase], str]] = {
    "stopped and resumed": lambda case: case.agent if case.resumed and case.stage == "train" else "",
    "resumed, other stages": lambda case: case.stage if case.resumed and case.stage != "train" else "",
    "several processes that train together": lambda case: case.agent if case.workers * case.nodes > 1 else "",
    "several nodes, simulated on one machine": lambda case: case.agent if case.nodes > 1 else "",
    "actors and a learner": lambda case: f"{case.agent} over {case.transport}" if case.actors else "",
    "a queue on this machine, `submitit_local`": lambda case: case.stage if case.scheduler == "submitit_local" else "",
    "Slurm on one machine": lambda case: case.stage if case.scheduler == "slurm" else "",
    "an array of Slurm": lambda case: case.stage if case.array else "",
    "loggers": lambda case: case.loggers,
    "pipelines, reduced": lambda case: case.pipeline,
    "experiments, reduced": lambda case: case.experiment,
}
"""How runs were started -> what of a case is listed there, empty for nothing."""


def _ways(cases: Tests) -> str:
    rows = [[way, _linked(cases, label)] for way, label in WAYS.items()]
    return "## How the runs were started\n\n" + _table(["", ""], [row for row in rows if row[1]])


RECORDED = """A file that was not recorded may make further runs; tests that need what is not installed are
skipped, and so not recorded.
"""

NEVER = {
    "a cluster of several machines": "the Slurm and the Ray of the tests are on one machine",
    "a robot": "policies are exported for it and not run on it",
}
"""Subjects that no record of a run can show -> remark."""

UNTIL: dict[str, tuple[Callable[[RunCase], bool], str]] = {
    "a GPU (`hardware=gpu`)": (lambda case: case.device.startswith("cuda"), "all runs of the tests are on a CPU"),
    "Isaac Sim (Kit)": (lambda case: "isaacsim_physx" in case.physics, "`env.physics=isaacsim_physx`"),
    "Isaac Lab on PhysX (ovphysx)": (lambda case: "ovphysx" in case.physics, "`env.physics=ovphysx`"),
    "several nodes": (lambda case: case.nodes > 1, "`hardware.nodes`"),
    "Slurm": (lambda case: case.scheduler == "slurm", "`hardware=slurm`"),
    "an array of Slurm": (lambda case: case.array, "`-m hardware=slurm`"),
    "actors over Ray": (lambda case: case.transport == "ray", "`hardware.channel.transport=ray`"),
}
"""Subject -> which case exercises it, and a remark for as long as none does."""

GROUPS: dict[str, Callable[[RunCase], Iterable[str]]] = {
    "task": lambda case: [case.task],
    "sim": lambda case: [case.sim],
    "agent": lambda case: [case.agent],
    "stage": lambda case: [case.stage],
    "pipeline": lambda case: [case.pipeline],
    "experiment": lambda case: [case.experiment, "none"],
    "logger": lambda case: case.loggers.split(","),
}
"""Folder of `conf/` -> options that a case exercises."""


def _missing(cases: Tests) -> str:
    rows = [[subject, remark] for subject, (shows, remark) in UNTIL.items() if not any(map(shows, cases))]
    rows += [[subject, remark] for subject, remark in NEVER.items()]
    for group, options in GROUPS.items():
        present = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}
        if absent := sorted(present - {name for case in cases for name in options(case)}):
            rows.append([f"options of `conf/{group}`", ", ".join(f"`{name}`" for name in absent)])
    return "## Not exercised\n\nNo recorded test makes such a run.\n\n" + _table(["", ""], rows)


def _recorded(files: set[str]) -> str:
    """Return the table of the recorded test files by their folders."""
    folders = Counter(file.rpartition("/")[0] for file in files)
    rows = [[f"`{folder}`", str(folders[folder])] for folder in sorted(folders)]
    return f"## Recorded test files\n\n{RECORDED}\n" + _table(["folder", "recorded files"], rows)


def _linked(cases: Tests, label: Callable[[RunCase], str]) -> str:
    """Return the labels of the cases, sorted, each with a link to the first of its test files."""
    files: dict[str, set[str]] = {}
    for case, tests in cases.items():
        if name := label(case):
            files.setdefault(name, set()).update(test.partition("::")[0] for test in tests)
    return ", ".join(f"[{name}](../{_shown(files[name])})" for name in sorted(files))


def _shown(files: Iterable[str]) -> str:
    """Return the file to which an entry links: an end-to-end test if there is one."""
    return min(files, key=lambda file: ("end_to_end" not in file, file))


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in cells)}|\n" for cells in lines)


if __name__ == "__main__":
    write()
