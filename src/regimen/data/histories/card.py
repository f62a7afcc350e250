"""The data card of learning histories: progress of the returns, lengths, noise, constant channels; its checks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.data.episodes.card_schema import Spread
from regimen.data.histories.file import History
from regimen.data.histories.reader import Histories, HistoryFile, HistoryHead
from regimen.display.figures import COLORS, save, sheet
from regimen.system.files import write_json
from regimen.system.json_data import Json, JsonData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 20
"""Number of parts of a history in its curve."""

LEAST_PROGRESS = 0.7
"""Rank correlation of the place of an episode in its history with its return, over all histories together."""

HEADS = {"checkpoints": "Checkpoint history", "noise": "Noise distillation", "expert": "Expert only"}


@dataclass
class CurvePoint(JsonData):
    """Episodes in one part of the histories.

    Attributes:
        where: middle of the part, 0 to 1.
        episodes: number of episodes.
        mean: mean return.
        low: 10 % of the returns are lower.
        median: median return.
        high: 10 % of the returns are higher.
        length: mean length in steps.
        label: mean share of noise, or number of the checkpoint; None where the files do not state it.
    """

    where: float
    episodes: int
    mean: float
    low: float
    median: float
    high: float
    length: float
    label: float | None


@dataclass
class HistoryEpisodes(JsonData):
    """Complete episodes, and their lengths in steps."""

    count: int = 0
    length: Spread = field(default_factory=Spread)


@dataclass
class HistoryCard(HistoryHead):
    """Statistics of a dataset of learning histories; `card.json` is its plain form.

    Attributes:
        rows: rows of all histories.
        histories: rows, episodes and progress of each.
        episodes: of all histories.
        terminated_share: share of the episodes that ended by a termination.
        curve: course of the returns over the histories.
        constant: names of the channels of the observation that never change.
    """

    kind: str = "histories"
    rows: int = 0
    histories: list[HistoryFile] = field(default_factory=list)
    episodes: HistoryEpisodes = field(default_factory=HistoryEpisodes)
    terminated_share: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)

    def to_dict(self) -> Json:
        """Return the fields, the histories without their checksums."""
        rows = [{name: value for name, value in h.to_dict().items() if name != "sha256"} for h in self.histories]
        return super().to_dict() | {"histories": rows}

    def problems(self) -> list[str]:
        """Return one line for each quality check that stands before learning in context and fails."""
        lines = []
        if self.mode == "expert":
            lines.append("mode=expert: nothing improves in these histories; they are for comparison only.")
        if self.spearman < LEAST_PROGRESS:
            lines.append(
                f"progress: returns rise along the histories with a rank correlation of {self.spearman:.2f}, needed "
                f"{LEAST_PROGRESS} or more."
            )
        if self.expert_score <= self.random_score:
            lines.append(
                f"expert_score {self.expert_score:.3g} is not above random_score {self.random_score:.3g}: there is "
                "nothing to improve to."
            )
        return lines


def make(histories: Histories) -> HistoryCard:
    """Return the card; every file is read once.

    Raises:
        DatasetError: a file is broken; values that are not finite are found here.
    """
    summaries = [_EpisodeSummary.of(history) for history in histories]
    length = np.concatenate([one.length for one in summaries])
    card = HistoryCard(**{field.name: getattr(histories.about, field.name) for field in fields(HistoryHead)})
    card.format = 1
    card.rows = int(histories.rows.sum())
    card.histories = histories.about.files
    card.episodes = HistoryEpisodes(len(length), Spread.over(length))
    card.terminated_share = sum(int(one.fell.sum()) for one in summaries) / max(len(length), 1)
    card.curve = _curve(summaries)
    card.constant = _constant(histories)
    return card


def write(card: HistoryCard, data: Path, pictures: Path) -> list[Path]:
    """Write `card.json` and `card.md` into `data`, `histories.png` into `pictures`; return the paths."""
    data.mkdir(parents=True, exist_ok=True)
    write_json(data / "card.json", card.to_dict())
    (data / "card.md").write_text(text(card), "utf-8")
    _draw(card, pictures / "histories.png")
    return [data / "card.json", data / "card.md", pictures / "histories.png"]


@dataclass
class _EpisodeSummary:
    """The complete episodes of one history.

    Attributes:
        where: (E,) place in the history, 0 to 1.
        returns: (E,).
        length: (E,) steps.
        label: (E,) share of noise, or number of the checkpoint; NaN where the file does not state it.
        fell: (E,) ended by a termination.
    """

    where: np.ndarray
    returns: np.ndarray
    length: np.ndarray
    label: np.ndarray
    fell: np.ndarray

    @classmethod
    def of(cls, history: History) -> _EpisodeSummary:
        """Summarise one history."""
        start, stop = history.start[history.complete], history.stop[history.complete]
        column = next((history.more[name] for name in ("epsilon", "checkpoint") if name in history.more), None)
        label = np.full(len(start), np.nan) if column is None else column[start].astype(np.float64)
        fell = history.more["terminated"][stop - 1] if "terminated" in history.more else np.zeros(len(start), bool)
        return cls(history.positions, history.returns[history.complete], stop - start, label, fell)


def _curve(summaries: list[_EpisodeSummary]) -> list[CurvePoint]:
    where, returns, length, label = (
        np.concatenate([getattr(one, name) for one in summaries]) for name in ("where", "returns", "length", "label")
    )
    part = np.minimum((where * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(part):
        inside = part == number
        low, median, high = np.percentile(returns[inside], [10, 50, 90])
        mean, steps, value = (float(column[inside].mean()) for column in (returns, length, label))
        progress = None if np.isnan(value) else value
        rows.append(CurvePoint((number + 0.5) / BINS, int(inside.sum()), mean, low, median, high, steps, progress))
    return rows


def _constant(histories: Histories) -> list[str]:
    """Return the names of the observation's channels that never change."""
    io, names = histories.io, [f"[{i}]" for i in range(histories.observation_size)]
    if io is not None:
        names = [f"{term}[{i}]" for term, size in io.observations["policy"].items() for i in range(size)]
    return [name for name, std in zip(names, histories.std, strict=True) if std == 0]


def text(card: HistoryCard) -> str:
    """Return a card as Markdown, the quality checks first."""
    problems, constant = card.problems(), ", ".join(card.constant) or "none"
    verdict = ["Not fit for learning in context:", "", *(f"- {line}" for line in problems)]
    lines = ["# Data card of histories", "", *(verdict if problems else ["Fit for learning in context."])]
    lines += [*_about(card), *_progress(card), "", "## Channels", "", f"Constant: {constant}."]
    return "\n".join([*lines, "Not finite: none, such a file is refused."]) + "\n"


def _about(card: HistoryCard) -> list[str]:
    length = card.episodes.length
    head = HEADS.get(card.mode, f"Mode {card.mode}")
    lines = ["", f"{head}: {len(card.histories)} histories of {card.task_name} (group {card.group})."]
    lines.append(f"{card.rows} rows; the shortest history has {min(row.rows for row in card.histories)}.")
    lines.append(
        f"{card.episodes.count} whole episodes, length {length.min:.0f} … {length.max:.0f} steps, median "
        f"{length.median:.0f}; {card.terminated_share:.1%} ended by a termination."
    )
    lines.append(f"Return of a random policy {card.random_score:.4g}, of the expert {card.expert_score:.4g}.")
    masses = [row.mass_scale for row in card.histories if row.mass_scale is not None]
    if masses:
        lines.append(f"Mass of the robot times {min(masses):.2f} … {max(masses):.2f}, another in each history.")
    return lines


def _progress(card: HistoryCard) -> list[str]:
    each = np.array([row.spearman for row in card.histories])
    lines = ["", "## Progress", ""]
    lines.append(
        f"Rank correlation of an episode's place in its history with its return: {card.spearman:.2f} over all; of "
        f"each history {each.min():.2f} … {each.max():.2f}, median {np.median(each):.2f}; "
        f"{(each >= LEAST_PROGRESS).mean():.0%} reach {LEAST_PROGRESS}."
    )
    label = "checkpoint" if card.mode == "checkpoints" else "noise"
    lines += ["", f"| place | episodes | return | 10 % … 90 % | length | {label} |", "|---|---|---|---|---|---|"]
    for row in card.curve:
        cells = [f"{row.where:.3f}", str(row.episodes), f"{row.mean:.4g}", f"{row.low:.4g} … {row.high:.4g}"]
        cells += [f"{row.length:.0f}", "" if row.label is None else f"{row.label:.3g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _draw(card: HistoryCard, out: Path) -> None:
    """Draw return, episode length and noise over the place in the history."""
    figure, (returns, length, label) = sheet(3, 3)
    where = np.array([row.where for row in card.curve])
    _draw_returns(returns, where, card)
    length.plot(where, [row.length for row in card.curve], color=COLORS[0])
    length.set_title("length of an episode (steps)", fontsize=10)
    label.plot(where, [np.nan if row.label is None else row.label for row in card.curve], color=COLORS[0])
    label.set_title("checkpoint" if card.mode == "checkpoints" else "share of noise", fontsize=10)
    for ax in (returns, length, label):
        ax.set_xlabel("place in the history", fontsize=8)
        ax.set_xlim(0, 1)
    save(figure, out)


def _draw_returns(ax: Axes, where: np.ndarray, card: HistoryCard) -> None:
    """Draw the mean return with the range of 80 % of the episodes, between random and expert."""
    low, high = [row.low for row in card.curve], [row.high for row in card.curve]
    ax.fill_between(where, low, high, color=COLORS[0], alpha=0.2, linewidth=0, label="10 % … 90 %")
    ax.plot(where, [row.mean for row in card.curve], color=COLORS[0], label="mean")
    for name, score, style in (("random", card.random_score, ":"), ("expert", card.expert_score, "--")):
        ax.axhline(score, color=COLORS[1], linewidth=1, linestyle=style, label=name)
    ax.set_title(f"return, rank correlation {card.spearman:.2f} ({card.mode})", fontsize=10)
    ax.legend(fontsize=7, frameon=False)
