"""The data card of learning histories: progress of the returns, lengths, noise, constant channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from regimen.data.histories.file import History
from regimen.data.histories.reader import Histories
from regimen.data.histories.writer import positions
from regimen.system import files

TAKEN_OVER = (
    "task_name", "group", "mode", "random_score", "expert_score", "seed", "noise", "domain_randomization", "spearman",
    "reward_scale", "episode_sparsity", "run", "sim", "checkpoints",
)  # fmt: skip
BINS = 20
"""Number of parts of a history in its curve."""


def make(histories: Histories) -> dict[str, Any]:
    """Return the card, plain data; every file is read once.

    Raises:
        DatasetError: a file is broken; values that are not finite are found here.
    """
    about = histories.about
    seen = [_EpisodeSummary.of(history) for history in histories]
    length = np.concatenate([one.length for one in seen])
    card: dict[str, Any] = {"format": 1, "kind": "histories"} | {name: about.get(name) for name in TAKEN_OVER}
    card |= {
        "rows": int(histories.rows.sum()),
        "step_dt": about.get("step_dt"),
        "histories": [_about(row) for row in about["files"]],
        "episodes": {"count": len(length), "length": _spread(length)},
        "terminated_share": sum(int(one.fell.sum()) for one in seen) / max(len(length), 1),
        "curve": _curve(seen),
        "constant": _constant(histories),
    }
    return dict(files.plain(card))


def write(card: dict[str, Any], data: Path, pictures: Path) -> list[Path]:
    """Write `card.json` and `card.md` into `data`, `histories.png` into `pictures`; return the paths."""
    from regimen.data.histories import card_figure, card_text

    data.mkdir(parents=True, exist_ok=True)
    files.write_json(data / "card.json", card)
    (data / "card.md").write_text(card_text.text(card))
    return [data / "card.json", data / "card.md", card_figure.draw(card, pictures / "histories.png")]


class _EpisodeSummary:
    """The whole episodes of one history.

    Attributes:
        where: (E,) place in the history, 0 to 1.
        returns: (E,).
        length: (E,) steps.
        label: (E,) share of noise, or number of the checkpoint; NaN where the file does not state it.
        fell: (E,) ended by a termination.
    """

    def __init__(self, where: np.ndarray, returns: np.ndarray, length: np.ndarray, label: np.ndarray) -> None:
        """Take the columns; nothing fell yet."""
        self.where, self.returns, self.length, self.label = where, returns, length, label
        self.fell = np.zeros(len(where), bool)

    @classmethod
    def of(cls, history: History) -> _EpisodeSummary:
        """Summarise one history."""
        whole = history.whole
        start, stop = history.start[whole], history.stop[whole]
        column = next((history.more[name] for name in ("epsilon", "checkpoint") if name in history.more), None)
        label = np.full(len(start), np.nan) if column is None else column[start].astype(np.float64)
        seen = cls(positions(history), history.returns[whole], stop - start, label)
        if "terminated" in history.more:
            seen.fell = history.more["terminated"][stop - 1]
        return seen


def _about(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "sha256"}


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {"min": 0.0, "median": 0.0, "mean": 0.0, "max": 0.0}
    return {"min": values.min(), "median": np.median(values), "mean": values.mean(), "max": values.max()}


def _curve(seen: list[_EpisodeSummary]) -> list[dict[str, Any]]:
    """Return, for each part of the histories, the spread of returns over them, mean length and mean label."""
    where, returns, length, label = (
        np.concatenate([getattr(one, name) for one in seen]) for name in ("where", "returns", "length", "label")
    )
    part = np.minimum((where * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(part):
        mine = part == number
        low, middle, high = np.percentile(returns[mine], [10, 50, 90])
        row = {"where": (number + 0.5) / BINS, "episodes": mine.sum(), "mean": returns[mine].mean()}
        row |= {"low": low, "median": middle, "high": high, "length": length[mine].mean()}
        rows.append(row | {"label": label[mine].mean()})
    return rows


def _constant(histories: Histories) -> list[str]:
    """Return the names of the observation's channels that never change."""
    io, names = histories.io, [f"[{i}]" for i in range(histories.observation_size)]
    if io is not None:
        names = [f"{term}[{i}]" for term, size in io.observations["policy"].items() for i in range(size)]
    return [name for name, std in zip(names, histories.std, strict=True) if std == 0]
