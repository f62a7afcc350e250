"""Actors on the nodes of one Slurm job: where each is started, and how it reaches the learner on the first node.

The channel is encrypted, with a key of this start alone. Slurm passes the environment and the standard input of a step
on without encryption: actors read token and certificate from a folder of the run directory that only its owner reads.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.runs import worker_group
from regimen.system import certificate, listening
from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    from regimen.config.schema import HardwareCfg
    from regimen.runs.run import Run
    from regimen.system.message_server import Tls

ACCESS = "channel"
"""Folder of the run directory with `token` and `certificate.pem`, while the actors of several nodes act."""

ANSWER_S = 60.0
ANY_PORT = 9

STEP_S = 120
"""Time for Slurm to give a step its place on a node, after which `srun` fails instead of asking again."""


class JobSteps:
    """Starts processes on the nodes of this Slurm job.

    Attributes:
        address: IP address of this node by which the others reach it.
        access: folder with token and certificate.
    """

    def __init__(self, nodes: list[str], cores: int, access: Path) -> None:
        """Find the address of this node.

        Args:
            nodes: of the job; this is the first.
            cores: that a step may use on its node, all of the job's there: steps share them.
            access: folder with token and certificate.

        Raises:
            PreflightError: the address of another node is unknown, or there is no route to it.
        """
        self._nodes, self._cores, self.access = nodes, cores, access
        self.address = _address_towards(nodes[1])

    def wrap(self, number: int, command: list[str]) -> list[str]:
        """Return the command that starts an actor on its node; the nodes take turns, the learner's has one less.

        Args:
            number: of the actor.
            command: on one machine.
        """
        node = self._nodes[(number + 1) % len(self._nodes)]
        if node == self._nodes[0]:
            return command
        step = [f"--jobid={os.environ['SLURM_JOB_ID']}", f"--nodelist={node}", f"--cpus-per-task={self._cores}"]
        step += ["--nodes=1", "--ntasks=1", "--overlap", "--export=ALL", "--mpi=none", "--unbuffered"]
        step.append(f"--immediate={STEP_S}")
        return ["srun", *step, f"--job-name=actor{number}", *command]

    def environment(self) -> dict[str, str]:
        """Return the variables of this process without those of its own step, which srun would take for options."""
        return {k: v for k, v in os.environ.items() if not k.startswith("SLURM_") or k == "SLURM_CONF"}

    @contextmanager
    def tls(self) -> Iterator[Tls]:
        """Make certificate and key of this start; the key is removed once the server has read it."""
        with tempfile.TemporaryDirectory(prefix="regimen-") as private:
            made = certificate.make(self.address, Path(private))
            shutil.copyfile(made.certificate, self.access / "certificate.pem")
            yield made


@contextmanager
def job_steps(run: Run, hardware: HardwareCfg, token: str) -> Iterator[JobSteps | None]:
    """Prepare the nodes of a run; None on one machine.

    Args:
        run: of the learner.
        hardware: its section.
        token: of the channel.

    Raises:
        PreflightError: this is no Slurm job with so many nodes, or Slurm does not answer.
    """
    if hardware.nodes == 1:
        yield None
        return
    nodes = worker_group.nodes_of_job()
    if len(nodes) != hardware.nodes:
        raise PreflightError(f"hardware.nodes={hardware.nodes}: this Slurm job has {len(nodes)}, {', '.join(nodes)}.")
    access = run.dir / ACCESS
    shutil.rmtree(access, ignore_errors=True)  # of a start that was killed
    access.mkdir(mode=0o700, exist_ok=True)  # where files of it are still open elsewhere, the folder remains
    access.chmod(0o700)
    try:
        listening.write_token(access / "token", token)
        cores = hardware.submitit.get("cpus_per_task") or hardware.node_processes() * hardware.num_threads()
        yield JobSteps(nodes, int(cores), access)
    finally:
        shutil.rmtree(access, ignore_errors=True)


def _address_towards(node: str) -> str:
    """Return the IP address of this machine from which it reaches another node: the one by which that reaches it.

    The name of this machine is no help: it often leads to its loopback interface.
    """
    try:
        found = socket.getaddrinfo(_node_address(node), ANY_PORT, type=socket.SOCK_DGRAM)
        family, _, _, _, other = found[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(other)  # a datagram socket: nothing is sent
            return str(probe.getsockname()[0])
    except OSError as error:
        raise PreflightError(f"The node {node} of this job cannot be reached: {error}.") from error


def _node_address(node: str) -> str:
    """Return the address of a node as Slurm has it, by default its name."""
    command = ["scontrol", "-o", "show", "node", node]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ANSWER_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise PreflightError(f"Slurm has no address of the node {node}: {error}.") from error
    fields = dict(word.split("=", 1) for word in done.stdout.split() if "=" in word)
    return fields.get("NodeAddr", node)
