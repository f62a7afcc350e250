"""Several workers of one run: start command, workers without the record, workers of the other nodes, first error."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from regimen.runs import code_snapshot
from regimen.runs.record import RunRecord
from regimen.runs.run import Run
from regimen.runs.timeouts import WORKERS_SHUTDOWN_S
from regimen.system import files, host, signals
from regimen.system.distributed import MEETING_PLACE, rank, world_size
from regimen.system.errors import PreflightError

FIRST_PORT = 20000
PORTS = 20000

ENDED_BY_SIGNAL = re.compile(r"rank +: (\d+) .*\n +exitcode +: -(\d+)")
"""Lines on a worker in the summary of torch's launcher."""

SIGNALS = ",".join(number.name for number in signals.FORWARDED)


class NonLeaderRun(Run):
    """The run in a worker other than rank 0: it stops with the others and writes nothing but errors."""

    leads = False

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Do nothing: rank 0 writes the scalars."""

    def rewind(self, step: int) -> None:
        """Do nothing: rank 0 writes the scalars."""

    def progress(self, **fields: Any) -> None:
        """Do nothing: rank 0 writes the progress."""

    def artifact(self, path: Path, kind: str) -> None:
        """Do nothing: rank 0 records the files."""

    def draw(self, name: str, draw: Callable[[Path], object]) -> None:
        """Do nothing: rank 0 draws the figures."""

    def finish(self, headline: dict[str, float], result: dict[str, Any]) -> None:
        """Do nothing: rank 0 writes the result."""


def open_run(folder: Path) -> Run:
    """Open a run for this worker: `Run` for rank 0, `NonLeaderRun` for the others.

    Raises:
        RunReferenceError: there is no whole run at `folder`.
    """
    return Run.open(folder) if rank() == 0 else NonLeaderRun.open(folder)


def command(run: Run, meeting_place: Path | None = None, node: int = 0) -> list[str]:
    """Return the command that starts the workers of a run on one node: one worker, or torch's launcher of several.

    Workers of one node exchange their addresses through files, those of several nodes through a port that is open to
    the network.

    Args:
        run: the run.
        meeting_place: folder of these files, see `environment`.
        node: number of this node among those of the run.
    """
    config = run.config
    hardware = config["hardware"]
    nodes, processes = int(hardware.get("nodes", 1)), int(hardware.get("processes", 1))
    module = code_snapshot.module_name(run.record.code, "regimen.runs.worker")
    worker = ["-m", module, str(run.dir)]
    if nodes * processes == 1 or hardware.get("channel") is not None:  # the one that learns starts its actors itself
        return [host.interpreter(config), *worker]
    meeting = ["--nnodes", "1", "--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file"]
    meeting += ["--rdzv-id", run.id, "--rdzv-endpoint", str(meeting_place and meeting_place / "launcher")]
    if nodes > 1:
        port = FIRST_PORT + int(os.environ["SLURM_JOB_ID"]) % PORTS  # the same on all machines, another in each job
        meeting = ["--nnodes", str(nodes), "--node-rank", str(node)]
        meeting += ["--master-addr", nodes_of_job()[0], "--master-port", str(port)]
    launcher = ["-m", "torch.distributed.run", *meeting, "--nproc-per-node", str(processes), "--max-restarts", "0"]
    launcher += ["--log-dir", str(run.logs / "workers")]
    stopping = ["--signals-to-handle", SIGNALS, "--shutdown-timeout", str(WORKERS_SHUTDOWN_S)]
    return [host.interpreter(config), *launcher, *stopping, *worker]


def on_one_node(run: Run) -> bool:
    """Return whether the run has several workers, all of them on one machine."""
    hardware = run.config["hardware"]
    return int(hardware.get("nodes", 1)) == 1 and int(hardware.get("processes", 1)) > 1


def environment(meeting_place: Path | None) -> dict[str, str]:
    """Return the environment variables by which the workers of one node meet on its loopback interface alone.

    Args:
        meeting_place: empty folder in which they exchange their addresses; None for one worker or several nodes.
    """
    if meeting_place is None:
        return {}
    loopback = dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), _loopback())
    return {MEETING_PLACE: str(meeting_place), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", **loopback}


def inherited_environment(record: RunRecord) -> dict[str, str]:
    """Return the variables of a worker: those of this process, those set for the run, and those of its copy of code.

    Sets of strings have the same order in each process, unless PYTHONHASHSEED is set otherwise.

    Args:
        record: of the run.
    """
    variables = {"PYTHONHASHSEED": "0", **os.environ, **(record.environment or {})}
    return variables | code_snapshot.environment(record.code, variables)


def _loopback() -> str:
    """Return the name of the loopback interface, `lo` of Linux and `lo0` of macOS."""
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in ("lo", "lo0") if name in names), "lo")


def run_secondary_node(run: Run) -> int:
    """Start the workers of a node other than the first, whose supervisor has the run; return their exit code.

    Signals are forwarded to the workers; they also stop when this process ends, because they watch its pipe.

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

    env = inherited_environment(run.record)
    with signals.handled(forward), files.open_own(run.logs / f"worker.node{node}.log", "ab") as log:
        process = subprocess.Popen(
            command(run, node=node), stdin=subprocess.PIPE, stdout=log, stderr=log, env=env, start_new_session=True
        )
        worker.append(process)
        for number in received:
            signals.send(process, number)
        return process.wait()


def write_error(run: Run, error: dict[str, Any]) -> None:
    """Write the error of the first worker that failed: the others fail because it is gone.

    Args:
        run: the run.
        error: what `Run.write_error` takes.
    """
    if world_size() > 1 and files.read_json(run.logs / "error.json") is not None:
        return
    run.write_error({**error, "rank": rank()} if world_size() > 1 else error)


def failed_in_collective(error: Mapping[str, Any]) -> bool:
    """Return whether a worker failed in the communication with the others, as it does when one of them is gone.

    Args:
        error: content of `logs/error.json`.
    """
    frames = re.findall(r'^  File "(.+)", line', error.get("traceback", ""), re.MULTILINE)
    return "rank" in error and bool(frames) and "torch/distributed" in Path(frames[-1]).as_posix()


def lost_worker(error: Mapping[str, Any], lines: Sequence[str]) -> tuple[int, int] | None:
    """Return rank and signal of the worker that a signal ended, by the launcher's summary; None if there is none.

    Args:
        error: content of `logs/error.json`, of another worker.
        lines: last lines of the log of this attempt and those before; the summary comes after the error.
    """
    _, _, summary = "\n".join(lines).rpartition(next(iter(error["message"].splitlines()), "") or "\0")
    ended = [(int(rank), int(number)) for rank, number in ENDED_BY_SIGNAL.findall(summary)]
    return next((one for one in reversed(ended) if one[0] != error["rank"]), None)  # the cause is printed last


def nodes_of_job() -> list[str]:
    """Return the names of the nodes of this Slurm job, in their order.

    Raises:
        PreflightError: this is no Slurm job, or Slurm does not answer.
    """
    try:
        listed = subprocess.run(
            ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        first, *others = listed.stdout.split()
        return [first, *others]
    except (KeyError, ValueError, OSError, subprocess.SubprocessError) as error:
        raise PreflightError(f"Several machines need a Slurm job that names them: {error!r}.") from error
