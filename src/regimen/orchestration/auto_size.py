"""`env.num_envs=auto`: choose the number of environments by a short measurement before the run is made.

Two short trainings measure seconds for a step of N environments with its share of the update, and memory. A step takes
about a + b N seconds, so that the rate N / (a + b N) rises towards 1 / b: the smallest power of two with 97 % of it is
chosen, if it fits into memory. More environments make the updates fewer for the same samples, without a gain in speed.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig, compose
from regimen.envs.task_io import environment_of_child
from regimen.orchestration import memory_check
from regimen.orchestration.preflight import preflight
from regimen.orchestration.preflight_report import PreflightReport
from regimen.runs.record_parts import SizeChoice, Trial
from regimen.system import files, host
from regimen.system.errors import ConfigError, PreflightError

AUTO = "env.num_envs=auto"
MODULE = "regimen.stages.size_trial"

SIZES = {"cpu": (64, 512), "gpu": (512, 4096)}
"""Numbers of envs that are measured, where the physics are on a CPU and on a GPU."""

MOST = {"cpu": 8192, "gpu": 65536}
"""The largest number that is chosen."""

SHARE = 0.97
"""Share of the highest rate that the chosen number has to reach."""

MARGIN = 0.9
"""Share of the free memory that the chosen number may take."""

TRIAL_S = 900.0
"""Time limit of a measurement; kernels that are compiled first take minutes."""


@dataclass(frozen=True)
class Sized:
    """A checked configuration with a chosen number of environments, and how it was chosen."""

    composed: ComposedConfig
    report: PreflightReport
    choice: SizeChoice


def is_auto(overrides: Sequence[str]) -> bool:
    """Return whether the arguments ask for a measurement: the last one that sets `env.num_envs` counts."""
    given = [o.lstrip("+") for o in overrides if o.lstrip("+").startswith("env.num_envs=")]
    return bool(given) and given[-1] == AUTO


def refuse_in(what: str, overrides: Sequence[str]) -> None:
    """Raise where `env.num_envs=auto` stands among the arguments of several runs.

    Args:
        what: such as `a sweep`.
        overrides: the arguments.

    Raises:
        ConfigError: it does.
    """
    if any(o.lstrip("+") == AUTO for o in overrides):
        raise ConfigError(f"{AUTO}: it is measured for one run, and this is {what}. {_BY_HAND}")


_BY_HAND = f"Type `python launch.py … {AUTO} dry_run=true` on such a machine, and here the number that it prints."


def choose(overrides: list[str], config_dirs: list[Path], root: Path) -> Sized:
    """Measure, choose, and return the configuration with the chosen number in place of `auto`.

    Args:
        overrides: arguments of one run, with `env.num_envs=auto`.
        config_dirs: folder of config.yaml, then the user's own.
        root: folder of the run directory.

    Raises:
        ConfigError: all problems of the configuration, or why it cannot be measured here.
        PreflightError: a measurement failed.
    """
    small = _with_size(overrides, SIZES["cpu"][0])
    composed = compose(small, config_dirs)
    _require_measurable(composed)
    kind = "gpu" if str(getattr(composed.config.sim, "device", "cpu")).startswith("cuda") else "cpu"
    report = preflight(composed, root)
    trials = [measured(composed, size) for size in SIZES[kind] if _fits(composed, size)]
    if len(trials) < 2:
        raise ConfigError(f"{AUTO}: {SIZES[kind][-1]} envs do not fit into memory. Type a number of envs.")
    choice = chosen(trials, _most_that_fit(composed, report, trials, MOST[kind]))
    final = compose(_with_size(overrides, choice.num_envs), config_dirs)
    return Sized(final, preflight(final, root), choice)


def chosen(trials: Sequence[Trial], most: int) -> SizeChoice:
    """Return the number of environments that two measurements suggest.

    Args:
        trials: of two sizes, the smaller first.
        most: the largest number that fits into memory and may be chosen.
    """
    few, many = trials
    per_env = (many.step_s - few.step_s) / (many.num_envs - few.num_envs)
    fixed = few.step_s - per_env * few.num_envs
    wanted: float
    if per_env <= 0:
        wanted, reason = most, "more envs cost no time here"
    elif fixed <= 0:
        wanted, reason = few.num_envs, "more envs than measured make no samples faster"
    else:
        wanted, reason = SHARE / (1 - SHARE) * fixed / per_env, f"{SHARE:.0%} of the highest rate"
    power = 1
    while power < wanted:
        power *= 2
    if power > most:
        power, reason = 2 ** (max(1, most).bit_length() - 1), f"the most that may be taken, up to {most}"
    rate = power / max(fixed + per_env * power, 1e-9)
    return SizeChoice(power, reason, round(rate, 1), list(trials))


def described(choice: SizeChoice) -> str:
    """Return what was measured, what was chosen and why, as one line."""
    measured = ", ".join(
        f"{trial.num_envs} envs make {trial.num_envs / trial.step_s:.0f} samples/s" for trial in choice.trials
    )
    return (
        f"{AUTO}: measured: {measured}; chosen: env.num_envs={choice.num_envs}, about {choice.samples_per_s:.0f} "
        f"samples/s ({choice.reason})"
    )


def _with_size(overrides: Sequence[str], size: int) -> list[str]:
    return [o.replace(AUTO, f"env.num_envs={size}") if o.lstrip("+") == AUTO else o for o in overrides]


def _require_measurable(composed: ComposedConfig) -> None:
    hardware, stage = composed.config.hardware, composed.choices["stage"]
    if hardware.scheduler:
        raise ConfigError(f"{AUTO}: the machine of a job of {hardware.scheduler} is not this one. {_BY_HAND}")
    if stage != "train":
        raise ConfigError(f"{AUTO}: stage={stage} does not train. Type a number of envs.")
    if hardware.workers() > 1 or hardware.channel is not None:
        raise ConfigError(f"{AUTO}: one process is measured, and this run has several. Type a number of envs.")
    if not hasattr(composed.config.env, "num_envs"):
        raise ConfigError(f"{AUTO}: task={composed.choices['task']} has no number of envs. Remove it.")


def _fits(composed: ComposedConfig, size: int) -> bool:
    """Return whether preflight accepts a size."""
    sized = composed.copy()
    sized.set_value("env.num_envs", size)
    try:
        preflight(sized, Path("outputs"))
    except ConfigError:
        return False
    return True


def _most_that_fit(composed: ComposedConfig, report: PreflightReport, trials: Sequence[Trial], most: int) -> int:
    """Return the largest power of two whose memory fits, by the estimate and by what was measured.

    Args:
        composed: checked configuration.
        report: free memory.
        trials: two measurements.
        most: the largest number that may be chosen, a power of two.
    """
    places = [("main_bytes", report.available), ("gpu_bytes", report.gpu_available)]
    size = trials[0].num_envs
    while size < most:
        sized = composed.copy()
        sized.set_value("env.num_envs", 2 * size)
        estimated = memory_check.estimate_of(sized)
        for name, available in places:
            taken = max(getattr(estimated, name), _line(trials, name, 2 * size))
            if available is not None and taken > MARGIN * available:
                return size
        size *= 2
    return size


def _line(trials: Sequence[Trial], name: str, size: int) -> float:
    """Return the bytes of `size` envs on the line through two measurements."""
    few, many = trials
    low, high = getattr(few, name), getattr(many, name)
    return float(low + (high - low) * (size - few.num_envs) / (many.num_envs - few.num_envs))


def measured(composed: ComposedConfig, size: int) -> Trial:
    """Train with `size` envs for some iterations in the interpreter of the run.

    Raises:
        PreflightError: the process failed.
    """
    sized = composed.copy()
    sized.set_value("env.num_envs", size)
    config: dict[str, Any] = {**sized.plain, "logger": {}}
    with tempfile.TemporaryDirectory(prefix="regimen-") as folder:
        target = Path(folder) / "trial.json"
        command = [host.interpreter(composed.plain), "-W", "ignore", "-m", MODULE, str(target)]
        try:
            done = subprocess.run(
                command, input=json.dumps(config), capture_output=True, text=True, timeout=TRIAL_S, check=False,
                env=environment_of_child() | composed.environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise PreflightError(f"{AUTO}: no measurement in {TRIAL_S:g} s. Type a number of envs.") from error
        data = files.read_json(target)
    if done.returncode != 0 or data is None:
        lines = done.stderr.strip().splitlines() or ["no message"]
        last = textwrap.shorten(lines[-1], 300, placeholder=" …")
        raise PreflightError(f"{AUTO}: the measurement of {size} envs failed: {last}")
    return Trial.from_dict(data)
