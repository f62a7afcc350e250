"""Read and check the file of a pipeline, `conf/pipeline/<name>.yaml`; errors name the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING

from regimen.config import groups, structured
from regimen.config.provenance import display_path
from regimen.config.validation import Checker
from regimen.config.yaml_io import key_lines, parse_exactly, read_text
from regimen.system.errors import ConfigError, did_you_mean, raise_if_any

NAME = re.compile(r"[A-Za-z][\w-]*")
"""Names of steps. They become part of run names, where a dot separates the values of `foreach`."""


@dataclass
class StepCfg:
    """One step: a run, or with `foreach` several.

    Attributes:
        name: name by which other steps refer to it.
        stage: option of `stage`.
        overrides: arguments as on the command line; `{seed}` is replaced by a value of `foreach`.
        inputs: key of the configuration, such as `policy` -> step, with `@best`, `@last` or `@<step>` for a policy.
        foreach: a step's name: one run for each of its runs; a mapping of keys to lists: one for each combination of
            values (the key `step` may name a step); a list of mappings: one run for each mapping.
        when: name of a value of the size; the step is disabled if it is false.
    """

    name: str = MISSING
    stage: str = MISSING
    overrides: list[str] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    foreach: Any = None
    when: str | None = None


@dataclass
class PipelineCfg:
    """Content of a pipeline file.

    Attributes:
        steps: the steps, in any order.
        overrides: arguments of every step, before its own.
        sizes: options of `size=`, the first by default: name -> values, written as `{value}` in the steps.
    """

    steps: list[StepCfg] = MISSING
    overrides: list[str] = field(default_factory=list)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Pipeline:
    """A valid pipeline file.

    Attributes:
        name: name of the file, without `.yaml`.
        file: path.
        config: content.
        lines: dotted path -> line, from 1.
        given: step -> reference that replaces its result, see `sizes`.
        size: the selected size; empty for a file without sizes.
    """

    name: str
    file: Path
    config: PipelineCfg
    lines: dict[str, int]
    given: dict[str, str] = field(default_factory=dict)
    size: str = ""

    def at(self, path: str) -> str:
        """Return `file:line` of a path such as `steps.0.inputs.policy`, or of its nearest parent."""
        return _at(self.file, self.lines, path)


def read(name: str, config_dirs: list[Path]) -> Pipeline:
    """Read and check a pipeline file.

    Args:
        name: name of the file, without `.yaml`.
        config_dirs: folders of options; the first with such a file wins.

    Raises:
        ConfigError: the file does not exist or is invalid; the message lists all problems.
    """
    names = groups.options("pipeline", config_dirs)
    if name not in names:
        raise ConfigError(f"There is no pipeline `{name}`. {did_you_mean(name, names)}")
    file = next(f for d in config_dirs if (f := d / "pipeline" / f"{name}.yaml").is_file())
    data, lines = _load(file)
    wrong = [(p.path, p.message) for p in Checker(lambda path: True).check(PipelineCfg, data, "")]
    raise_if_any([f"{_at(file, lines, path)}: {_reworded(message)}" for path, message in wrong])
    pipeline = Pipeline(name, file, structured.build(PipelineCfg, data), lines)
    raise_if_any(list(_names(pipeline)))
    return pipeline


def _load(file: Path) -> tuple[Any, dict[str, int]]:
    """Return the content and the line of each path."""
    try:
        lines = {".".join(keys): line for keys, line in key_lines(file).items()}
        data = parse_exactly(read_text(file)) or {}
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{display_path(file)}{line}: not valid YAML: {error.problem}.") from error
    return data, lines


def _at(file: Path, lines: dict[str, int], path: str) -> str:
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return f"{display_path(file)}:{lines[path]}" if path in lines else display_path(file)


def _reworded(message: str) -> str:
    """Reword a message of the config checker for a file, whose top level has no parent key."""
    message = re.sub(r"`\.(?=\w)", "`", message.replace(" in ``", " here").replace("``", "the file"))
    return re.sub(r"write `[\w.]+=\[\.\.\.\]`", "write `[...]`", message)


def _names(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for each invalid or duplicate name of a step, and for a file without steps."""
    places: dict[str, str] = {}
    for number, step in enumerate(pipeline.config.steps):
        at = pipeline.at(f"steps.{number}.name")
        if not NAME.fullmatch(step.name):
            yield f"{at}: `{step.name}` is no valid name of a step: letters, digits, `_`, `-`, starting with a letter."
        elif step.name in places:
            yield f"{at}: duplicate step `{step.name}`, also at {places[step.name]}. Rename one."
        places.setdefault(step.name, at)
    if not places:
        yield f"{pipeline.at('steps')}: the pipeline has no steps."
