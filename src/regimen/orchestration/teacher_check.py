"""Check before the start that the further teachers of a student fit its task, and that each has ground to teach on."""

from __future__ import annotations

from collections.abc import Iterator

from regimen.agents.policy_header import read_header
from regimen.agents.student.config import teacher_of_kind
from regimen.config import static_types
from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.orchestration.compatibility import mismatches
from regimen.orchestration.preflight_report import PreflightContext
from regimen.system.errors import ConfigError, RegimenError


def check_teachers(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if the agent has no teachers, for one that does not fit the task, and for one without ground."""
    config = composed.config
    if composed.choices["stage"] != "train" or not config.experts:
        return
    if "use_teacher" not in static_types.methods(config.agent._target_):
        yield Problem(
            "", f"experts=: agent={composed.choices['agent']} has no teachers. Type agent=student, or remove it."
        )
        return
    files = [path for name, path in context.report.inputs.items() if name.startswith("experts.")]
    terrain = getattr(config.env, "terrain", None)
    if terrain is None or terrain.problems() or len(files) < len(config.experts):
        return  # reported by the sections; or another run has yet to make them
    trained_on = []
    for path in files:
        try:
            bundle = read_header(path)
        except RegimenError as error:
            yield Problem("", f"experts={path}: {error}")
            return
        trained_on.append(bundle.get("ground", []))
        lines = mismatches(bundle["io"], config, context.robot) if context.robot is not None else []
        if lines:
            yield Problem("", "\n  ".join([f"experts={path} does not fit task={composed.choices['task']}:", *lines]))
    try:
        teacher_of_kind(list(dict.fromkeys(terrain.column_kinds())), trained_on)
    except ConfigError as error:
        yield Problem("", str(error))
