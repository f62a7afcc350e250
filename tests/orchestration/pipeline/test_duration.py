"""How long a pipeline will take."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from helpers.user_folder import write
from regimen.orchestration.pipeline import report
from regimen.orchestration.pipeline.reuse import DONE, RESUMABLE, TO_DO, ExistingRun
from regimen.runs.index.summary import RunSummary
from regimen.runs.status import Status

THREE = (
    "  - {name: a, stage: make, foreach: {seed: [0, 1, 2]}}\n"
    "  - {name: b, stage: make, foreach: a, inputs: {policy: a}}\n"
)


def past(pipes: Any, run: str, wall_s: float, config: dict[str, Any], status: str = "finished") -> RunSummary:
    folder = pipes.folder / "outputs" / run
    write(folder / "config.yaml", yaml.safe_dump(config))
    return RunSummary(
        run, task="idle", agent="idle", stage="make", status=Status(status), wall_s=wall_s, path=str(folder)
    )


def test_the_median_of_the_same_configuration_with_any_seed_else_of_the_same_stage(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make, overrides: [seed=3]}\n")
    (job,) = pipes.jobs()
    config = job.composed.plain
    longer = {**config, "stage": {**config["stage"], "steps": 50}}
    rows = [past(pipes, f"r{i}", wall, {**config, "seed": i}) for i, wall in enumerate((10.0, 11.0, 90.0))]
    others = [past(pipes, "long", 400.0, longer), past(pipes, "died", 1.0, config, "failed")]
    to_do = ExistingRun(TO_DO)
    assert report.seconds(job, to_do, [*others, *rows]) == 11.0
    assert report.seconds(job, to_do, others) == 400.0
    assert report.seconds(job, to_do, []) is None
    assert report.seconds(job, ExistingRun(DONE, rows[0]), rows) == 0.0
    write(rows[0].dir / "progress.json", '{"iteration": 3, "iterations": 4}')
    assert report.seconds(job, ExistingRun(RESUMABLE, rows[0]), rows) == pytest.approx(11 / 4)


def test_other_trainings_count_in_proportion_to_their_env_steps(pipes: Any) -> None:
    pipes.write("  - {name: a, stage: make}\n")
    (job,) = pipes.jobs()

    def steps(count: int) -> dict[str, Any]:
        more = {"env": {"num_envs": 8}, "agent": {"trainer": {"timesteps": count}}}
        return {**job.composed.plain, **more, "choices": {**job.composed.plain["choices"], "stage": "train"}}

    job.composed.plain = steps(100)
    job.composed.choices["stage"] = "make"
    near, far = past(pipes, "near", 40.0, steps(200)), past(pipes, "far", 40.0, steps(100_000))
    assert report.seconds(job, ExistingRun(TO_DO), [near]) == 20.0
    assert report.seconds(job, ExistingRun(TO_DO), [far, near]) == 20.0
    assert report.seconds(job, ExistingRun(TO_DO), [far]) is None


@pytest.mark.parametrize(("most", "whole"), [(1, 36.0), (2, 22.0), (3, 12.0), (9, 12.0)])
def test_the_whole_takes_as_long_as_the_longest_way_and_the_cap_allow(pipes: Any, most: int, whole: float) -> None:
    pipes.write(THREE)
    jobs = pipes.jobs(f"hardware.max_jobs={most}")
    left = {job.name: 10.0 if job.node.step.name == "a" else 2.0 for job in jobs}
    assert report.total(jobs, left) == whole


def test_what_is_done_or_unknown_takes_no_time(pipes: Any) -> None:
    pipes.write(THREE)
    jobs = pipes.jobs()
    assert report.total(jobs, {job.name: None if job.node.step.name == "a" else 2.0 for job in jobs}) == 6.0
