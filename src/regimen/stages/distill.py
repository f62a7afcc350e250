"""Stage distill: let an agent learn from recorded episodes; no simulator is opened."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from regimen.data.splits import Splits
    from regimen.envs.vec_env import IOSpec
    from regimen.run import Run
    from regimen.schema import Config


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


@dataclass(frozen=True)
class DistillData:
    """What an agent learns from.

    Attributes:
        paths: files of episodes, all of the same kind.
        splits: which envs are for training, validation and test.
        io: names and sizes of observations and actions.
        joints: all joints of the robot, in the order of labels and torques.
        candidates: those that may fail.
        memory_bytes: what may be in memory at once.
    """

    paths: list[Path]
    splits: Splits
    io: IOSpec
    joints: list[str]
    candidates: list[str]
    memory_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        headline: the few figures for lists of runs.
        result: everything worth reading later.
    """

    headline: dict[str, float]
    result: dict[str, Any]


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

        from regimen.checkpoint import Checkpoints
        from regimen.resolve import resolve

        started = time.perf_counter()
        # The steps of a recurrent network are small: measured at 64 units, a second thread makes them slower.
        torch.set_num_threads(1)
        agent_class = resolve(config.agent._target_)
        if not hasattr(agent_class, "fit"):
            raise ConfigError(
                f"agent={config.choices.get('agent')} has no `fit`: it does not learn from data by stage=distill."
            )
        run.progress(note="looking at the data")
        data, card, problems = self._open(config)
        for line in problems:
            run.warn(f"accepted ({self.cfg.accept}): {line}")
        last = run.checkpoints / "last.pt"
        run.rewind(_step_of(last) if last.exists() else -1)
        agent = agent_class(config.agent, torch.device(config.hardware.device), config.seed)
        outcome = agent.fit(data, run, Checkpoints(run, 1, self.cfg.keep_checkpoints))
        known = {"rows": card["rows"], "episodes": card["episodes_by_class"], "by_split": card["by_split"]}
        gate = {"problems": problems, "accept": self.cfg.accept if problems else None}
        wall = {"wall_s": time.perf_counter() - started}
        run.finish(outcome.headline, {"data": known, "gate": gate, **wall, **outcome.result})

    def _open(self, config: Config) -> tuple[DistillData, dict[str, Any], list[str]]:
        """Return the data, their card, and what the gates have against them, which is accepted.

        All of it is counted anew here, over all datasets together: a card beside a dataset knows only that one.
        """
        from regimen.data import card as cards
        from regimen.data import gates
        from regimen.data.episodes import open_all
        from regimen.data.splits import split

        paths = [Path(path) for path in config.data]
        group = getattr(config.agent, "group", None)  # of an agent that reads one; then the others may differ
        card = cards.make(paths, config.seed, group)
        problems = gates.check(card)
        if problems and self.cfg.accept is None:
            raise DatasetError(
                "These data are not fit for training a detector:\n  "
                + "\n  ".join(problems)
                + '\nCollect others, or say why they are wanted as they are: stage.accept="<reason>".'
            )
        files = open_all(paths, group)
        try:
            splits = split([file.num_envs for file in files], config.seed)
            memory = int(self.cfg.memory_gb * 2**30)
            first = files[0]
            data = DistillData([f.path for f in files], splits, first.io, first.joints, card["classes"], memory)
            return data, card, problems
        finally:
            for file in files:
                file.close()


def _step_of(last: Path) -> int:
    from regimen import checkpoint

    return int(checkpoint.load(last)["step"])
