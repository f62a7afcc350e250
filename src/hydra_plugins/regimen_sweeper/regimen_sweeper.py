"""The sweeper of grids: like Hydra's basic one, with lists that advance together, and jobs that may fail.

Hydra imports this module at every start, so the work is in `regimen.config.sweep_grid`. It executes the module
before registering it, so a dataclass here must not have postponed annotations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf


@dataclass
class RegimenSweeperConf(BasicSweeperConf):
    """Settings of the sweeper: those of Hydra's basic one."""

    _target_: str = "hydra_plugins.regimen_sweeper.regimen_sweeper.RegimenSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="regimen", node=RegimenSweeperConf, provider="regimen_sweeper")


class RegimenSweeper(BasicSweeper):
    """Makes the jobs of a grid and has them launched, all at once or in batches; failed ones do not end it."""

    def check(self, arguments: list[str]) -> None:
        """Raise for a size of batches that is none.

        Args:
            arguments: as for `sweep`.
        """
        from regimen.system.errors import ConfigError

        if self.max_batch_size is not None and self.max_batch_size < 1:
            raise ConfigError(f"`hydra.sweeper.max_batch_size={self.max_batch_size}`: expected 1 or more, or null.")

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep and return what each batch returned.

        Args:
            arguments: of the command line and of `hydra.sweeper.params`, those for Hydra aside.
        """
        from regimen.config import sweep_grid
        from regimen.orchestration.sweep.jobs import CheckedLoader, freeze_jobs

        assert self.config is not None and self.launcher is not None and self.hydra_context is not None
        assert isinstance(self.hydra_context.config_loader, CheckedLoader)
        parser = sweep_grid.make_parser(self.hydra_context.config_loader)
        jobs = sweep_grid.jobs(parser.parse_overrides(arguments))
        folder = Path(self.config.hydra.sweep.dir)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        freeze_jobs(folder, jobs, self.hydra_context.config_loader.config_dirs)
        self.overrides = list(self.split_overrides_to_chunks(jobs, self.max_batch_size))
        returns, first = [], 0
        while not self.is_done():
            batch = self.get_job_batch()
            returns.append(self.launcher.launch(batch, initial_job_idx=first))
            first += len(batch)
        return returns
