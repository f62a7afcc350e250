"""Whether a policy can do the task while nothing is broken: tried before data are collected with it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from regimen.envs import open_env
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.evaluation.metrics import EvaluationMetrics, compute_all_metrics
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config, GateCfg
    from regimen.runs.run import Run

RESAMPLES = 200
"""Behind the intervals of the figures, which decide nothing here."""


def require_good_policy(
    run: Run, config: Config, bundle: dict[str, Any], envs_per_command: int, accept: str | None
) -> dict[str, Any]:
    """Try the policy for one episode without faults and disturbances, and compare it with `env.evaluation.gate`.

    Args:
        run: shows progress.
        config: of the collection.
        bundle: the policy's checkpoint.
        envs_per_command: envs for each command of the task's grid.
        accept: why a policy that does not pass is taken nevertheless.

    Returns:
        What was measured, what was needed, what fell short, and the reason given, for the record.

    Raises:
        ConfigError: the policy does not pass, and no reason is given.
    """
    gate: GateCfg = config.env.evaluation.gate
    record: dict[str, Any] = {"at_least": gate.at_least, "at_most": gate.at_most, "accept": accept}
    if not gate.at_least and not gate.at_most:
        return record | {"measured": {}, "short": []}
    figures = {name: figure.value for name, figure in _judge(run, config, bundle, envs_per_command).figures.items()}
    short = _short(gate, figures)
    needed = [*gate.at_least, *gate.at_most]
    if short and accept is None:
        raise ConfigError(
            f"The policy {config.policy} does not do what task={config.choices.get('task')} needs before data are "
            f"collected with it, measured without faults in {envs_per_command} envs for each command: "
            f"{'; '.join(short)}. Train it further or choose another; to take it as it is, say why: "
            'stage.accept="<reason>".'
        )
    if short:
        run.warn(f"The policy does not pass the gate ({'; '.join(short)}); accepted: {accept}")
    return record | {"measured": {name: figures[name] for name in needed if name in figures}, "short": short}


def _short(gate: GateCfg, figures: dict[str, float]) -> list[str]:
    """Return one line for each figure that is not reached; a figure that is not measured is not reached."""
    lines = []
    for bounds, sign, word in ((gate.at_least, 1.0, "at least"), (gate.at_most, -1.0, "at most")):
        for name, bound in bounds.items():
            value = figures.get(name)
            if value is None:
                lines.append(f"{name} is not measured ({', '.join(sorted(figures))} are), needed {word} {bound:g}")
            elif not sign * value >= sign * bound:
                lines.append(f"{name} {value:.3g}, needed {word} {bound:g}")
    return lines


def _judge(run: Run, config: Config, bundle: dict[str, Any], envs_per_command: int) -> EvaluationMetrics:
    """Return the figures of the policy over all commands of the grid, nothing being broken."""
    evaluate = Evaluate(EvaluateCfg(envs_per_command=envs_per_command, bootstrap=RESAMPLES))
    config = evaluate.prepare(copy.deepcopy(config))
    config.video = False
    for name in config.env.evaluation.faults:
        config.env.events[name] = None
    env = open_env(config)
    try:
        table, _ = evaluate.roll_out(run, config, env, bundle)
    finally:
        env.close()
    return compute_all_metrics(table, config.env.evaluation.grid or [[]], RESAMPLES, config.seed)[0]
