"""Several workers of one run: started by torch.distributed.run, stopped together, recorded by the first alone.

Every worker finds its number in the environment, as torch.distributed.run gives it: RANK, LOCAL_RANK, WORLD_SIZE.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import yaml

from regimen.runs import code_snapshot
from regimen.runs.run import Run
from regimen.system import files, host, signals
from regimen.system.errors import ConfigError, PreflightError

SHUTDOWN_S = 80
"""Time for all workers to save and end once they were asked to, before torch.distributed.run kills them."""

FIRST_PORT, PORTS = 20000, 20000

SIGNALS = ",".join(number.name for number in signals.FORWARDED)


def rank() -> int:
    """Return the number of this worker among all of the run; the first, 0, keeps the record."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Return how many workers the run has."""
    return int(os.environ.get("WORLD_SIZE", 1))


def join(device: str) -> None:
    """Meet the other workers of this run, if there are any: gloo between CPUs, NCCL between GPUs.

    On GPUs each worker takes its own, which `cuda` means from then on: NCCL refuses two workers on one.

    Args:
        device: of the agent, such as `cpu` or `cuda:0`.

    Raises:
        PreflightError: this machine has fewer GPUs than workers.
    """
    if world_size() > 1:
        from torch import cuda, distributed

        if device.startswith("cuda"):
            number, count = int(os.environ["LOCAL_RANK"]), cuda.device_count()
            if number >= count:
                instead = f"hardware.processes={count}" if count else "hardware.device=cpu"
                raise PreflightError(f"Each process takes a GPU of its own: {count} here. Type {instead}.")
            cuda.set_device(number)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo")


def share_of(num_envs: int) -> int:
    """Return how many of a run's environments this worker steps.

    Raises:
        ConfigError: they cannot be divided equally.
    """
    share, rest = divmod(num_envs, world_size())
    if rest:
        raise ConfigError(
            f"env.num_envs={num_envs} is the number in all {world_size()} processes together: expected a multiple."
        )
    return share


def gather_to_first(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Return, to the first worker, what each of the others gave, in their order; to them nothing."""
    if world_size() == 1:
        return []
    from torch import distributed

    parts: list[Any] | None = [None] * world_size() if rank() == 0 else None
    distributed.gather_object(part if rank() else None, parts)
    return parts[1:] if parts else []


def leave() -> None:
    """Part from the other workers; without this the last one out complains of a lost connection."""
    if world_size() > 1:
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()


def end(code: int) -> NoReturn:
    """End this process; one of several workers at once, without taking the interpreter down.

    A thread of gloo may still hold the tensors of the last message, and gives them back under the interpreter's lock.
    If the interpreter is going down by then, the process aborts although all went well (seen with PyTorch 2.13 on busy
    cores; PyTorch's pull request 179291 tells why).
    """
    if world_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def agreed_stop(signal: int | None) -> int | None:
    """Return the signal that any of the workers received, so that all stop at the same step.

    Args:
        signal: what this one received; None for none.
    """
    if world_size() == 1:
        return signal
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        return signal
    number = torch.tensor(signal or 0)
    distributed.all_reduce(number, op=distributed.ReduceOp.MAX)
    return int(number) or None


class Follower(Run):
    """The run as seen by every worker but the first: it stops with the others and writes nothing but its error."""

    leads = False

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Leave the scalars to the first worker."""

    def rewind(self, step: int) -> None:
        """Leave the scalars to the first worker."""

    def progress(self, **fields: Any) -> None:
        """Leave the display to the first worker."""

    def artifact(self, path: Path, kind: str) -> None:
        """Leave the files to the first worker."""

    def finish(self, headline: dict[str, float], result: dict[str, Any]) -> None:
        """Leave the result to the first worker."""


def open_run(folder: Path) -> Run:
    """Open a run as the first of its workers or as one of the others.

    Raises:
        ReferenceError_: there is no whole run at `folder`.
    """
    return Run.open(folder) if rank() == 0 else Follower.open(folder)


def command(run: Run, node: int = 0) -> list[str]:
    """Return what starts the workers of a run on one machine: the worker itself, or torch's launcher of several.

    Args:
        run: the run.
        node: number of this machine among those of the run.
    """
    config = yaml.safe_load(run.config_path.read_text())
    hardware = config["hardware"]
    nodes, processes = int(hardware.get("nodes", 1)), int(hardware.get("processes", 1))
    module = code_snapshot.module_name(run.info.get("code"), "regimen.runs.worker")
    worker = ["-m", module, str(run.dir)]
    if nodes * processes == 1:
        return [host.interpreter(config), *worker]
    meeting = ["--standalone"]
    if nodes > 1:
        port = FIRST_PORT + int(os.environ["SLURM_JOB_ID"]) % PORTS  # the same on all machines, another in each job
        meeting = ["--nnodes", str(nodes), "--node-rank", str(node)]
        meeting += ["--master-addr", _first_node(), "--master-port", str(port)]
    launcher = ["-m", "torch.distributed.run", *meeting, "--nproc-per-node", str(processes), "--max-restarts", "0"]
    launcher += ["--log-dir", str(run.logs / "workers")]
    stopping = ["--signals-to-handle", SIGNALS, "--shutdown-timeout", str(SHUTDOWN_S)]
    return [host.interpreter(config), *launcher, *stopping, *worker]


def companion(run: Run) -> int:
    """Work on a run that the first machine supervises; return an exit code.

    The signals that this process gets go to its workers, and so does its end: they watch its pipe.

    Args:
        run: the run.
    """
    node = int(os.environ["SLURM_NODEID"])
    received: list[int] = []
    worker: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in worker:
            signals.send(process, number)

    env = {**os.environ, **code_snapshot.environment(run.info.get("code"))}
    with signals.handled(forward), (run.logs / f"worker.node{node}.log").open("ab") as log:
        process = subprocess.Popen(
            command(run, node), stdin=subprocess.PIPE, stdout=log, stderr=log, env=env, start_new_session=True
        )
        worker.append(process)
        for number in received:
            signals.send(process, number)
        return process.wait()


def write_error(run: Run, error: dict[str, Any]) -> None:
    """Leave the account of the first worker that failed: the others fail for the loss of it.

    Args:
        run: the run.
        error: what `Run.write_error` takes.
    """
    if world_size() > 1 and files.read_json(run.logs / "error.json") is not None:
        return
    run.write_error({**error, "rank": rank()} if world_size() > 1 else error)


def _first_node() -> str:
    """Return the name of the first machine of this Slurm job."""
    try:
        listed = subprocess.run(
            ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        return listed.stdout.split()[0]
    except (KeyError, IndexError, OSError, subprocess.SubprocessError) as error:
        raise PreflightError(f"Several machines need a Slurm job that names them: {error!r}.") from error
