"""The full study of joint failures on a real Slurm, with one seed and tiny numbers: every kind of step it has."""

from __future__ import annotations

import pytest
import yaml

from helpers.messages import assert_names
from orchestration.slurm.cluster import ROOT, Cluster, wait_for
from regimen.system import files

pytestmark = pytest.mark.slow

PATIENCE_S = 900.0
LARGER = ["hardware.submitit.mem_gb=5", "hardware.submitit.cpus_per_task=1"]
"""A training of a detector may fill 3 GiB with data."""


def tiny_values() -> list[str]:
    """All numbers of size=tiny; steps, modes and the second round stay those of size=full."""
    sizes = yaml.safe_load((ROOT / "conf/pipeline/h1_failure.yaml").read_text())["sizes"]
    numbers = {name: value for name, value in sizes["tiny"].items() if type(value) in (int, float)}
    return [f"{name}={value}" for name, value in numbers.items()] + ["accept=this is a tiny run", "film=false"]


def test_the_full_study_is_submitted_at_once_and_ends_with_a_report(cluster: Cluster) -> None:
    chosen = ["pipeline=h1_failure", "size=full", "seeds=[0]", "detector_seeds=[0]", *tiny_values()]
    command = [*chosen, "hardware=slurm", *LARGER]
    said = cluster.launch(*command)
    count = said.count("submitted ")
    assert count == 28, said

    def statuses() -> dict[str, str]:
        runs = [files.read_json(file) or {} for file in cluster.folder.glob("outputs/*/run.json")]
        return {run["pipeline"]["step"]: run["status"] for run in runs}

    ends = {"finished", "failed", "killed", "diverged"}
    wait_for(lambda: set(statuses().values()) <= ends, "all ended", PATIENCE_S, lambda: str(statuses()))
    assert set(statuses().values()) == {"finished"}, statuses()
    page = next(cluster.folder.glob("outputs/*/report/report.json"))
    told = files.read_json(page) or {}
    assert told["not_evaluated"] == [] and len(told["policies"]) == 7
    said = cluster.launch(*command)
    assert_names(said, f"{count} of {count}", "report/report.html")
