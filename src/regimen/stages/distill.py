"""Stage `distill`: train an agent on recorded data, without a simulator."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from regimen.agents.base import OpenedData
from regimen.system.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.runs.run import Run


@dataclass
class DistillCfg:
    """Train an agent on the datasets `data`.

    Attributes:
        accept: reason to train on data that fail the quality checks; stored in the result.
        memory_gb: limit for the data in memory, in GiB: `failure_gru` and `image_encoder` read the rest again in every
            epoch, `vintix` refuses histories beyond it. `bc` reads all demonstrations.
        keep_checkpoints: number of `step_*.pt` beside `last` and `best`.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("data",)
    NEEDS: ClassVar[str] = "fit"
    _target_: str = "regimen.stages.distill.Distill"
    accept: str | None = None
    memory_gb: float = 3.0
    keep_checkpoints: int = 1

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        lines = []
        if not config.get("data"):
            lines.append("distill needs datasets: data=[<run reference or file>, …], such as data=[latest].")
        if self.accept is not None and not self.accept.strip():
            lines.append("accept=: expected a reason, such as accept='only two joints wanted'.")
        if self.memory_gb <= 0 or self.keep_checkpoints < 1:
            lines.append("memory_gb: expected more than 0; keep_checkpoints: expected 1 or more.")
        return lines

    def num_envs(self, config: PlainConfig) -> int:
        """Return 0: the stage opens no envs."""
        return 0

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the memory limit of the data."""
        return int(self.memory_gb * 2**30)


class Distill:
    """Train an agent on datasets; resumes from `checkpoints/last.pt`."""

    def __init__(self, cfg: DistillCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Open and check the data, train the agent and write its result.

        Raises:
            ConfigError: the agent has no `fit`.
            DatasetError: the data fail the quality checks, and `accept` is null.
            StopRequested, DivergedError: see the agent.
        """
        import torch

        from regimen.agents.base import OfflineAgent
        from regimen.config.targets import resolve
        from regimen.runs.checkpoint import Checkpoints

        started = time.perf_counter()
        torch.set_num_threads(config.hardware.num_threads())
        agent_class = resolve(config.agent._target_)
        if not issubclass(agent_class, OfflineAgent):
            raise ConfigError(f"agent={config.choices.get('agent')} has no `fit`, which stage=distill calls.")
        run.progress(note="opening the data")
        opened: OpenedData = agent_class.open_data(config, self.cfg.memory_gb)
        self._require_quality(opened, run)
        last = run.checkpoints / "last.pt"
        run.rewind(_step_of(last) if last.exists() else -1)
        agent = agent_class(config.agent, torch.device(config.hardware.device), config.seed)
        result = agent.fit(opened.data, run, Checkpoints(run, 1, self.cfg.keep_checkpoints))
        gate = {"problems": opened.problems, "accept": self.cfg.accept if opened.problems else None}
        wall = {"wall_s": time.perf_counter() - started}
        run.finish(result.headline, {"data": opened.about, "gate": gate, **wall, **result.result})

    def _require_quality(self, opened: OpenedData, run: Run) -> None:
        """Raise for data that fail the agent's quality checks; warn instead if `accept` is set.

        Raises:
            DatasetError: listing the failed checks.
        """
        if opened.problems and self.cfg.accept is None:
            raise DatasetError(
                f"These data are not fit {opened.purpose}:\n  "
                + "\n  ".join(opened.problems)
                + '\nCollect others, or give a reason to use them: stage.accept="<reason>".'
            )
        if run.leads:
            for line in opened.problems:
                run.warn(f"accepted ({self.cfg.accept}): {line}")


def _step_of(last: Path) -> int:
    from regimen.runs import checkpoint

    return int(checkpoint.load(last)["step"])
