"""Curves of the evaluations that follow a training: each figure with its interval, a line for each simulator."""

from __future__ import annotations

import numpy as np
from nicegui import ui

from regimen.display.intervals import Figure
from regimen.runs import judgements
from regimen.runs.history.run_view import RunView
from regimen.ui.charts import Line, curves


class JudgedCharts:
    """The charts, in the slot in which they are made; nothing for a run without evaluation alongside."""

    def __init__(self, run: RunView) -> None:
        """Draw what is there.

        Args:
            run: the training.
        """
        self._area = ui.element("div").classes("charts").props("id=judged")
        self._drawn = 0
        self.renew(run)

    def renew(self, run: RunView) -> None:
        """Draw again if there are other judgements than before.

        Args:
            run: the training as its files describe it now.
        """
        rows, criterion = run.judgements(), run.criterion
        if criterion is None or len(rows) == self._drawn:
            return
        self._drawn = len(rows)
        self._area.clear()
        with self._area:
            for metric, by_sim in judgements.curves(rows, criterion.metric).items():
                lines = [_line(sim, points, color) for color, (sim, points) in enumerate(by_sim.items())]
                chart = curves(f"{judgements.PREFIX}{metric}", lines, "steps", log=False, legend=len(lines) > 1)
                ui.echart(chart).style("height: 230px; width: 100%")


def _line(sim: str, points: list[tuple[int, Figure]], color: int) -> Line:
    values = np.array([(step, figure.value, figure.low, figure.high) for step, figure in points])
    return Line(sim, values[:, :2], band=values[:, [0, 2, 3]], color=color, marked=True)
