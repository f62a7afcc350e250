"""A real Slurm for tests, on one machine, in one folder: munge, a controller and two nodes, without systemd or /etc.

    python tests/orchestration/slurm/sandbox.py up FOLDER      starts it and prints the SLURM_CONF to export
    python tests/orchestration/slurm/sandbox.py down FOLDER    ends exactly the processes that `up` started

Needs root and Debian's packages (`PACKAGES`); Debian builds slurmd so that several run on one host.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NODES = ("n1", "n2")
CPUS_PER_NODE = 4
CONF = """
ClusterName=sandbox
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
# A requeued job may start again when its credential has expired: after two minutes, if nothing is said.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/log/%n.log
SlurmdSpoolDir={folder}/spool/%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
SlurmctldParameters={preemption}
ReturnToService=2
SlurmdTimeout=3600
KillWait=10
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=64000 State=UNKNOWN\n"
PARTITIONS = """
PartitionName=normal Nodes={nodes} Default=YES MaxTime=1-0 PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes={nodes} MaxTime=1-0 PriorityTier=10 PreemptMode=OFF
PartitionName=short Nodes={nodes} MaxTime=5 PriorityTier=1 GraceTime=20
"""
NO_USER_SIGNAL = "idle_on_node_suspend"
"""Any harmless parameter: the line may not be empty."""
IN_ITS_OWN_NAMESPACE = 'mount --bind "$0" /etc/hosts && hostname "$1" && shift && exec "$@"'


class Sandbox:
    """One Slurm and the processes it is made of.

    Attributes:
        folder: everything it writes; `folder/pids` names its processes.
        named: whether each node has a host name of its own that resolves; that needs CAP_SYS_ADMIN.
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder: made if absent."""
        self.folder, self.ports = folder.resolve(), _free_ports(len(NODES) + 1)
        self.named = subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True).returncode == 0
        self.env = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def up(self) -> None:
        """Start everything and wait until the nodes are idle."""
        for name in ("log", "state", "munge", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._write_conf()
        self._start_munge()
        self._start("slurmctld", "slurmctld", "-D")
        self._wait(60, lambda: self.ask("scontrol", "ping").startswith("Slurmctld(primary) at") and self._up())
        for node in NODES:
            self.start_node(node)
        self._wait(60, lambda: self.ask("sinfo", "-h", "-p", "normal", "-t", "idle", "-o", "%D") == str(len(NODES)))

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        own = ["unshare", "--mount", "--uts", "bash", "-c", IN_ITS_OWN_NAMESPACE, str(self.folder / "hosts"), name]
        self._start(name, *(own if self.named else []), "slurmd", "-D", "-N", name)

    def lose_node(self, name: str) -> None:
        """Kill a node and all that runs on it, as a power failure does."""
        daemon = next(pid for pid, node in reversed(self._pids()) if node == name)
        everything = [daemon, *self._on_node(name)]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none can report the end of another
            for process in everything:
                with suppress(ProcessLookupError):
                    os.kill(process, number)

    def ask(self, *command: str) -> str:
        """Return what a Slurm command prints, stripped; empty if it fails."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout.strip() if done.returncode == 0 else ""

    def job(self, job: str) -> dict[str, str]:
        """Return the fields of `scontrol show job`."""
        words = self.ask("scontrol", "-o", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def down(self) -> None:
        """End the jobs, then the processes that were recorded."""
        if self._up():
            self.ask("scancel", "--full", "-u", "root")
            with suppress(TimeoutError):
                self._wait(15, lambda: not self.ask("squeue", "-h"))
        for pid, _ in reversed(self._pids()):
            if self._is_ours(pid):
                os.kill(pid, signal.SIGTERM)
                with suppress(TimeoutError):
                    self._wait(10, partial(self._is_gone, pid))
        (self.folder / "pids").unlink(missing_ok=True)

    def _up(self) -> bool:
        return "UP" in self.ask("scontrol", "ping")

    def announce_preemption(self, by_user_signal: bool) -> None:
        """Choose how a job hears that it is preempted: by its own signal, or by SIGTERM as most sites have it."""
        self._write_conf("preempt_send_user_signal" if by_user_signal else NO_USER_SIGNAL)
        self.ask("scontrol", "reconfigure")

    def _write_conf(self, preemption: str = "preempt_send_user_signal") -> None:
        host, port = socket.gethostname().partition(".")[0], self.ports
        text = CONF.format(folder=self.folder, host=host, port=port, preemption=preemption)
        for number, name in enumerate(NODES, 1):
            text += NODE.format(name=name, host=host, port=port + number, cpus=CPUS_PER_NODE)
        (self.folder / "slurm.conf").write_text(text + PARTITIONS.format(nodes=",".join(NODES)))
        (self.folder / "cgroup.conf").write_text("CgroupMountpoint=/sys/fs/cgroup\n")
        (self.folder / "hosts").write_text(f"{Path('/etc/hosts').read_text()}\n127.0.0.1 {' '.join(NODES)}\n")

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        folder.chmod(0o700)
        (folder / "key").write_bytes(secrets.token_bytes(128))
        (folder / "key").chmod(0o400)
        files = {
            "key-file": folder / "key",
            "socket": self.folder / "munge.socket",
            "pid-file": folder / "pid",
            "log-file": folder / "log",
            "seed-file": folder / "seed",
        }
        self._start("munged", "munged", "--foreground", "--force", *(f"--{key}={path}" for key, path in files.items()))
        self._wait(60, lambda: (self.folder / "munge.socket").exists())

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / "log" / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(command, env=self.env, stdout=out, stderr=out, start_new_session=True)
        _started[process.pid] = process
        with (self.folder / "pids").open("a") as file:
            file.write(f"{process.pid} {name}\n")

    def _pids(self) -> list[tuple[int, str]]:
        file = self.folder / "pids"
        rows = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [(int(pid), name) for pid, name in rows]

    def _on_node(self, name: str) -> list[int]:
        """Return the processes whose environment says that they run on the node: steps of jobs and their managers."""
        marks = {f"SLURM_CONF={self.env['SLURM_CONF']}".encode(), f"SLURMD_NODENAME={name}".encode()}
        found = []
        for proc in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marks <= set((proc / "environ").read_bytes().split(b"\0")):
                    found.append(int(proc.name))
        parents = {int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in found}
        managers = [pid for pid in parents if Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd")]
        return [*managers, *found]

    def _is_gone(self, pid: int) -> bool:
        return not self._is_ours(pid)

    def _is_ours(self, pid: int) -> bool:
        if pid in _started:
            return _started[pid].poll() is None
        try:
            return (Path(f"/proc/{pid}/comm").read_text().strip()) in ("munged", "slurmctld", "slurmd")
        except OSError:
            return False

    def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = [f.read_text(errors="replace")[-600:] for f in sorted((self.folder / "log").glob("*"))]
                raise TimeoutError(f"the sandbox did not get there within {seconds} s:\n" + "\n".join(logs))
            time.sleep(0.1)


_started: dict[int, subprocess.Popen[bytes]] = {}


def why_not() -> str:
    """Return why no Slurm can be started here, installing it if it can be; empty if it can."""
    if os.geteuid() != 0:
        return "needs root to start a Slurm"
    if all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged")):
        return ""
    if not shutil.which("apt-get"):
        return "no Slurm here, and no apt-get to install one"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", *command], env=env, capture_output=True, text=True)
        if done.returncode:
            return f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}"
    return ""


def _free_ports(count: int) -> int:
    """Return the first of `count` neighbouring ports that nobody listens at."""
    for first in range(20000 + os.getpid() % 5000, 60000, count):
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
    raise RuntimeError("no free ports")


def main() -> int:
    """Do what the command line says."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("up", "down"):
        print(__doc__)
        return 2
    sandbox = Sandbox(Path(sys.argv[2]))
    if sys.argv[1] == "down":
        sandbox.down()
        return 0
    if reason := why_not():
        print(reason)
        return 1
    sandbox.up()
    print(f"export SLURM_CONF={sandbox.env['SLURM_CONF']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
