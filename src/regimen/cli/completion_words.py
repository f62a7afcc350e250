"""Completion candidates for the word at the cursor of a command line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from regimen.config.groups import GROUPS, MULTI_GROUPS, config_home
from regimen.config.motion_files import shipped_motions
from regimen.runs.checkpoint_header import BEST_JUDGED
from regimen.runs.history.filters import GROUPS as GROUP_FILTERS
from regimen.runs.history.filters import KEYS, ORDER, TIMES
from regimen.runs.index.index import ROOTS, Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.inputs import LISTS, SINGLE
from regimen.runs.references import pretrained_folders
from regimen.runs.status import Status

PROGRAMS = ("regimen", "launch.py")
UNQUOTED = re.compile(r"[\w@%+=!:,./\[\]-]+")
"""Words that need no quotes in any shell; other names are not offered."""

SEPARATORS = ("|", "||", "&&", ";")

FLAGS = {
    "runs": ("--sort", "--limit", "--json", "--csv"),
    "export": ("--sort", "--out", "--config-dir"),
    "deploy-check": ("--file", "--steps", "--seed", "--config-dir"),
    "clean": ("--sort", "--older", "--checkpoints", "--yes"),
    "ui": ("--port", "--host", "--no-browser", "--tls-certificate", "--tls-key"),
    "show": ("--verify", "--json"),
    "replay": ("--env", "--speed", "--window", "--film", "--table"),
    "diff": ("--code", "--json"),
    "compare": ("--metric", "--out", "--paired"),
    "gate": ("--against", "--require", "--out", "--json"),
    "verify": ("--record",),
    "lineage": ("--out",),
    "rerun": ("--check",),
    "queue": ("--json",),
    "list": ("--config-dir", "--python"),
    "motion": ("--robot", "--quat-order", "--cycle", "--retarget", "--save", "--folder", "--facts"),
    "import-robot": (
        *("--name", "--into", "--force", "--feet", "--foot-boxes", "--base", "--fixed-base", "--drop"),
        *("--package-path", "--no-meshes", "--effort", "--armature", "--kp", "--kd", "--speed", "--pose"),
    ),
    "check-env": ("--config-dir", "--describe", "--num-envs"),
    "terrain": ("--config-dir", "--out"),
    "launch.py": ("--help", "--multirun", "-m", "--config-dir", "--cfg", "--info"),
}
"""Verb -> its flags, besides --help."""

COMPOSING = ("check-env", "terrain")
"""Verbs that take the overrides of launch.py."""

EXPORT_SETTINGS = ("format=onnx", "format=torchscript", "observations=raw", "observations=scaled")

FILTERED = ("runs", "export", "clean", "compare")
"""Verbs that take filters."""

PLAIN_KEYS = (
    *("name", "seed", *SINGLE, *LISTS),
    *("video", "nan_dump", "dry_run", "wait", "force", "resume", "sweep", "pipeline"),
)
"""Keys of launch.py that belong to no group."""

SWITCHES = ("video", "dry_run", "wait", "force")
SCHEDULED = ("queue", "cancel")


def complete(line: str, breaks: str = "") -> list[str]:
    """Return the completions of the word at the end of a line.

    Args:
        line: command line up to the cursor.
        breaks: characters at which the shell splits words for completion; the part of the word before the last of
            them is omitted from the result. `@` itself is kept, because readline counts it to the new word.
    """
    words = re.split(r"\s+", line.lstrip())
    typed = words[-1]
    cut = max((typed.rfind(sign) + (sign != "@") for sign in breaks if sign in typed), default=0)
    found = sorted({word for word in _words(words) if word.startswith(typed)})
    return [word[cut:] for word in found if UNQUOTED.fullmatch(word)]


def _words(words: Sequence[str]) -> Iterable[str]:
    starts = [i for i, word in enumerate(words[:-1]) if os.path.basename(word) in PROGRAMS]
    if not starts or any(word in SEPARATORS for word in words[starts[-1] :]):
        return []
    program, *arguments = words[starts[-1] :]
    if os.path.basename(program) == "launch.py":
        return _launch(arguments, Path(program))
    return _verb(*arguments)


def _verb(verb: str, *arguments: str) -> Iterable[str]:
    from regimen.cli.main import VERBS

    if not arguments:
        return VERBS
    typed, before = arguments[-1], arguments[:-1]
    if verb == "launch":
        return _launch(arguments, Path("launch.py"))
    if typed.startswith("--"):
        return ("--help", *FLAGS.get(verb, ()))
    if before and before[-1] == "--sort":
        return _sort_keys(typed)
    if verb == "list":
        return [group if group == "hardware" else f"{group}s" for group in GROUPS]
    if verb == "completion":
        return ("bash", "zsh")
    if verb == "motion":
        return shipped_motions()
    if verb in COMPOSING:
        return _launch(arguments, Path("launch.py"))
    if verb in ("ui", "import-robot"):
        return ()
    rows = Index().rows()
    if verb == "export" and typed.startswith(("format=", "observations=")):
        return EXPORT_SETTINGS
    if verb in FILTERED and "=" in typed:
        return _filter(typed, rows)
    filters = [f"{key}=" for key in (*KEYS, *TIMES)] if verb in FILTERED else []
    if verb == "export":  # a table of runs, or a policy
        return [*filters, *EXPORT_SETTINGS, *_names(rows), *_checkpoints(typed, rows)]
    if verb == "tag" and before:
        return [f"{sign}{tag}" for run in rows for tag in run.tags for sign in ("", "-")]
    if verb == "replay" and before:
        return ("nan",)
    if verb in SCHEDULED:
        is_running = (Status.RUNNING,) if verb == "cancel" else ()
        return [*_plans(), *_names(rows, lambda run: run.queue is not None or run.status in is_running)]
    return filters if verb in FILTERED and verb != "compare" else [*filters, *_names(rows), *_checkpoints(typed, rows)]


def _filter(typed: str, rows: Sequence[RunSummary]) -> Iterable[str]:
    """Return completed filters; only the last of several values is completed."""
    key, sign, value = re.split(r"(!?=)", typed, maxsplit=1)
    if key not in KEYS:
        return []
    values = {str(value) for run in rows for value in KEYS[key](run) if value is not None}
    if key == "status":
        values |= set(Status)
    if key in GROUP_FILTERS:
        values |= set(_options(key, [config_home()]))
    head = value[: value.rfind(",") + 1]
    return [f"{key}{sign}{head}{one}" for one in values]


def _sort_keys(typed: str) -> Iterable[str]:
    head = typed[: typed.rfind(",") + 1]
    metrics = {name for run in Index().rows() for name in run.headline}
    return [f"{head}{sign}{key}" for key in (*ORDER, *metrics) for sign in ("", "-")]


def _launch(arguments: Sequence[str], program: Path) -> Iterable[str]:
    typed = arguments[-1]
    groups = (*GROUPS, *MULTI_GROUPS)
    if typed.startswith("-"):
        return FLAGS["launch.py"]
    key, equals, value = typed.partition("=")
    if not equals:
        return [f"{name}=" for name in (*groups, *PLAIN_KEYS)]
    head = f"{key}={value[: max(value.rfind(sign) for sign in ',[') + 1]}"
    part = typed[len(head) :]
    return [head + word for word in _values(key.lstrip("+"), part, _config_dirs(arguments, program), groups)]


def _values(key: str, typed: str, config_dirs: Sequence[Path], groups: Sequence[str]) -> Iterable[str]:
    if key in groups or key == "pipeline":
        return _options(key, config_dirs)
    if key in SWITCHES:
        return ("true", "false")
    if key == "sweep":
        return _plans("sweep.json")
    if key not in (*SINGLE, *LISTS, "resume"):
        return []
    rows = Index().rows()
    if key in SINGLE:
        policies = [path for folder in pretrained_folders() for path in folder.glob("*/policy.pt")]
        shipped = [f"pretrained:{path.parent.name}" for path in policies]
        return ["latest", *shipped, *_names(rows), *_checkpoints(typed, rows)]
    if key == "data":
        return ["latest", *_names(rows, lambda run: run.has_data)]
    if key == "runs":
        return _names(rows, lambda run: run.status == Status.FINISHED)
    return _names(rows, lambda run: not (run.status.is_open or run.status == Status.FINISHED))


def _options(group: str, config_dirs: Sequence[Path]) -> list[str]:
    return [file.stem for folder in config_dirs for file in (folder / group).glob("*.yaml")]


def _config_dirs(arguments: Sequence[str], program: Path) -> list[Path]:
    """Return the folders of options: that beside launch.py, and those of --config-dir."""
    beside = program.expanduser().resolve().parent / "conf"
    home = beside if beside.is_dir() else config_home()
    named = [Path(folder) for flag, folder in pairwise(arguments) if flag == "--config-dir"]
    return [home, *named]


def _plans(*files: str) -> list[str]:
    """Return the directories of sweeps, or of sweeps and pipelines."""
    wanted = files or ("sweep.json", "pipeline.json")
    return [str(path.parent) for root in ROOTS for name in wanted for path in root.glob(f"*/{name}")]


def _names(rows: Sequence[RunSummary], fits: Callable[[RunSummary], bool] = lambda run: True) -> list[str]:
    """Return ids and names of readable runs."""
    chosen = [run for run in rows if run.status != Status.UNREADABLE and fits(run)]
    return [word for run in chosen for word in (run.id, run.name) if word]


def _checkpoints(typed: str, rows: Sequence[RunSummary]) -> list[str]:
    """Return `<run>@best`, `<run>@last` and `<run>@<step>` of the run before `@`."""
    name, at, _ = typed.rpartition("@")
    runs = [run for run in rows if run.id == name or run.name == name] if at else []
    if len(runs) != 1:
        return []
    files = [path.stem.removeprefix("step_") for path in (runs[0].dir / "checkpoints").glob("*.pt")]
    judged = BEST_JUDGED.removesuffix(".pt")
    files = ["best_return" if stem == judged else stem for stem in files]
    return [f"{name}@{stem.lstrip('0') or '0' if stem.isdecimal() else stem}" for stem in files]
