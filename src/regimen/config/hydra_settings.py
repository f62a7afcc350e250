"""Settings of Hydra itself: those that Regimen reads, advice in place of the others, and sweeps written in files.

Read are `hydra.mode`, `hydra.sweeper`, `hydra.job.env_set` and the groups `hydra/sweeper` and `hydra/launcher`, as
arguments and in option files. All others have no effect on a run of Regimen, so they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override

from regimen.config.provenance import ValueSource
from regimen.config.yaml_io import PlainConfig
from regimen.system.errors import did_you_mean

MODES = ("RUN", "MULTIRUN")

READ = ("hydra.mode", "hydra.sweeper", "hydra.job.env_set", "hydra/sweeper", "hydra/launcher")

NAMED_BY_LAUNCHER = "the launcher names run directories itself. To find a run again name it: name=<word>."

ADVICE = {
    "hydra.run": NAMED_BY_LAUNCHER,
    "hydra.sweep": NAMED_BY_LAUNCHER,
    "hydra.output_subdir": "Hydra's record of a run is in .hydra/ of its directory; remove it.",
    "hydra.searchpath": "your own options are found with --config-dir <folder>.",
    "hydra.job.name": "name the run: name=<word>.",
    "hydra.job.chdir": "a run reads and writes relative to the folder in which it was started; remove it.",
    "hydra.launcher": "resources are set in `hardware`: hardware.max_jobs=2, or hardware.submitit.timeout_min=60.",
    "hydra.callbacks": "Regimen calls no callbacks of Hydra; remove it.",
    "hydra.verbose": "everything is in logs/ of the run directory; remove it.",
    "hydra.job_logging": "everything is in logs/ of the run directory; remove it.",
    "hydra.hydra_logging": "everything is in logs/ of the run directory; remove it.",
}
"""Setting of Hydra without effect -> what to do instead."""


@dataclass(frozen=True)
class FileSetting:
    """One setting in a `hydra:` section of an option file.

    Attributes:
        key: `hydra.mode`, `hydra.sweeper.n_trials`, …; of `hydra.sweeper.params` the whole mapping.
        value: its value.
        location: file and line.
        written: the value with numbers as the text that was written.
        primary: whether it stands in config.yaml, whose settings are defaults.
    """

    key: str
    value: Any
    location: str
    written: Any
    primary: bool


def file_settings(section: PlainConfig, source: ValueSource, primary: bool) -> Iterator[FileSetting]:
    """Yield the settings of a `hydra:` section.

    Args:
        section: its content.
        source: the option file.
        primary: whether the file is config.yaml.
    """
    pending = [("hydra", section)]
    while pending:
        key, value = pending.pop(0)
        if isinstance(value, dict) and value and key != "hydra.sweeper.params":
            pending = [(f"{key}.{name}", below) for name, below in value.items()] + pending
        elif key != "hydra":
            yield FileSetting(key, value, source.location(key), source.written(key), primary)


def file_problems(settings: list[FileSetting]) -> Iterator[str]:
    """Yield a line for each setting of the files that cannot be read."""
    for setting in settings:
        if problem := _problem(setting.key) or _mode_problem(setting.key, setting.value):
            yield f"{setting.location}: {problem}"
        elif setting.key == "hydra.sweeper.params":
            yield from _params_problems(setting)


def choice_problems(
    chosen: dict[str, str], known: Mapping[str, str | None], given: set[str], file: str
) -> Iterator[str]:
    """Yield a line for each option of Hydra's own groups in a file that has no effect.

    Args:
        chosen: group -> option, chosen by `override` lines of the file.
        known: group -> option of the composed configuration.
        given: groups on the command line, which comes first.
        file: name of the file in messages.
    """
    for group, option in chosen.items():
        line = f"{file}: `override /{group}: {option}`:"
        if (problem := _problem(group)) and option != "none":
            yield f"{line} {problem}"
        elif group == "hydra/launcher" and option != "regimen":
            yield f"{line} each run needs a process of its own: hydra/launcher=regimen."
        elif not problem and known.get(group) != option and group not in given:
            yield f"{line} has no effect; choose it in the experiment, or as an argument: {group}={option}."


def argument_problems(override: Override) -> Iterator[str]:
    """Yield a line if an argument is a setting of Hydra that cannot be read."""
    key, text = override.key_or_group, override.input_line or ""
    argument = f"argument `{text}`:"
    if key.startswith("hydra.sweeper.params"):
        param = key.removeprefix("hydra.sweeper.params").lstrip(".") or "seed"
        values = text.partition("=")[2] if param in key else "0,1,2"
        yield f"{argument} write the sweep itself: `-m {param}={values}`."
    elif problem := _problem(key):
        yield f"{argument} {problem}"
    elif override.is_sweep_override():
        yield f"{argument} a setting of the sweep has one value; start a sweep for each."
    elif key == "hydra/launcher" and override.value() != "regimen":
        yield f"{argument} a sweep needs a launcher that gives each run a process: hydra/launcher=regimen."
    elif override.is_delete():
        yield f"{argument} a setting of Hydra cannot be removed; set it to another value."
    elif mode := _mode_problem(key, override.value()):
        yield f"{argument} {mode}"


def params(settings: list[FileSetting]) -> list[str]:
    """Return the `hydra.sweeper.params` of the files as arguments; a later file replaces keys of an earlier one."""
    merged: dict[str, str] = {}
    for setting in settings:
        if setting.key == "hydra.sweeper.params" and setting.value:
            merged |= {
                str(k): v if isinstance(v, str) else str(setting.written[str(k)]) for k, v in setting.value.items()
            }
    return [f"{key}={value}" for key, value in merged.items()]


def text_arguments(settings: list[FileSetting], quote: Any) -> list[str]:
    """Return arguments for the settings of files whose values are text, as they were written.

    Args:
        settings: settings of the files.
        quote: returns text in quotes.
    """
    return [f"{s.key}={quote(s.written)}" for s in settings if is_text(s.key) and isinstance(s.value, int | float)]


def is_text(key: str) -> bool:
    """Return whether a setting of Hydra is text, so that 1e3 stays 1e3."""
    return key in ("hydra.sweeper.study_name", "hydra.sweeper.storage") or is_variable(key)


def is_variable(key: str) -> bool:
    """Return whether a setting of Hydra is an environment variable of the job, or a mapping of several."""
    return key == "hydra.job.env_set" or key.startswith("hydra.job.env_set.")


def _problem(key: str) -> str | None:
    if any(key == name or key.startswith((f"{name}.", f"{name}/")) for name in READ):
        return None
    dotted = key.replace("/", ".")
    advice = next((text for name, text in ADVICE.items() if f"{dotted}.".startswith(f"{name}.")), None)
    return f"`{key}` has no effect: {advice or 'read are hydra.mode, hydra.sweeper and hydra.job.env_set; remove it.'}"


def _mode_problem(key: str, value: Any) -> str | None:
    if key != "hydra.mode" or value in MODES or value is None:
        return None
    return f"`hydra.mode={value}`: {did_you_mean(str(value), MODES)}"


def _params_problems(setting: FileSetting) -> Iterator[str]:
    if setting.value is None:
        return
    if not isinstance(setting.value, dict):
        yield f"{setting.location}: `hydra.sweeper.params` holds keys with their values, such as `seed: 0,1,2`."
        return
    for key, value in setting.value.items():
        if isinstance(value, dict):
            inner = next(iter(value), "key")
            yield f"{setting.location}: `{key}` in hydra.sweeper.params: write dotted keys: `{key}.{inner}: a,b,c`."
        elif isinstance(value, list):
            listed = ",".join(map(str, value))
            yield f"{setting.location}: `{key}` in hydra.sweeper.params: write its values as text: `{key}: {listed}`."
