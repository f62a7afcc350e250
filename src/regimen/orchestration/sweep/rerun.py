"""`python launch.py sweep=<directory>`: rerun the jobs of a sweep that did not finish, and only those."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regimen.cli.launch import create_run
from regimen.config import structured
from regimen.display.console import say
from regimen.orchestration.sweep.jobs import compose_all, preflight_all, work
from regimen.orchestration.sweep.local import queue
from regimen.orchestration.sweep.record import OPEN, Book, Job
from regimen.orchestration.sweep.report import report
from regimen.runs import code_snapshot, create, outcome, signature
from regimen.runs.run import Run
from regimen.system import files, host, signals
from regimen.system.errors import ReferenceError_, did_you_mean, refuse

ROOT = Path("multirun")
ENDED_BADLY = ("failed", "diverged")
"""Statuses that a change of the code may mend: these runs get the code as it is now, the others keep theirs."""


def rerun(reference: str) -> int:
    """Continue or start again, in place, what failed, was stopped, never started, or is gone; return the exit code.

    A run with a checkpoint goes on from it. One that failed does so with the code as it is now.

    Args:
        reference: directory, id or unique beginning of the id of a sweep, or `latest`.

    Raises:
        ConfigError: no sweep or several are meant, another process works on it, or a job cannot be made again.
    """
    book = Book.open(find(reference))
    stopped = 0
    with book.owned():
        detached = book.status == "submitted"
        jobs = _left(book)
        if not jobs:
            return _told(book) if detached else 0
        try:
            with signals.handled(signals.leave):
                _again(book, jobs)
        except signals.Interrupted as error:
            stopped = outcome.signalled(error.number).exit_code
        code = report(book.folder)
    return stopped or code


def _told(book: Book) -> int:
    """Report on a sweep whose jobs a scheduler had, if all have ended."""
    if any(job.status in OPEN for job in book.jobs):
        return 0
    book.write("ended")
    return report(book.folder)


def find(reference: str, root: Path = ROOT) -> Path:
    """Return the directory of a sweep.

    Args:
        reference: directory, id, unique beginning of the id, or `latest`.
        root: folder of sweeps.

    Raises:
        ReferenceError_: no sweep or several are meant; the message lists candidates.
    """
    folder = Path(reference).expanduser()
    if (folder / "sweep.json").is_file():
        return folder
    known = {file.parent.name: file.parent for file in sorted(root.glob("*/sweep.json"), reverse=True)}
    if not known:
        raise ReferenceError_(f"`{reference}` names no sweep: there is none under {root}/. Start one with -m.")
    found = [name for name in known if name == reference] or [name for name in known if name.startswith(reference)]
    if reference == "latest":
        found = list(known)[:1]
    if len(found) == 1:
        return known[found[0]]
    if found and reference:
        lines = "\n".join(f"  {_described(known[name])}" for name in found[:8])
        raise ReferenceError_(f"`{reference}` names {len(found)} sweeps; say which by its id or directory:\n{lines}")
    lines = "\n".join(f"  {_described(folder)}" for folder in list(known.values())[:5])
    raise ReferenceError_(f"`{reference}` names no sweep. {did_you_mean(reference, known)} The newest:\n{lines}")


def _described(folder: Path) -> str:
    jobs = (files.read_json(folder / "sweep.json") or {}).get("jobs", [])
    done = sum(job.get("status") == "finished" for job in jobs)
    return f"{folder.name}: {done} of {len(jobs)} jobs finished, {folder}"


def _left(book: Book) -> list[Job]:
    """Return the jobs to rerun, and say which are left alone."""
    attended = _attended(book)
    book.refresh()
    missing = [job for job in book.jobs if not book.run(job).dir.exists()]
    broken = [job for job in book.jobs if job not in missing and not book.run(job).info]
    for job in broken:
        place = os.path.relpath(book.run(job).dir)
        say(f"left      {job.run}  has no readable run.json; to have it made anew take {place} away")
    left = [j for j in book.jobs if j not in broken and (j in missing or j.status != "finished")]
    jobs = [job for job in left if job.run not in attended]
    for job in left:
        if job.run in attended:
            say(f"left      {job.run}  {attended[job.run]}")
    if not jobs:
        still = len(left) + len(broken)
        said = f"{still} of them are left alone" if still else "all have finished"
        say(f"nothing to rerun of the {len(book.jobs)} jobs of {os.path.relpath(book.folder)}: {said}")
    return jobs


def _attended(book: Book) -> dict[str, str]:
    """Return run id -> who works on it or will, for the runs that are in hand."""
    from regimen.runs.history.run_view import RunView

    runs = {job.run: book.run(job) for job in book.jobs}
    infos = {name: info for name, run in runs.items() if (info := run.info)}
    found = {}
    if any((info.get("queue") or {}).get("kind") in ("slurm", "submitit_local") for info in infos.values()):
        from regimen.orchestration.slurm.reconcile import reconcile

        found = {name: f"is in hand as job {infos[name]['queue']['job']}" for name in reconcile(runs.values())}
    for name, info in infos.items():
        if info.get("status") == "running" and RunView(runs[name].dir, info).status == "running":
            found.setdefault(name, "is worked on still")
    return found


def _again(book: Book, jobs: list[Job]) -> None:
    """Make missing runs anew, ready the others, and have all begin."""
    missing = [job for job in jobs if not book.run(job).dir.exists()]
    composed = compose_all([_arguments(job) for job in missing], book.config_dirs)
    found = preflight_all(composed, book.folder)
    there = [structured.read_plain(book.run(job).config_path) for job in jobs if job not in missing]
    _check_scheduler([*there, *(c.config for c in composed)])
    for job in jobs:
        job.status, job.exit_code = "waiting", None
    for job, new, inputs in zip(missing, composed, found, strict=True):
        say(f"made anew {job.run}  with the configuration and code as they are now")
        known: dict[str, Any] = {"status": "queued", "queue": queue(new.config), "sweep": book.folder.name}
        create_run(new, book.folder, inputs, job.run, code=str(code_snapshot.take(new.config)), **known)
    for job, config in zip([job for job in jobs if job not in missing], there, strict=True):
        _ready(book.run(job), config)
    work(book, jobs, bool(structured.read_plain(book.run(jobs[0]).config_path).get("wait")))


def _check_scheduler(configs: list[dict[str, Any]]) -> None:
    if any(config["hardware"].get("scheduler") for config in configs):
        from regimen.orchestration.slurm.submit import check

        refuse(check(configs))


def _arguments(job: Job) -> list[str]:
    """Return a job's arguments, its inputs named by the files that the references led to then."""
    own = [text for text in job.overrides if text.partition("=")[0] not in job.inputs]
    return [*own, *(f"{key}={_quoted(value)}" for key, value in job.inputs.items())]


def _quoted(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(_quoted(part) for part in value)}]"
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _ready(run: Run, config: dict[str, Any]) -> None:
    """Bring the record of a run to where it can be started; what it was frozen with stays."""
    info = run.info
    code = info.get("code")
    if info["status"] in ENDED_BADLY or not (code and Path(code).is_dir()):
        taken = str(code_snapshot.take(config))
        if taken != code:
            say(f"code      {run.id}  reruns with the code as it is now")
            info["code"] = taken
            git = host.git(Path(__file__).parent)[0]
            signed = create.sign(config, info)
            if (run.checkpoints / "last.pt").exists():
                signed["code"] = signature.continued(info["signature"].get("code"), signed["code"])
            run.update(code=taken, git=git, signature=signed)
    if info["supervisor"] is None or config["hardware"].get("scheduler"):
        run.update(status="queued", queue=queue(config), ended=None, exit_code=None, reason=None, signal=None)
