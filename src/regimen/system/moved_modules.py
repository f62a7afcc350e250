"""Module names of version 0.1 that stand in frozen configurations, checkpoints and users' own modules.

`current_name` translates them. `MovedModuleFinder` makes `import regimen.robots` work for one more version, with a
warning that names the new module.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "regimen.agents.failure_gru": "regimen.agents.failure_detector",
    "regimen.agents.policy": "regimen.agents.base",
    "regimen.agents.rsl_rl_ppo": "regimen.agents.rsl_rl",
    "regimen.checkpoint": "regimen.runs.checkpoint",
    "regimen.data.sequences": "regimen.data.episodes.batches",
    "regimen.data.splits": "regimen.data.episodes.splits",
    "regimen.detector.estimator": "regimen.envs.fault_estimate.estimator",
    "regimen.detector.streaming": "regimen.agents.failure_detector.online",
    "regimen.envs.check": "regimen.envs.conformance.check",
    "regimen.envs.dark_room": "regimen.envs.hidden_goal",
    "regimen.envs.estimated": "regimen.envs.fault_estimate.wrapper",
    "regimen.envs.gym_env": "regimen.envs.gym",
    "regimen.envs.point_goal": "regimen.envs.hidden_goal",
    "regimen.errors": "regimen.system.errors",
    "regimen.export": "regimen.agents.export",
    "regimen.figures": "regimen.display.figures",
    "regimen.loggers": "regimen.runs.loggers",
    "regimen.metrics": "regimen.runs.metrics",
    "regimen.publish": "regimen.cli.publish",
    "regimen.resolve": "regimen.config.targets",
    "regimen.robots": "regimen.envs.robots",
    "regimen.run": "regimen.runs.run",
    "regimen.schema": "regimen.config.schema",
    "regimen.sims": "regimen.envs.sims",
    "regimen.slurm.job": "regimen.orchestration.slurm.job",
    "regimen.slurm.local": "regimen.orchestration.slurm.local_queue",
    "regimen.stages.playing": "regimen.agents.policy_file",
    "regimen.statistics": "regimen.display.intervals",
    "regimen.supervise": "regimen.runs.supervisor",
    "regimen.training": "regimen.agents.training_session",
    "regimen.typed": "regimen.config.structured",
    "regimen.video": "regimen.display.video",
    "regimen.worker": "regimen.runs.worker",
}
"""Module or package of version 0.1 -> where it is now; what is below a package moved with it."""


def current_name(module: str) -> str:
    """Return the present name of a module; the given one if the module has not moved.

    Args:
        module: dotted name, such as `regimen.sims.mujoco`.
    """
    head, tail = module, ""
    while head:
        if head in MOVED:
            return MOVED[head] + tail
        head, _, last = head.rpartition(".")
        tail = f".{last}{tail}"
    return module


def first_name(module: str) -> str:
    """Return the name of a module in version 0.1; the given one if the module has not moved."""
    return next((old for old, new in MOVED.items() if new == module), module)


class MovedModuleFinder(MetaPathFinder, Loader):
    """Import hook: a moved module is imported from its present place, and a `FutureWarning` names that place."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec that this class loads, for names of moved modules only."""
        if not fullname.startswith("regimen.") or current_name(fullname) == fullname:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the empty module to Python; `exec_module` replaces it."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the present module in the place of the moved one."""
        new = current_name(module.__name__)
        warnings.warn(
            f"{module.__name__} is now {new}; the old name goes with version 0.3", FutureWarning, stacklevel=2
        )
        sys.modules[module.__name__] = importlib.import_module(new)
