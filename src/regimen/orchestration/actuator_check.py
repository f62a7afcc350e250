"""Check before the start of the actuators of a task: joints, numbers, network files, and whether the simulator can."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.envs.actuators.settings import NETWORK, cannot, network_problems, problems
from regimen.orchestration.preflight_report import PreflightContext
from regimen.runs.user_files import NETWORK_FILE
from regimen.system import host


def check_actuators(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem for each joint given twice, bad number or network, and for a simulator without torques."""
    actuators: dict[str, Any] = getattr(composed.config.env, "actuators", {})
    used = {name: actuator for name, actuator in actuators.items() if actuator is not None}
    if not used:
        return
    if not getattr(composed.config.sim, "TORQUES", False):
        sim = f"sim={composed.choices['sim']}"
        yield Problem("env.actuators", f"env.actuators: {cannot(sim, used)}")
    if context.robot is not None:
        for key, message in problems(used, context.robot):
            yield Problem(f"env.{key}", f"env.{message}")
    for name, actuator in used.items():
        if actuator.func == NETWORK:
            yield from _network(f"env.actuators.{name}.params", actuator.params, host.interpreter(composed.plain))


def _network(path: str, params: dict[str, Any], python: str) -> Iterator[Problem]:
    """Yield the problems of the network of one actuator."""
    moments = params.get("input_idx", [0])
    wrong = network_problems(moments, params.get("input_order", "pos_vel"))
    for key, problem in wrong.items():
        yield Problem(f"{path}.{key}", f"{path}.{problem}")
    file = Path(str(params.get(NETWORK_FILE, ""))).expanduser()
    if wrong or not file.is_file():  # a missing file is an input that is not found
        return
    if problem := _loaded(str(file), file.stat().st_mtime_ns, 2 * len(moments), python):
        yield Problem(f"{path}.{NETWORK_FILE}", f"{path}.{NETWORK_FILE}: {problem}")


@functools.cache
def _loaded(file: str, modified_ns: int, columns: int, python: str) -> str:
    """Load a network and run it in a process of its own, so that this one imports no torch; return what is wrong.

    Args:
        file: path.
        modified_ns: when it was modified.
        columns: of its input.
        python: interpreter of the run; one that does not exist leaves the check to the worker.
    """
    return host.checked_elsewhere(python, "regimen.envs.actuators.network", file, str(columns))
