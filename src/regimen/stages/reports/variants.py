"""Kinds of policies in a fault study, and their detection from the config of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from regimen.config.static_types import class_variable
from regimen.envs.fault_estimate.columns import resolve_mode
from regimen.stages.reports.sources import Source


@dataclass(frozen=True)
class Variant:
    """Kind of policy.

    Attributes:
        key: short name, in report.json and file names.
        title: name in tables and figures.
        fault_info: information about faults in its observations.
        color: in figures.
    """

    key: str
    title: str
    fault_info: str
    color: str


VARIANTS = (
    Variant("healthy", "healthy", "none; trained without faults", "#777777"),
    Variant("none", "robust", "none; trained with faults", "#8a6d3b"),
    Variant("oracle", "oracle", "true fault, immediately", "#3f8f5b"),
    Variant("oracle_delayed", "delayed oracle", "true fault, after a delay", "#4a9aa5"),
    Variant("classifier", "tolerant", "output of the detector", "#3b6fb6"),
    Variant("classifier_again", "tolerant, second round", "output of a detector trained on its gait", "#7a5ea8"),
    Variant("experts", "switched experts", "the detector selects one of several policies", "#d1762f"),
)

HEALTHY, ORACLE, TOLERANT = VARIANTS[0], VARIANTS[2], VARIANTS[4]

BY_KEY = {variant.key: variant for variant in VARIANTS}


def variant_of(source: Source) -> Variant:
    """Return the kind of policy that a run evaluated."""
    training = source.input("policy") or source
    if class_variable(training.config.get("agent") or {}, "POLICY_FORMAT") == "switched_experts":
        return BY_KEY["experts"]
    mode = resolve_mode(source.config["env"].get("estimate"), source.config.get("estimator"))
    if mode == "classifier" and _second_round(source):
        return BY_KEY["classifier_again"]
    return BY_KEY[mode or "healthy"]


def _second_round(source: Source) -> bool:
    """Return whether the detector was trained on data of a policy that observes a detector."""
    detector = source.input("estimator")
    return detector is not None and any(data.config.get("estimator") for data in detector.inputs("data"))
