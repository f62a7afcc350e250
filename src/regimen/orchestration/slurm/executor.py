"""Translate `hardware.submitit`, with the keys of hydra-submitit-launcher, to an executor; record the job of a run."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from regimen.runs import code_snapshot
from regimen.runs.record import RunRecord
from regimen.runs.record_parts import QueueEntry
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import did_you_mean
from regimen.system.host import ProcessIdentity

SET_ELSEWHERE = {
    "nodes": "set hardware.nodes",
    "tasks_per_node": "set hardware.processes; Slurm starts one task on each node, which starts them",
    "name": "set name; the job has the name of the run",
    "submitit_folder": "scripts and logs are in .submitit beside the run directories",
    "stderr_to_stdout": "a job has one log",
    "_target_": "set hardware.scheduler",
}
"""Keys of hydra-submitit-launcher that other keys of the configuration set -> advice."""

POSITIVE = {
    "timeout_min": "minutes",
    "signal_delay_s": "seconds",
    "cpus_per_task": "cores",
    "mem_gb": "GB",
    "array_parallelism": "jobs",
}
"""Keys of hydra-submitit-launcher whose values are above 0 -> their unit."""

EXCLUSIVE = (("mem_gb", "mem_per_cpu", "mem_per_gpu"), ("cpus_per_task", "cpus_per_gpu"))
"""Keys of which sbatch takes one."""

GPU_KEYS = ("gpus_per_node", "gpus_per_task", "gres")

SBATCH_KEYS = {
    "time": "timeout_min", "mem": "mem_gb", "mem-per-cpu": "mem_per_cpu", "mem-per-gpu": "mem_per_gpu",
    "cpus-per-task": "cpus_per_task", "cpus-per-gpu": "cpus_per_gpu", "gpus-per-node": "gpus_per_node",
    "gpus-per-task": "gpus_per_task", "gres": "gres", "partition": "partition", "qos": "qos", "account": "account",
    "constraint": "constraint", "exclude": "exclude", "comment": "comment", "signal": "signal_delay_s",
    "nodes": "hardware.nodes", "ntasks-per-node": "hardware.processes", "job-name": "name",
    "array": "array_parallelism",
}  # fmt: skip
"""Parameter of sbatch that would replace another key silently -> that key."""

WITHOUT_EFFECT = {
    "cpus_per_task": "set hardware.threads",
    "mem_gb": "the job has the memory of this machine; remove it",
}
"""Keys of submitit_local that submitit takes and ignores -> advice."""

NO_LIMIT = 1_000_000
"""Disables submitit's own limit of restarts; the module `requeue` decides about restarts."""

START_S = 60
"""Time in s that a job needs before it handles signals: 30 for its imports, 30 as Slurm checks limits so seldom."""

SIGNAL_DELAY_S = 30
"""Time in s before the time limit at which a job on this machine gets the signal to save."""


def problems(hardware: dict[str, Any]) -> list[str]:
    """Return the problems of `hardware.submitit`, one line each.

    Args:
        hardware: section `hardware` of a resolved configuration.
    """
    given, scheduler = hardware["submitit"], hardware["scheduler"]
    valid_keys = _keys(scheduler)
    lines = []
    for key in given:
        if key in SET_ELSEWHERE:
            lines.append(f"`hardware.submitit.{key}` is not supported: {SET_ELSEWHERE[key]}.")
        elif key not in valid_keys:
            lines.append(f"`hardware.submitit.{key}` is unknown to {scheduler}. {did_you_mean(key, valid_keys)}")
    if _number(given, "max_num_timeout", 0) < 0:
        lines.append("`hardware.submitit.max_num_timeout`: expected 0 (no limit) or the largest number of restarts.")
    for key, unit in POSITIVE.items():
        if _number(given, key, 1) <= 0:
            lines.append(f"`hardware.submitit.{key}={given[key]}`: expected {unit}, 1 or more.")
    return lines or (list(_contradictions(hardware)) if scheduler == "slurm" else list(_without_effect(given)))


def _number(given: dict[str, Any], key: str, default: float) -> float:
    value = given.get(key)
    return default if value is None else float(value)


def _contradictions(hardware: dict[str, Any]) -> Iterator[str]:
    """Yield a line for values of `hardware.submitit` that exclude each other, or that Slurm would not use."""
    given = {k: v for k, v in hardware["submitit"].items() if v is not None}
    limit_s, notice_s = 60 * _number(given, "timeout_min", 60), _number(given, "signal_delay_s", 120)
    if notice_s + START_S > limit_s:
        yield (
            f"`hardware.submitit.timeout_min={limit_s / 60:g}` leaves less than {START_S} s before the notice of "
            f"`hardware.submitit.signal_delay_s={notice_s:g}` s: the signal could reach a job that is still starting. "
            f"Set timeout_min={math.ceil((notice_s + START_S) / 60)} or more, or a shorter signal_delay_s."
        )
    for keys in EXCLUSIVE:
        if len(both := [key for key in keys if given.get(key)]) > 1:
            yield f"`hardware.submitit`: {' and '.join(both)} exclude each other in Slurm: set one to null."
    gpus = [key for key in GPU_KEYS if given.get(key) and (key != "gres" or "gpu" in str(given[key]))]
    if len(gpus) > 1:
        yield f"`hardware.submitit`: {' and '.join(gpus)} each ask for GPUs: set all but one to null."
    for key in ("cpus_per_gpu", "mem_per_gpu"):
        if given.get(key) and not gpus:
            yield f"`hardware.submitit.{key}`: no GPU is asked for. Set gpus_per_node, or remove it."
    number = _number(given, "gpus_per_node", 0)
    if str(hardware.get("device")) == "cuda" and 0 < number < hardware["processes"]:
        yield (
            f"`hardware.processes={hardware['processes']}` take a GPU each, but "
            f"`hardware.submitit.gpus_per_node={number:g}`. Set gpus_per_node={hardware['processes']}."
        )
    for name in given.get("additional_parameters") or {}:
        if own := SBATCH_KEYS.get(str(name).replace("_", "-")):
            yield f"`hardware.submitit.additional_parameters.{name}` repeats another key: set {own} instead."


def _without_effect(given: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each resource that a job on this machine does not get by asking for it."""
    for key, advice in WITHOUT_EFFECT.items():
        if given.get(key) is not None:
            yield f"`hardware.submitit.{key}` has no effect with submitit_local: {advice}."


def _keys(scheduler: str) -> list[str]:
    from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf, SlurmQueueConf

    fields = dataclasses.fields(SlurmQueueConf if scheduler == "slurm" else LocalQueueConf)
    return [field.name for field in fields if field.name not in SET_ELSEWHERE]


def slurm_executor(
    folder: Path, hardware: dict[str, Any], name: str, code: str | None = None, after: list[str] | None = None
) -> Any:
    """Return submitit's executor with the requested resources; write nothing.

    Args:
        folder: folder of scripts and logs.
        hardware: section `hardware` of a resolved configuration.
        name: name of the job.
        code: snapshot of the code that the job imports, see `code_snapshot.take`.
        after: jobs that must succeed before this one starts; if one fails, Slurm removes this job.
    """
    import submitit

    wanted = {k: v for k, v in hardware["submitit"].items() if v is not None and k != "max_num_timeout"}
    lines = [
        *wanted.pop("setup", []),
        *(f"export {k}={shlex.quote(v)}" for k, v in code_snapshot.environment(code).items()),
    ]
    more = {k.replace("_", "-"): v for k, v in wanted.pop("additional_parameters", {}).items()}
    if after:
        more |= {"dependency": ",".join(filter(None, [more.get("dependency"), "afterok:" + ":".join(after)]))}
        more |= {"kill-on-invalid-dep": "yes"}
    executor = submitit.SlurmExecutor(folder, max_num_timeout=NO_LIMIT)
    # Since Slurm 22.05 srun does not inherit --cpus-per-task from sbatch: a task would be bound to one core.
    srun = [f"--cpus-per-task={wanted['cpus_per_task']}"] if "cpus_per_task" in wanted else []
    if hardware.get("channel") is not None:  # the learner is on the first node; it starts actors on the others
        srun += ["--nodes=1", "--ntasks=1", "--relative=0"]
    parameters = {
        **wanted,
        "name": name,
        "nodes": hardware["nodes"],
        "tasks_per_node": 1,
        "additional_parameters": more,
        "setup": lines or None,
        "srun_args": srun,
        "stderr_to_stdout": True,
        "wckey": None,  # Slurm refuses submitit's default where wckeys are tracked
    }
    executor.update_parameters(**executor._convert_parameters({"timeout_min": 60, **parameters}))
    return executor


def local_executor(folder: Path, hardware: dict[str, Any], code: str | None) -> Any:
    """Return submitit's executor for jobs on this machine.

    Args:
        folder: folder of logs.
        hardware: section `hardware` of a resolved configuration.
        code: snapshot of the code that the job imports.
    """
    import submitit

    wanted = {k: v for k, v in hardware["submitit"].items() if v is not None}
    timeout_min = wanted.pop("timeout_min", 60)
    executor = submitit.LocalExecutor(folder, max_num_timeout=NO_LIMIT)
    executor.update_parameters(
        **wanted,
        timeout_min=timeout_min,
        signal_delay_s=min(SIGNAL_DELAY_S, timeout_min * 30),
        stderr_to_stdout=True,
        setup=[f"export {k}={shlex.quote(v)}" for k, v in code_snapshot.environment(code).items()],
    )
    return executor


def job_name(runs: list[Run]) -> str:
    """Return the name of a job, or of an array of jobs."""
    record = runs[0].record
    return record.name or runs[0].id if len(runs) == 1 else record.sweep or runs[0].dir.parent.name


def record_job(
    run: Run, kind: str, job: str, folder: Path, parents: Iterable[str], starter: ProcessIdentity | None = None
) -> None:
    """Record the job of a run in run.json, keeping fields that the job has already written.

    Args:
        run: run that was submitted and may have started.
        kind: scheduler: `slurm` or `submitit_local`.
        job: id of the job.
        folder: folder of its logs.
        parents: jobs that must succeed first.
        starter: process of `submitit_local` that starts the job.
    """
    queue = QueueEntry(
        kind, job=job, folder=str(folder), submitted=files.iso_now(), after=list(parents), starter=starter
    )

    def alter(record: RunRecord) -> None:
        if record.queue is not None:
            queue.restarts, queue.again = record.queue.restarts, record.queue.again
        record.queue = queue

    run.change(alter)


def record_process(run: Run, process: ProcessIdentity, log: Path) -> None:
    """Record the process of a job of `submitit_local`.

    Args:
        run: run whose job has started.
        process: process of the job.
        log: file of its output.
    """

    def alter(record: RunRecord) -> None:
        if record.queue is not None:
            record.queue.process, record.queue.log = process, str(log)

    run.change(alter)
