"""`python launch.py pipeline=<name>`: check all, show the plan or do what is left of it, say how it ended."""

from __future__ import annotations

from pathlib import Path

from regimen.config.compose import refuse
from regimen.display.console import say
from regimen.orchestration.new_run import check_scheduler
from regimen.orchestration.pipeline import cluster, graph, jobs, plan, report, sizes, spec
from regimen.orchestration.pipeline import record as words
from regimen.orchestration.pipeline.jobs import Job
from regimen.orchestration.pipeline.plan import alone
from regimen.orchestration.pipeline.record import Book
from regimen.orchestration.pipeline.reuse import RESUMABLE, TO_DO, Known
from regimen.runs import outcome
from regimen.runs.index.index import Index
from regimen.system import files

FOLDER = Path("multirun")


def run(name: str, overrides: list[str], config_dirs: list[Path]) -> int:
    """Run a pipeline; return the exit code: 0 only if every step is finished.

    Args:
        name: file in `conf/pipeline`, without `.yaml`.
        overrides: what is chosen of the pipeline, and arguments for every step.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: listing everything that is wrong; nothing was started.
    """
    pipeline, arguments = sizes.choose(spec.read(name, config_dirs), overrides)
    all_jobs = jobs.compose_all(pipeline, graph.expand(pipeline), arguments, config_dirs)
    warnings = jobs.check_all(all_jobs)
    check_scheduler([job.composed.config for job in all_jobs])
    rows = Index().rows()
    if cluster.reconcile(rows):
        rows = Index().rows()
    known = plan.plan(all_jobs, rows)
    if any(job.asks("dry_run") for job in all_jobs):
        say(report.describe(pipeline, all_jobs, known, rows))
        return 0
    for line in dict.fromkeys(warnings):
        say(f"warning: {line}")
    again = report.again(name, overrides, config_dirs)
    if all_jobs[0].composed.config["hardware"]["scheduler"]:
        return _on_cluster(name, all_jobs, again)
    return _here(name, all_jobs, known, again)


def _here(name: str, all_jobs: list[Job], known: dict[str, Known], again: str) -> int:
    from regimen.orchestration.pipeline.local import LocalPipeline

    book = Book(files.claim(FOLDER), name, all_jobs)
    try:
        LocalPipeline(all_jobs, book, known).run()
    finally:
        code = report.report(book, again)
    return outcome.signalled(book.signal).exit_code if book.signal else code


def _on_cluster(name: str, all_jobs: list[Job], again: str) -> int:
    """Give away what is left to do; what was given away before is only shown."""
    from regimen.orchestration.pipeline.cluster import ClusterPipeline
    from regimen.orchestration.slurm.wait import wait

    with alone():
        known = plan.plan(all_jobs)
        refuse(cluster.problems(all_jobs, known))
        new = any(k.state in (TO_DO, RESUMABLE) for k in known.values())
        before = None if new else _folder_of(name, known)
        book = Book(before or files.claim(FOLDER), name, all_jobs)
        pipeline = ClusterPipeline(all_jobs, book)
        if pipeline.submit() == 0:
            say("all of it is done or given to the scheduler already; force=true does it again")
    stopped = 0
    if any(job.asks("wait") for job in all_jobs):
        going = [run for run in pipeline.runs.values() if run.status not in words.DONE]
        stopped = wait(going) if going else 0
        pipeline.refresh()
    if all(step.status not in words.OPEN for step in book.steps.values()):
        book.end(None)
    return report.report(book, again) if stopped < 128 else stopped


def _folder_of(name: str, known: dict[str, Known]) -> Path | None:
    """Return the folder of the pipeline that gave the runs away that there are."""
    mine = [k.row.pipeline for k in known.values() if k.row is not None and k.row.pipeline]
    folders = [FOLDER / str(p["id"]) for p in mine if p.get("name") == name]
    return next((folder for folder in reversed(folders) if folder.is_dir()), None)
