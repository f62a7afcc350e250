"""The launcher of local sweeps: checks all jobs, then gives each a run and a process of its own.

Hydra imports this module at every start, so the work is in `regimen.orchestration.sweep.jobs`. It executes the module
before registering it, so a dataclass here must not have postponed annotations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig


@dataclass
class RegimenLauncherConf:
    """Settings of the launcher: none here, `hardware.max_jobs` caps the jobs at once."""

    _target_: str = "hydra_plugins.regimen_launcher.regimen_launcher.RegimenLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="regimen", node=RegimenLauncherConf, provider="regimen_launcher"
)


class RegimenLauncher(Launcher):
    """Runs the jobs of a sweep in processes of their own and survives those that fail."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep Hydra's view of the sweep."""
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run one batch of jobs to their ends.

        Args:
            job_overrides: for each job, its arguments.
            initial_job_idx: number of the first one.
        """
        from regimen.orchestration.sweep.jobs import run_batch
        from regimen.system.errors import RegimenError

        hydra = self.config.hydra
        dirs = [Path(s.path) for s in hydra.runtime.config_sources if s.provider in ("main", "command-line")]
        sweeper = str(hydra.sweeper["_target_"])
        chooses = not sweeper.endswith((".RegimenSweeper", ".BasicSweeper"))  # by the results of earlier jobs
        jobs = run_batch(Path(hydra.sweep.dir), [list(o) for o in job_overrides], initial_job_idx, dirs, chooses)
        directions = hydra.sweeper.get("direction")
        returns = []
        for job in jobs:
            finished = job.status == "finished" or not chooses  # Hydra's own sweeper gives up at the first failed job
            figures = list(job.headline.values()) or [None]
            value = figures[: len(directions)] if isinstance(directions, ListConfig) else figures[0]
            returned = value if finished else RegimenError(f"{job.run}: {job.status}")
            status = JobStatus.COMPLETED if finished else JobStatus.FAILED
            returns.append(JobReturn(overrides=job.overrides, status=status, _return_value=returned))
        return returns
