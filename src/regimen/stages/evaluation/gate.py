"""Requirements on an evaluation, for CI and releases: passed only where the evidence is complete and unchanged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite

from regimen.display.intervals import Figure, PairedDifference, paired_difference
from regimen.runs.history.run_view import RunView, open_view
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.stages.evaluation.metrics import EPISODES
from regimen.stages.evaluation.paired import require_paired
from regimen.system import files
from regimen.system.errors import ConfigError, RegimenError, RunReferenceError, did_you_mean
from regimen.system.json_data import Json
from regimen.system.version import __version__

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
FORM = re.compile(rf"\s*([\w./-]+?)\s*(>=|<=)\s*(?:(baseline)\s*([+-]\s*[\d.][\d.eE+-]*)?|({NUMBER}))\s*")
EXAMPLES = "'survival>=0.95', 'lin_vel_error<=0.2' or, with --against, 'return>=baseline-0.5'"

NO_DIFFERENCE = "there is no difference from a baseline, episode by episode"

EVIDENCE = ("run.json", "config.yaml", "result.json", EPISODES)
"""Files of a run whose checksums are in the result."""


@dataclass(frozen=True)
class Requirement:
    """A bound on one figure of an evaluation.

    Attributes:
        text: as typed.
        figure: its name.
        at_least: whether the figure has to be at least the bound; the lower end of its interval counts, else the upper.
        bound: the bound; with `of_baseline` what the difference from the baseline has to reach.
        of_baseline: whether the bound is relative to the figure of the baseline.
    """

    text: str
    figure: str
    at_least: bool
    bound: float
    of_baseline: bool = False

    def counts(self, figure: Figure) -> float:
        """Return the end of the interval that counts: the worse one."""
        return figure.low if self.at_least else figure.high

    def is_met(self, figure: Figure) -> bool:
        """Return whether the worse end of an interval keeps the bound; not-a-number does not."""
        return self.counts(figure) >= self.bound if self.at_least else self.counts(figure) <= self.bound


def parse(text: str) -> Requirement:
    """Return the requirement that a text describes.

    Raises:
        ConfigError: it describes none.
    """
    match = FORM.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        name, sign, baseline, margin, number = match.groups()
        bound = float((margin or "0").replace(" ", "")) if baseline else float(number)
    except ValueError as error:
        raise ConfigError(f"--require {text!r}: expected a figure, >= or <=, and a bound: {EXAMPLES}.") from error
    return Requirement(text.strip(), name, sign == ">=", bound, baseline is not None)


@dataclass
class Check:
    """One requirement, checked.

    Attributes:
        require: as typed, or in words.
        passed: whether it is met.
        why: one line.
        figure: the figure or difference with its interval; None without one.
    """

    require: str
    passed: bool
    why: str
    figure: Figure | None = None


@dataclass
class GateResult:
    """Outcome of all requirements.

    Attributes:
        checks: each requirement.
        reasons: why the evidence cannot be relied on; empty if it can.
        evidence: `run` and `baseline` -> identity, code, checksums of files and inputs.
    """

    checks: list[Check] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    evidence: dict[str, Json] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there is a requirement, all are met, and nothing speaks against the evidence."""
        return bool(self.checks) and not self.reasons and all(check.passed for check in self.checks)

    @classmethod
    def of(cls, run: str, requirements: Sequence[str], baseline: str | None = None) -> GateResult:
        """Check an evaluation; see `check_all`.

        Raises:
            ConfigError: a requirement cannot be read, or needs a baseline that is not named.
        """
        parsed = [parse(text) for text in requirements]
        if baseline is None and (needing := [r.text for r in parsed if r.of_baseline]):
            raise ConfigError(f"--require {needing[0]!r}: there is no baseline. Name one: --against <evaluation>.")
        return check_all(run, parsed, baseline)

    def to_dict(self) -> Json:
        """Return plain data: `passed`, `regimen`, `at`, `checks`, `reasons` and `evidence`."""
        head = {"passed": self.passed, "regimen": __version__, "at": files.iso_now()}
        plain: Json = files.plain(head | asdict(self))
        return plain


def check_all(run: str, requirements: Sequence[Requirement], baseline: str | None = None) -> GateResult:
    """Check an evaluation; a failure of any kind is a reason against it, never an exception.

    With a baseline each required figure is also compared with it on the same episodes: one whose difference is for the
    worse over its whole interval is not passed, even if it keeps its bound.

    Args:
        run: reference of an evaluation.
        requirements: bounds on its figures.
        baseline: reference of an evaluation of another policy under the same conditions.
    """
    result = GateResult()
    opened = {"run": _open(run, "run", result)}
    if baseline is not None:
        opened["baseline"] = _open(baseline, "baseline", result)
    evaluated, against = opened["run"], opened.get("baseline")
    pair = _pair(evaluated, against, result)
    for requirement in requirements:
        if requirement.of_baseline:
            result.checks.append(_relative(requirement, pair))
            continue
        result.checks.append(_absolute(requirement, evaluated))
        if baseline is not None:
            result.checks.append(_no_worse(requirement, pair))
    return result


def _open(reference: str, role: str, result: GateResult) -> Evaluated | None:
    """Return an evaluation; add what speaks against it to the reasons, and its checksums to the evidence."""
    try:
        view = open_view(reference)
        result.evidence[role] = _evidence(view)
        evaluated = Evaluated.open(view)
        result.reasons += [f"{role}: {line}" for line in evaluated.changes()]
        found = evaluated.differences()
    except (RegimenError, OSError, LookupError, TypeError, ValueError) as error:
        text = str(error) if isinstance(error, RegimenError) else f"{type(error).__name__}: {error}"
        result.reasons.append(f"{role}: {' '.join(text.split())}")
        return None
    if found:
        more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
        result.reasons.append(f"{role}: result.json is not made of {EPISODES}: {found[0]}{more}")
    return evaluated


def _evidence(run: RunView) -> Json:
    """Return identity and code of a run, and the checksums of its files and inputs."""
    record = run.record
    recorded = {row.path: row.sha256 for row in record.artifacts}
    present = {name: files.sha256(path) for name in EVIDENCE if (path := run.dir / name).is_file()}
    inputs = {
        name: {"path": entry.path, "recorded": entry.sha256, "state": run.input_state(name, read_all=True)}
        for name, entry in run.inputs.items()
    }
    return {
        "id": run.id,
        "name": record.name,
        "status": run.status,
        "dir": str(run.dir),
        "commit": record.git.commit if record.git is not None else None,
        "signature": {"config": record.signature.config, "code": record.signature.code},
        "files": {name: {"sha256": sha, "recorded": recorded.get(name)} for name, sha in present.items()},
        "inputs": inputs,
    }


def _pair(
    evaluated: Evaluated | None, against: Evaluated | None, result: GateResult
) -> tuple[Evaluated, Evaluated] | None:
    """Return baseline and evaluation where they are paired; add a reason where they are not."""
    if evaluated is None or against is None:
        return None
    try:
        require_paired([against, evaluated])
        seeds = [one.run.record.seed for one in (against, evaluated)]
        if seeds[0] != seeds[1]:
            raise RunReferenceError(f"they have the seeds {seeds[0]} and {seeds[1]}")
    except (RegimenError, LookupError, TypeError, ValueError) as error:
        result.reasons.append(f"not paired with the baseline: {' '.join(str(error).split())}")
        return None
    return against, evaluated


def _absolute(requirement: Requirement, evaluated: Evaluated | None) -> Check:
    if evaluated is None:
        return Check(requirement.text, False, "there is no evaluation")
    try:
        figures = evaluated.figures
    except (RegimenError, LookupError, TypeError, ValueError) as error:
        return Check(requirement.text, False, f"its episodes cannot be read: {error}")
    figure = figures.get(requirement.figure)
    if figure is None:
        return Check(requirement.text, False, f"it is not measured. {did_you_mean(requirement.figure, figures)}")
    return _judge(requirement, figure, evaluated.episodes_of(requirement.figure))


def _judge(requirement: Requirement, figure: Figure, episodes: int) -> Check:
    if episodes < 2 or not _has_interval(figure):
        return Check(requirement.text, False, f"it has no interval, with {episodes} episodes", figure)
    end = "lower" if requirement.at_least else "upper"
    why = f"{figure.value:.4g}, {end} end of the interval {requirement.counts(figure):.4g}"
    return Check(requirement.text, requirement.is_met(figure), why, figure)


def _relative(requirement: Requirement, pair: tuple[Evaluated, Evaluated] | None) -> Check:
    found = _difference(requirement.figure, pair)
    if found is None:
        return Check(requirement.text, False, NO_DIFFERENCE)
    return _judge(requirement, found.mean, found.pairs)


def _no_worse(requirement: Requirement, pair: tuple[Evaluated, Evaluated] | None) -> Check:
    text, found = f"{requirement.figure} is not worse than that of the baseline", _difference(requirement.figure, pair)
    if found is None:
        return Check(text, False, NO_DIFFERENCE)
    if found.pairs < 2 or not _has_interval(found.mean):
        return Check(text, False, f"it has no interval, with {found.pairs} episodes", found.mean)
    worse = found.mean.high < 0 if requirement.at_least else found.mean.low > 0
    why = f"difference {found.mean.value:.4g}, interval {found.mean.low:.4g} … {found.mean.high:.4g}"
    return Check(text, not worse, why, found.mean)


def _difference(name: str, pair: tuple[Evaluated, Evaluated] | None) -> PairedDifference | None:
    """Return the difference of a figure from that of the baseline; None where it has no value in each episode."""
    if pair is None or not all(name in evaluated.columns for evaluated in pair):
        return None
    baseline, evaluated = pair
    return paired_difference(baseline.columns[name], evaluated.columns[name])


def _has_interval(figure: Figure) -> bool:
    return all(isinstance(end, float) and isfinite(end) for end in (figure.value, figure.low, figure.high))
