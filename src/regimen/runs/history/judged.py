"""Best and newest evaluation of the checkpoints of a training in each simulator, for the views of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from regimen.runs.history.run_view import RunView
from regimen.runs.judgements import Criterion, Judgement
from regimen.system.json_data import JsonData


@dataclass
class JudgedCheckpoint(JsonData):
    """A checkpoint with the figure by which it is compared.

    Attributes:
        step: env steps per env.
        value: the figure.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    step: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, judgement: Judgement, metric: str) -> JudgedCheckpoint | None:
        """Return the checkpoint of a judgement; None without the figure."""
        figure = judgement.overall(metric)
        return None if figure is None else cls(judgement.step, figure.value, figure.low, figure.high)


@dataclass
class JudgedSim(JsonData):
    """Evaluations in one simulator.

    Attributes:
        judgements: their number.
        best: by the worse end of its interval.
        newest: of the last checkpoint; None where its figure is no number.
    """

    judgements: int
    best: JudgedCheckpoint
    newest: JudgedCheckpoint | None


@dataclass
class Judged(JsonData):
    """Evaluations of the checkpoints of a training.

    Attributes:
        metric: by which they are compared.
        counts: which end of the interval counts, in words.
        own: simulator of the training, whose best is `@best`.
        sims: simulator -> evaluations, that of the training first.
    """

    metric: str
    counts: str
    own: str
    sims: dict[str, JudgedSim] = field(default_factory=dict)


def judged(run: RunView) -> Judged | None:
    """Return the evaluations of a run that was evaluated alongside; None before the first, and for other runs."""
    criterion, rows = run.criterion, run.judgements()
    if criterion is None or not rows:
        return None
    own = str(run.choices.get("sim"))
    found = Judged(criterion.metric, criterion.end_in_words, own)
    for sim in dict.fromkeys([own, *(row.sim for row in rows)]):
        if (of_sim := _of_sim([row for row in rows if row.sim == sim], criterion)) is not None:
            found.sims[sim] = of_sim
    return found


def _of_sim(rows: list[Judgement], criterion: Criterion) -> JudgedSim | None:
    row = criterion.best(rows)
    best = JudgedCheckpoint.of(row, criterion.metric) if row is not None else None
    return None if best is None else JudgedSim(len(rows), best, JudgedCheckpoint.of(rows[-1], criterion.metric))
