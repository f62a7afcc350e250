"""`Config` and `HardwareCfg`: the configuration that every run has; YAML holds values, dataclasses hold types and docs.

Nothing here imports torch or a simulator: the launcher reads these types before it starts anything. Groups
whose shape depends on the chosen option (`agent`, `sim`, `stage`) take their type from the module the option's
`_target_` names: a class `X` is configured by the dataclass `XCfg` of the same module (see `static_types.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from regimen.config.schedulers import SCHEDULERS
from regimen.config.task_schema import EstimateCfg, EvaluationCfg, at_least_one
from regimen.config.yaml_io import PlainConfig, PlainSection

__all__ = ["Config", "EstimateCfg", "EvaluationCfg", "HardwareCfg"]  # the dataclass of an own environment may hold some


@dataclass
class HardwareCfg:
    """Hardware and scheduler of a run.

    Attributes:
        device: torch device of the agent (`cpu`, `cuda`, `cuda:0`); with `cuda` each of several processes uses one GPU.
        threads: threads of the physics and of torch; null takes all cores this process may use.
        max_jobs: runs of a local sweep at once.
        interpreters: Python of a sim that needs an environment of its own, by sim name.
        nodes: number of machines of the run.
        processes: workers per machine, joined by torch.distributed.
        scheduler: `slurm`, `submitit_local` (a queue on this machine), or null to start at once.
        submitit: resources requested from the scheduler, in the keys of hydra-submitit-launcher.
    """

    device: str = "cpu"
    threads: int | None = None
    max_jobs: int = 1
    interpreters: dict[str, str] = field(default_factory=dict)
    nodes: int = 1
    processes: int = 1
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
        given = {} if self.threads is None else {"threads": self.threads}
        lines = at_least_one(max_jobs=self.max_jobs, nodes=self.nodes, processes=self.processes, **given)
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
            lines.append(f"nodes={self.nodes}: several machines are given out by Slurm. Choose hardware=slurm.")
        return lines

    def num_threads(self) -> int:
        """Return `threads`, or the number of cores this process may use."""
        return self.threads or len(os.sched_getaffinity(0))


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
        experts: run references or files of policies, each for one fault, in a started run the files.
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
    seed: int = 0
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
