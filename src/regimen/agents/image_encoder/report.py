"""Errors of an image encoder's predictions in physical units, printed and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents.image_encoder.config import PRIVILEGED
from regimen.display.figures import COLORS, save, sheet
from regimen.display.text_tables import TextTable, print_tables

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import IOSpec

MM_PER_M = 1000.0


@dataclass(frozen=True)
class TargetError:
    """Error of a predicted quantity on the validation episodes.

    Attributes:
        target: of the training.
        term: observation term or action.
        unit: of error and spread.
        error: root of the mean square over frames and values.
        spread: standard deviation of the quantity itself: the error of a prediction by its mean.
    """

    target: str
    term: str
    unit: str
    error: float
    spread: float


def target_errors(
    io: IOSpec, guesses: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
) -> list[TargetError]:
    """Return the error of each term of the privileged group, and of each action.

    Args:
        io: gives sizes, scales and units.
        guesses: target -> (V, d) predictions.
        targets: target -> (V, d).
    """
    errors = []
    for target, values in targets.items():
        terms = io.observations[PRIVILEGED] if target == PRIVILEGED else dict.fromkeys(io.action.joints, 1)
        low = 0
        for term, size in terms.items():
            meaning = io.meaning.get(PRIVILEGED, {}).get(term, {}) if target == PRIVILEGED else {}
            unit, scale = _unit(meaning)
            here = slice(low, low + size)
            error = float((guesses[target][:, here] - values[:, here]).square().mean().sqrt())
            spread = float(values[:, here].var(0, correction=0).mean().sqrt())
            errors.append(TargetError(target, term, unit, error * scale, spread * scale))
            low += size
    return errors


def _unit(meaning: Mapping[str, object]) -> tuple[str, float]:
    """Return the unit of a term and the factor from the observed value to it; lengths are in mm."""
    unit, scale = str(meaning.get("unit", "")), 1.0 / float(meaning.get("scale") or 1.0)  # type: ignore[arg-type]
    if unit.split(" ")[0] == "m":
        return "mm" + unit[1:], scale * MM_PER_M
    return unit, scale


def headline(errors: Sequence[TargetError], val_loss: float) -> dict[str, float]:
    """Return the figures for lists of runs: loss, and the error of the first length of the privileged group in mm."""
    lengths = [error.error for error in errors if error.unit.split(" ")[0] == "mm"]
    return {"val_loss": val_loss} | ({"error_mm": lengths[0]} if lengths else {})


def print_errors(errors: Sequence[TargetError]) -> None:
    """Print a table with one row per quantity."""
    rows = [(e.target, e.term, f"{e.error:.3g}", f"{e.spread:.3g}", e.unit) for e in errors]
    columns = ("target", "quantity", ">error (rms)", ">spread (std)", "unit")
    print_tables([TextTable("error on the validation episodes", columns, rows)])


def draw(out: Path, history: Sequence[dict[str, float]]) -> None:
    """Draw the losses over the epochs.

    Args:
        out: PNG to write.
        history: rows with `epoch`, `loss`, `val_loss`.
    """
    figure, (ax,) = sheet(1, columns=1)
    epochs = [row["epoch"] for row in history]
    for name, color, label in (("loss", COLORS[0], "training"), ("val_loss", COLORS[1], "validation")):
        ax.plot(epochs, [row[name] for row in history], color=color, marker=".", label=label)
    ax.set_yscale("log")
    ax.set_title("mean square error", fontsize=10)
    ax.set_xlabel("epoch", fontsize=8)
    ax.legend(fontsize=8, frameon=False)
    save(figure, out)
