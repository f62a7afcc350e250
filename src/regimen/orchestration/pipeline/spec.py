"""The file of a pipeline, `conf/pipeline/<name>.yaml`: read, typed, and every mistake told with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING

from regimen.config import groups, structured
from regimen.config.compose import refuse
from regimen.config.provenance import shown
from regimen.config.validation import Checker
from regimen.config.yaml_io import key_lines, read_yaml
from regimen.system.errors import ConfigError, did_you_mean

NAME = re.compile(r"[A-Za-z][\w-]*")
"""What a step may be called: the name becomes part of run names, where a dot stands before a value of `foreach`."""


@dataclass
class StepCfg:
    """One step: a run, or with `foreach` several.

    Attributes:
        name: by which other steps refer to it.
        stage: option of `stage`.
        overrides: arguments as on the command line; `{seed}` stands for a value of `foreach`.
        inputs: key of the configuration, such as `policy` -> step, with `@best`, `@last` or `@<step>` for a policy.
        foreach: a step's name: one run for each of its runs; a mapping of keys to lists: one for each combination of
            values (the key `step` may name a step); a list of mappings: these combinations and no others.
        when: value of the chosen size that must be true; otherwise the step is left out.
    """

    name: str = MISSING
    stage: str = MISSING
    overrides: list[str] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    foreach: Any = None
    when: str | None = None


@dataclass
class PipelineCfg:
    """The whole file.

    Attributes:
        steps: in any order.
        overrides: arguments that every step gets before its own.
        sizes: what `size=` chooses from, the first by default: name -> values, which stand as `{value}` in the steps.
    """

    steps: list[StepCfg] = MISSING
    overrides: list[str] = field(default_factory=list)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Pipeline:
    """A file whose form is sound.

    Attributes:
        name: of the file.
        file: the file.
        config: its content.
        lines: dotted path -> line, counted from 1.
        given: step -> reference to what stands in its place, see `choices`.
        size: the chosen one; empty for a file without any.
    """

    name: str
    file: Path
    config: PipelineCfg
    lines: dict[str, int]
    given: dict[str, str] = field(default_factory=dict)
    size: str = ""

    def at(self, path: str) -> str:
        """Return `file:line` of a path such as `steps.0.inputs.policy`, or of the nearest one above it."""
        return _at(self.file, self.lines, path)


def read(name: str, config_dirs: list[Path]) -> Pipeline:
    """Read the pipeline of this name.

    Args:
        name: of the file, without `.yaml`.
        config_dirs: folders of options, the first that has it wins.

    Raises:
        ConfigError: there is none, or it is not well formed; the message lists everything.
    """
    known = groups.options("pipeline", config_dirs)
    if name not in known:
        raise ConfigError(f"There is no pipeline `{name}`. {did_you_mean(name, known)}")
    file = next(f for d in config_dirs if (f := d / "pipeline" / f"{name}.yaml").is_file())
    data, lines = _load(file)
    wrong = [(p.path, p.message) for p in Checker(lambda path: True).check(PipelineCfg, data, "")]
    refuse([f"{_at(file, lines, path)}: {_said(message)}" for path, message in wrong])
    pipeline = Pipeline(name, file, structured.build(PipelineCfg, data), lines)
    refuse(list(_names(pipeline)))
    return pipeline


def _load(file: Path) -> tuple[Any, dict[str, int]]:
    """Return the content and the line of each path in it."""
    try:
        lines = {".".join(keys): line for keys, line in key_lines(file).items()}
        data = read_yaml(file) or {}
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{shown(file)}{line}: not valid YAML: {error.problem}.") from error
    return data, lines


def _at(file: Path, lines: dict[str, int], path: str) -> str:
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return f"{shown(file)}:{lines[path]}" if path in lines else shown(file)


def _said(message: str) -> str:
    """Return what the checker says of a key as it is said of a file, whose keys have nothing above them."""
    message = re.sub(r"`\.(?=\w)", "`", message.replace(" in ``", " here").replace("``", "the file"))
    return re.sub(r"write `[\w.]+=\[\.\.\.\]`", "write `[...]`", message)


def _names(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for each name that is no name or taken, and for a file without steps."""
    seen: dict[str, str] = {}
    for number, step in enumerate(pipeline.config.steps):
        at = pipeline.at(f"steps.{number}.name")
        if not NAME.fullmatch(step.name):
            yield f"{at}: `{step.name}` cannot name a step: letters, digits, `_` and `-`, the first one a letter."
        elif step.name in seen:
            yield f"{at}: there are two steps `{step.name}`; the other stands at {seen[step.name]}. Rename one."
        seen.setdefault(step.name, at)
    if not seen:
        yield f"{pipeline.at('steps')}: the pipeline has no steps."
