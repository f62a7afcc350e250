"""Judgements of the checkpoints of a training: rows of `evaluation.jsonl`, the best of them, the end of a training.

A companion of the training evaluates its checkpoints and appends one row for each (`regimen.stages.alongside`). Nothing
here imports torch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.config.yaml_io import PlainConfig
from regimen.system import files, json_lines
from regimen.system.json_data import Json

if TYPE_CHECKING:
    from regimen.display.intervals import Figure

FILE = "evaluation.jsonl"
"""File of the run directory with one row for each judgement."""

PREFIX = "Evaluation/"
ALL = "all"
"""Command under which the figures over all commands stand."""

LOWER_IS_BETTER = re.compile(r".*(error|distance|_time_s|_cm)|dtw_.*|power|falls")
"""Names of figures that are better where they are lower, unless `stage.evaluation.direction` is set."""

DIRECTIONS = ("maximize", "minimize")


@dataclass
class Judgement:
    """One evaluation of one checkpoint of a training.

    Attributes:
        step: env steps per env of the checkpoint.
        sim: simulator of the evaluation.
        checkpoint: SHA-256 of the file.
        figures: `<command>/<metric>` -> figure with its interval; the command is `all` for all of them together.
        wall_s: duration of the evaluation in s.
        cpu_s: seconds of the processor that it took.
    """

    step: int
    sim: str
    checkpoint: str
    figures: dict[str, Figure] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def overall(self, metric: str) -> Figure | None:
        """Return a figure over all commands, None without it."""
        return self.figures.get(f"{ALL}/{metric}")

    def metrics(self) -> list[str]:
        """Return the names of the figures over all commands."""
        return [name.removeprefix(f"{ALL}/") for name in self.figures if name.startswith(f"{ALL}/")]

    def to_row(self) -> Json:
        """Return the row of the file."""
        head = {"step": self.step, "sim": self.sim, "checkpoint": self.checkpoint}
        head |= {"wall_s": round(self.wall_s, 3), "cpu_s": round(self.cpu_s, 3)}
        return files.plain(head | {f"{PREFIX}{name}": figure.to_dict() for name, figure in self.figures.items()})

    @classmethod
    def from_row(cls, row: Json) -> Judgement:
        """Return the judgement of a row; figures that are no numbers are left out.

        Raises:
            KeyError, TypeError, ValueError: the row is none of a judgement.
        """
        from regimen.display.intervals import Figure  # numpy, which a look at a run without judgements does not need

        named = {name.removeprefix(PREFIX): value for name, value in row.items() if name.startswith(PREFIX)}
        figures = {name: Figure(**value) for name, value in named.items() if None not in value.values()}
        times = (float(row.get("wall_s") or 0.0), float(row.get("cpu_s") or 0.0))
        return cls(int(row["step"]), str(row["sim"]), str(row["checkpoint"]), figures, *times)


def append(folder: Path, judgement: Judgement) -> None:
    """Append a judgement to the file of a run by one write; a row cut short by a crash spoils no other.

    Args:
        folder: the run directory.
        judgement: of one of its checkpoints.
    """
    with files.open_own(folder / FILE, "ab") as file:
        file.write(f"\n{json.dumps(judgement.to_row())}\n".encode())


def read(folder: Path, sim: str | None = None) -> list[Judgement]:
    """Return the judgements of a run by step; damaged rows are left out.

    Args:
        folder: the run directory.
        sim: only those in this simulator; None: in all.
    """
    found: dict[tuple[int, str], Judgement] = {}
    for row in json_lines.rows(folder / FILE):
        try:
            judgement = Judgement.from_row(row)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        found[judgement.step, judgement.sim] = judgement
    return sorted((j for j in found.values() if sim in (None, j.sim)), key=lambda j: (j.step, j.sim))


def curves(judgements: Iterable[Judgement], first: str) -> dict[str, dict[str, list[tuple[int, Figure]]]]:
    """Return metric -> simulator -> (step, figure over all commands), ready to be drawn.

    Args:
        judgements: by step.
        first: the metric that comes first.
    """
    found: dict[str, dict[str, list[tuple[int, Figure]]]] = {first: {}}
    for judgement in judgements:
        for metric in judgement.metrics():
            figure = judgement.figures[f"{ALL}/{metric}"]
            found.setdefault(metric, {}).setdefault(judgement.sim, []).append((judgement.step, figure))
    return {metric: by_sim for metric, by_sim in found.items() if by_sim}


@dataclass(frozen=True)
class Criterion:
    """The figure by which checkpoints are compared: of its interval the end that is worse counts.

    Attributes:
        metric: name of the figure.
        minimize: whether lower is better.
        patience: judgements without an improvement after which a training ends; None: it does not.
        stop_at: value that the worse end of the interval has to reach for a training to end; None: it does not.
    """

    metric: str
    minimize: bool
    patience: int | None = None
    stop_at: float | None = None

    @property
    def end_in_words(self) -> str:
        """Which end of the interval counts."""
        return "upper end" if self.minimize else "lower end"

    def counts(self, figure: Figure) -> float:
        """Return the worse end of the interval of a figure."""
        return figure.high if self.minimize else figure.low

    def best(self, judgements: Iterable[Judgement]) -> Judgement | None:
        """Return the best of some judgements, of equal ones the earliest; None if none has the figure."""
        sign, best, highest = (-1.0 if self.minimize else 1.0), None, float("-inf")
        for judgement in judgements:
            figure = judgement.overall(self.metric)
            if figure is not None and (value := sign * self.counts(figure)) > highest:
                best, highest = judgement, value
        return best

    def stop_reason(self, judgements: Sequence[Judgement]) -> str | None:
        """Return why a training with these judgements, by step, ends before its last step; None if it does not."""
        best = self.best(judgements)
        figure = best.overall(self.metric) if best is not None else None
        if best is None or figure is None:
            return None
        value, shown = self.counts(figure), f"the {self.end_in_words} of {self.metric}"
        if self.stop_at is not None and (value <= self.stop_at if self.minimize else value >= self.stop_at):
            return f"{shown} reached {self.stop_at:g} at step {best.step}: {value:.4g}"
        since = sum(judgement.step > best.step for judgement in judgements)
        if self.patience is not None and since >= self.patience:
            return f"{shown} did not improve in {since} judgements after step {best.step}: {value:.4g}"
        return None


def criterion(config: PlainConfig) -> Criterion | None:
    """Return the criterion of a training; None for a run without evaluation alongside.

    Args:
        config: the run's configuration, plain data.
    """
    evaluation: dict[str, Any] = (config.get("stage") or {}).get("evaluation") or {}
    if not evaluation.get("every"):
        return None
    of_task = ((config.get("env") or {}).get("evaluation") or {}).get("headline") or "return"
    metric, direction = evaluation.get("metric") or of_task, evaluation.get("direction")
    minimize = direction == "minimize" if direction else bool(LOWER_IS_BETTER.fullmatch(metric))
    return Criterion(metric, minimize, evaluation.get("patience"), evaluation.get("stop_at"))
