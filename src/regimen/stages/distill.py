"""Stage distill: let an agent learn from recorded episodes; no simulator is opened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.agents.base import OpenedData
from regimen.system.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


@dataclass
class DistillCfg:
    """Learn from the datasets `data`.

    Attributes:
        accept: why data are wanted that the gates refuse; recorded.
        memory_gb: what the data may take in memory; what does not fit is read again in every epoch.
        keep_checkpoints: how many `step_*.pt` are kept beside `last` and `best`.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("data",)
    NEEDS: ClassVar[str] = "fit"
    _target_: str = "regimen.stages.distill.Distill"
    accept: str | None = None
    memory_gb: float = 3.0
    keep_checkpoints: int = 1

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with this stage on the run's plain `config`, one line each."""
        lines = []
        if not config.get("data"):
            lines.append("distill needs datasets: data=[<run reference or file>, …], such as data=[latest].")
        if self.accept is not None and not self.accept.strip():
            lines.append("accept=: expected the reason, such as accept='only two joints wanted'.")
        if self.memory_gb <= 0 or self.keep_checkpoints < 1:
            lines.append("memory_gb: expected more than 0; keep_checkpoints: expected 1 or more.")
        return lines

    def num_envs(self, config: dict[str, Any]) -> int:
        """Return how many environments this stage opens: none."""
        return 0

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return what the data may take."""
        return int(self.memory_gb * 2**30)


class Distill:
    """Has an agent learn from datasets; goes on from `checkpoints/last.pt` where there is one."""

    def __init__(self, cfg: DistillCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Look at the data, refuse bad ones, learn, judge.

        Raises:
            ConfigError: the agent does not learn from data.
            DatasetError: the data do not pass the gates, and no reason is given.
            StopRequested, DivergedError: see the agent.
        """
        import torch

        from regimen.config.targets import resolve
        from regimen.runs.checkpoint import Checkpoints

        started = time.perf_counter()
        torch.set_num_threads(config.hardware.num_threads())
        agent_class = resolve(config.agent._target_)
        if not hasattr(agent_class, "fit"):
            raise ConfigError(
                f"agent={config.choices.get('agent')} has no `fit`: it does not learn from data by stage=distill."
            )
        run.progress(note="looking at the data")
        opened: OpenedData = agent_class.open_data(config, self.cfg.memory_gb)
        self._require_fit(opened, run)
        last = run.checkpoints / "last.pt"
        run.rewind(_step_of(last) if last.exists() else -1)
        agent = agent_class(config.agent, torch.device(config.hardware.device), config.seed)
        outcome = agent.fit(opened.data, run, Checkpoints(run, 1, self.cfg.keep_checkpoints))
        gate = {"problems": opened.problems, "accept": self.cfg.accept if opened.problems else None}
        wall = {"wall_s": time.perf_counter() - started}
        run.finish(outcome.headline, {"data": opened.about, "gate": gate, **wall, **outcome.result})

    def _require_fit(self, opened: OpenedData, run: Run) -> None:
        """Refuse data that do not pass the agent's gates, unless a reason is given, which is kept."""
        if opened.problems and self.cfg.accept is None:
            raise DatasetError(
                f"These data are not fit {opened.purpose}:\n  "
                + "\n  ".join(opened.problems)
                + '\nCollect others, or say why they are wanted as they are: stage.accept="<reason>".'
            )
        if run.leads:
            for line in opened.problems:
                run.warn(f"accepted ({self.cfg.accept}): {line}")


def _step_of(last: Path) -> int:
    from regimen.runs import checkpoint

    return int(checkpoint.load(last)["step"])
