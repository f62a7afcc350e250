"""The policies that a study compares, and how one is recognised from the configuration it was evaluated with."""

from __future__ import annotations

from dataclasses import dataclass

from regimen.envs.fault_estimate.columns import resolve_mode
from regimen.stages.reports.sources import Source


@dataclass(frozen=True)
class Variant:
    """One kind of policy.

    Attributes:
        key: short name, in report.json and in file names.
        title: as people read it.
        told: what it is told of the robot's faults.
        color: in pictures.
    """

    key: str
    title: str
    told: str
    color: str


VARIANTS = (
    Variant("healthy", "healthy", "nothing; it never met a fault in training", "#777777"),
    Variant("none", "robust", "nothing; it was trained with faults", "#8a6d3b"),
    Variant("oracle", "oracle", "the truth, at once", "#3f8f5b"),
    Variant("oracle_delayed", "delayed oracle", "the truth, some steps later", "#4a9aa5"),
    Variant("classifier", "tolerant", "what the detector sees", "#3b6fb6"),
    Variant("classifier_again", "tolerant, second round", "what a detector sees that knows its gait", "#7a5ea8"),
    Variant("experts", "switched experts", "the detector chooses one of several policies", "#d1762f"),
)

HEALTHY, ORACLE, TOLERANT = VARIANTS[0], VARIANTS[2], VARIANTS[4]

BY_KEY = {variant.key: variant for variant in VARIANTS}


def variant_of(source: Source) -> Variant:
    """Return which kind of policy a run evaluated."""
    made_by = source.input("policy") or source
    if "experts" in str((made_by.config.get("agent") or {}).get("_target_", "")):
        return BY_KEY["experts"]
    mode = resolve_mode(source.config["env"].get("estimate"), source.config.get("estimator"))
    if mode == "classifier" and _second_round(source):
        return BY_KEY["classifier_again"]
    return BY_KEY[mode or "healthy"]


def _second_round(source: Source) -> bool:
    """Return whether the detector has seen data of a policy that a detector told of faults."""
    detector = source.input("estimator")
    return detector is not None and any(data.config.get("estimator") for data in detector.inputs("data"))
