"""The sweeper of studies: optuna chooses the values of each job from the results of earlier ones.

Hydra imports this module at every start, so the work is in `regimen.orchestration.sweep.study`. It executes the module
before registering it, so a dataclass here must not have postponed annotations.
"""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import MISSING, DictConfig


@dataclass
class OptunaSweeperConf:
    """Settings of the sweeper.

    Attributes:
        sampler: option of `hydra/sweeper/sampler`: how values are chosen.
        direction: `minimize` or `maximize` the first headline metric; a list for several metrics.
        storage: URL of a database such as sqlite:///study.db, from which a study of the same name continues.
        study_name: name of the study in the database.
        n_trials: number of jobs.
        n_jobs: jobs chosen at once, before their results are known.
        max_failure_rate: share of failed jobs of a batch above which the study ends.
        params: swept keys and their values.
    """

    _target_: str = "hydra_plugins.regimen_optuna_sweeper.regimen_optuna_sweeper.OptunaSweeper"
    _recursive_: bool = False
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}])
    sampler: Any = MISSING
    direction: Any = "minimize"
    storage: str | None = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: int = 2
    max_failure_rate: float = 1.0
    params: dict[str, str] | None = None


SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {"_target_": "optuna.samplers.TPESampler", "seed": None, "n_startup_trials": 10, "n_ei_candidates": 24,
            "multivariate": False, "constant_liar": False},
    "random": {"_target_": "optuna.samplers.RandomSampler", "seed": None},
    "cmaes": {"_target_": "optuna.samplers.CmaEsSampler", "seed": None, "x0": None, "sigma0": None,
              "n_startup_trials": 1},
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler", "seed": None, "population_size": 50,
               "mutation_prob": None, "crossover_prob": 0.9, "swapping_prob": 0.5},
    "grid": {"_target_": "optuna.samplers.GridSampler", "seed": None},
}  # fmt: skip
"""Options of `hydra/sweeper/sampler`: class and arguments with their defaults."""


PROVIDER = "regimen_optuna_sweeper"
"""Name under which the options are stored."""


def register() -> None:
    """Store the options of the sweeper; also in place of those of hydra-optuna-sweeper, which needs optuna 2."""
    if importlib.util.find_spec("optuna") is None:
        return
    store = ConfigStore.instance().store
    store(group="hydra/sweeper", name="optuna", node=OptunaSweeperConf, provider=PROVIDER)
    for name, node in SAMPLERS.items():
        store(group="hydra/sweeper/sampler", name=name, node=node, provider=PROVIDER)


register()


class OptunaSweeper(Sweeper):
    """Has the jobs of a study launched in batches of `n_jobs`; failed ones do not end it."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher of the jobs."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def check(self, arguments: list[str]) -> None:
        """Check settings and search space; write nothing.

        Args:
            arguments: of the command line and of `hydra.sweeper.params`, those for Hydra aside.
        """
        from regimen.orchestration.sweep.study import Study, StudySettings

        self.study = Study(StudySettings(**{k: v for k, v in self.settings.items() if k != "params"}), arguments)

    def open(self) -> None:
        """Open the database of the study, or create it."""
        self.study.open()

    def sweep(self, arguments: list[str]) -> None:
        """Run the study.

        Args:
            arguments: as for `check`.
        """
        assert self.config is not None and self.launcher is not None
        self.study.run(self.launcher, Path(self.config.hydra.sweep.dir))
