"""`Config` and `HardwareCfg`: the configuration that every run has; YAML holds values, dataclasses hold types and docs.

Nothing here imports torch or a simulator: the launcher reads these types before it starts anything. Groups
whose shape depends on the chosen option (`agent`, `sim`, `stage`) take their type from the module the option's
`_target_` names: a class `X` is configured by the dataclass `XCfg` of the same module (see `static_types.py`).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from regimen.config.schedulers import SCHEDULERS
from regimen.config.task_schema import EstimateCfg, EvaluationCfg, at_least_one
from regimen.config.yaml_io import PlainConfig, PlainSection
from regimen.system import certificate, host, listening

__all__ = [
    "ChannelCfg",
    "Config",
    "EstimateCfg",
    "EvaluationCfg",
    "HardwareCfg",
    "RayCfg",
]  # the dataclass of an own environment may hold some


TRANSPORTS = ("http", "ray")
OF_THE_PORT = ("host", "token", "tls_certificate", "tls_key")
"""Keys of a channel that are read where its port is open for actors elsewhere."""


@dataclass
class RayCfg:
    """Ray, and what each actor reserves there.

    Attributes:
        address: of a cluster that this machine belongs to, `auto` or such as `10.0.0.5:6379`; null: a Ray of the run
            alone, on this machine.
        num_cpus: cores of an actor; below 1 several share one.
        num_gpus: GPUs of an actor, likewise.
        resources: further resources of an actor, as the cluster names them, such as `simulator: 0.5`.
    """

    address: str | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)

    def problems(self, device: str) -> list[str]:
        """Return one line for each invalid value.

        Args:
            device: of the actors.
        """
        lines = [] if self.address is None else self._address_problems(self.address)
        amounts = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}
        amounts |= {f"resources.{name}": amount for name, amount in self.resources.items()}
        for name, amount in amounts.items():
            if not math.isfinite(amount) or amount < 0 or (amount > 1 and amount != int(amount)):
                lines.append(f"{name}={amount:g}: expected 0 to 1, or a whole number; Ray gives out no other share.")
        if self.resources and self.address is None:
            given = json.dumps(dict.fromkeys(self.resources, 1))
            lines.append(
                f"resources={self.resources}: a Ray of the run alone has none of these. Type: "
                f"ray start --head --resources='{given}', then hardware.channel.ray.address=auto."
            )
        if device.startswith("cuda") and not self.num_gpus:
            lines.append(f"num_gpus=0: an actor has device={device}. Type hardware.channel.ray.num_gpus=0.25.")
        return lines

    @staticmethod
    def share_of(total: float, actors: int) -> float:
        """Return the most that each of several actors can reserve: a whole number, or less than one."""
        share = total / actors
        return float(int(share)) if share >= 1 else int(1000 * share) / 1000

    @staticmethod
    def _address_problems(address: str) -> list[str]:
        host, _, port = address.rpartition(":")
        if address == "auto" or (host and "/" not in host and port.isdigit() and 1 <= int(port) <= 65535):
            return []
        return [f"address={address}: expected `auto`, or host and port that `ray start` printed: 10.0.0.5:6379."]


@dataclass
class ChannelCfg:
    """Channel between the learner of a run and its actors, which are processes of their own.

    Attributes:
        push_steps: env steps of an actor between two messages; then it also takes the newest weights.
        ahead: env steps that the learner has not used yet, at most; then actors wait.
        host: address for actors elsewhere (`stage=actor`); beyond this machine only with a certificate.
        port: TCP port for these; null: the learner listens for its own actors alone.
        token: file with the token of all actors; null: a new token in the run directory, removed when it has finished.
        tls_certificate: file of the certificate chain, PEM; null: no encryption.
        tls_key: file of its private key, PEM.
        transport: `http`: actors are processes of the learner; `ray`: Ray starts them, here or on a cluster.
        ray: read where that is the transport.
    """

    push_steps: int = 10
    ahead: int = 50
    host: str = "127.0.0.1"
    port: int | None = None
    token: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    transport: str = "http"
    ray: RayCfg = field(default_factory=RayCfg)

    def problems(self, actors: int, scheduled: bool, device: str) -> list[str]:
        """Return one line for each invalid value.

        Args:
            actors: processes of the run that step envs.
            scheduled: whether a scheduler starts the run.
            device: of the agent.
        """
        lines = at_least_one(push_steps=self.push_steps)
        if self.transport not in TRANSPORTS:
            lines.append(f"transport={self.transport}: expected {' or '.join(TRANSPORTS)}.")
        if self.ahead < self.push_steps:
            lines.append(f"ahead={self.ahead}: expected {self.push_steps} or more, the steps of one message.")
        if self.transport == "ray":
            return lines + self._ray_problems(actors, device)
        if self.ray != RayCfg():
            lines.append("ray: nothing reads it with transport=http. Type hardware.channel.transport=ray.")
        if self.port is None:
            lines += self._unread("nothing reads it with port=null. Set hardware.channel.port, or leave it away.")
            if actors == 0:
                lines.append(
                    "port=null: without a port no actor elsewhere reaches the learner, and hardware.actors=0. "
                    "Type hardware.actors=1, or a port such as hardware.channel.port=5588."
                )
            return lines
        return lines + listening.problems(self, self.port, "hardware.channel", scheduled or bool(lines))

    def _unread(self, why: str) -> list[str]:
        """Return a line for each key of the port that is set."""
        default = ChannelCfg()
        given = {key: getattr(self, key) for key in OF_THE_PORT if getattr(self, key) != getattr(default, key)}
        return [f"{key}={'…' if key == 'token' else value}: {why}" for key, value in given.items()]

    def _ray_problems(self, actors: int, device: str) -> list[str]:
        lines = [f"ray.{line}" for line in self.ray.problems(device)]
        lines += self._unread(
            "nothing reads it with transport=ray; Ray is not encrypted, and its token is RAY_AUTH_MODE=token. Leave it "
            "away, or type hardware.channel.transport=http."
        )
        if self.port is not None:
            lines.append(
                f"port={self.port}: with transport=ray other machines join the cluster, and no port is opened for "
                "stage=actor. Type hardware.channel.port=null, or hardware.channel.transport=http."
            )
        if actors == 0:
            lines.append("transport=ray: Ray starts the actors, and hardware.actors=0. Type hardware.actors=1.")
        return lines


@dataclass
class HardwareCfg:
    """Hardware and scheduler of a run.

    Attributes:
        device: torch device of the agent (`cpu`, `cuda`, `cuda:0`); with `cuda` each of several processes uses one GPU.
        threads: threads of the physics and of torch; null takes all cores this process may use.
        max_jobs: runs of a local sweep at once.
        interpreters: Python of a sim that needs an environment of its own, by sim name.
        nodes: number of machines of the run; a learner is on the first, and its actors on all of them.
        processes: workers per machine, joined by torch.distributed.
        actors: processes that step envs for a learner, each with `env.num_envs`; 0 where `channel` is null.
        channel: between these and the learner; null: the process that learns steps the envs.
        scheduler: `slurm`, `submitit_local` (a queue on this machine), or null to start at once.
        submitit: resources requested from the scheduler, in the keys of hydra-submitit-launcher.
    """

    device: str = "cpu"
    threads: int | None = field(default=None, metadata={"least": 1})
    max_jobs: int = field(default=1, metadata={"least": 1})
    interpreters: dict[str, str] = field(default_factory=dict)
    nodes: int = field(default=1, metadata={"least": 1})
    processes: int = field(default=1, metadata={"least": 1})
    actors: int = 0
    channel: ChannelCfg | None = None
    scheduler: str | None = None
    submitit: PlainSection = field(
        default_factory=dict,
        metadata={
            "library": ["hydra_plugins.hydra_submitit_launcher.config:SlurmQueueConf"],
            "extra": [],
        },
    )

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        lines = []
        if self.submitit and self.scheduler is None:
            asked = ", ".join(f"submitit.{key}" for key in self.submitit)
            lines.append(f"{asked}: no scheduler is chosen, so nothing reads it. Choose hardware=slurm, or remove it.")
        if self.scheduler not in (None, *SCHEDULERS):
            lines.append(f"scheduler={self.scheduler}: expected {', '.join(SCHEDULERS)}, or null to start at once.")
        if self.processes > 1 and ":" in self.device:
            lines.append(
                f"device={self.device}: {self.processes} processes take a GPU each. Type hardware.device=cuda."
            )
        if self.nodes > 1 and self.scheduler != "slurm":
            preset = "slurm" if self.channel is None else "slurm_actor_learner"
            lines.append(f"nodes={self.nodes}: several machines are given out by Slurm. Choose hardware={preset}.")
        return lines + self._actor_problems()

    def _actor_problems(self) -> list[str]:
        if self.actors < 0:
            return [f"actors={self.actors}: expected 0 or more."]
        if self.channel is None:
            preset = "slurm_actor_learner" if self.scheduler == "slurm" else "actor_learner"
            named = f"actors={self.actors}: the learner has no channel to them. Type hardware={preset}."
            return [named] if self.actors else []
        lines = [
            f"channel.{line}" for line in self.channel.problems(self.actors, self.scheduler is not None, self.device)
        ]
        if self.scheduler is not None and (per_gpu := self.submitit.get("cpus_per_gpu")):
            lines.append(
                f"submitit.cpus_per_gpu={per_gpu}: the cores of a learner and its actors are counted together. Remove "
                "it, or set hardware.submitit.cpus_per_task instead."
            )
        if self.processes > 1:
            lines.append(f"processes={self.processes}: one process learns from actors. Type hardware.processes=1.")
        if self.nodes > 1 + self.actors:
            lines.append(
                f"nodes={self.nodes}: a learner and {self.actors} actors leave a node without a process. "
                f"Type hardware.nodes={1 + self.actors}, or hardware.actors={self.nodes - 1}."
            )
        if self.channel.transport == "ray" and ":" in self.device:
            lines.append(f"device={self.device}: Ray chooses the GPU of an actor. Type hardware.device=cuda.")
        if self.nodes > 1 and self.channel.transport == "ray":
            lines.append(f"nodes={self.nodes}: Ray places the actors itself. Type hardware.nodes=1.")
        elif self.nodes > 1 and (problem := certificate.why_none()):
            lines.append(f"nodes={self.nodes}: {problem} Or type hardware.nodes=1.")
        return lines

    def node_processes(self) -> int:
        """Return the number of processes on the machine of the run that has most of them.

        Actors on a cluster of Ray are where it has what they reserve, so only the learner is known to be here.
        """
        if self.channel is None:
            return self.processes
        if self.channel.transport == "ray" and self.channel.ray.address is not None:
            return 1
        return math.ceil((1 + self.actors) / max(1, self.nodes))

    def workers(self) -> int:
        """Return the number of workers on all machines; with actors the learner is the only one."""
        return count_workers(vars(self))

    def num_threads(self) -> int:
        """Return `threads`, or the number of cores this process may use."""
        return self.threads or host.cores()


def count_workers(hardware: PlainSection) -> int:
    """Return `HardwareCfg.workers` of a plain section."""
    processes: int = hardware["nodes"] * hardware["processes"]
    return processes if hardware.get("channel") is None else 1


@dataclass
class Config:
    """Configuration of one run.

    Attributes:
        name: name for references to the run.
        policy: run reference or file, in a started run the file.
        estimator: run reference or file of a failure detector, in a started run the file.
        encoder: run reference or file of an image encoder, in a started run the file.
        data: run references or files of datasets, in a started run the files.
        runs: run references of runs whose results are read, in a started run their result.json.
        experts: run references or files of policies, each for one fault or some kinds of ground, in a started run the
            files.
        logger: name -> logger of metrics beside TensorBoard.
        nan_dump: steps of a NaN dump: what came before a value that is not finite; 0 for no dump.
        wait: whether the launcher waits until submitted jobs have ended.
        force: whether a pipeline repeats finished steps.
        choices: group -> option, filled in by the launcher.
    """

    env: Any = MISSING
    sim: Any = MISSING
    agent: Any = MISSING
    hardware: HardwareCfg = field(default_factory=HardwareCfg)
    stage: Any = MISSING
    name: str | None = None
    seed: int = field(default=0, metadata={"least": 0, "most": 2**32 - 1})
    policy: str | None = None
    estimator: str | None = None
    encoder: str | None = None
    data: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    experts: list[str] = field(default_factory=list)
    logger: dict[str, Any] = field(default_factory=dict)
    resume: str | None = None
    video: bool = False
    nan_dump: int = 32
    dry_run: bool = False
    wait: bool = False
    force: bool = False
    choices: dict[str, str] = field(default_factory=dict)
