"""Apply the command line to a pipeline: its size, values of the size, and existing runs in place of steps."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from regimen.config import structured
from regimen.config.groups import GROUPS, MULTI_GROUPS
from regimen.config.schema import Config
from regimen.config.yaml_io import parse_exactly
from regimen.orchestration.pipeline.graph import NAME, Pipeline, StepCfg, argument_text, foreach_keys, step_of
from regimen.system.errors import ConfigError, did_you_mean, raise_if_any

SIZE = "size"
PLACEHOLDER = re.compile(r"\{([\w]+)\}")


@dataclass
class PipelineOptions:
    """The options of a pipeline on the command line.

    Attributes:
        size: one of the sizes of the file; None for a file without sizes.
        values: name -> value, from the size and the command line.
        given: step -> reference that replaces its result.
        arguments: remaining arguments, for every step.
    """

    size: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)


def choose(pipeline: Pipeline, arguments: list[str]) -> tuple[Pipeline, list[str]]:
    """Return the pipeline with its size and values applied, and the arguments for its steps.

    Args:
        pipeline: the pipeline file.
        arguments: arguments of the command line.

    Raises:
        ConfigError: an unknown size, value or key, a size that lacks a value, or an argument that a `foreach` sets.
    """
    raise_if_any(list(_names(pipeline)))
    options = _parse_options(pipeline, arguments)
    chosen = _apply(pipeline, options)
    raise_if_any([line for text in options.arguments for line in _of_foreach(pipeline, chosen, text)])
    return chosen, options.arguments


def _parse_options(pipeline: Pipeline, arguments: list[str]) -> PipelineOptions:
    sizes, steps = pipeline.config.sizes, {step.name for step in pipeline.config.steps}
    options = PipelineOptions(next(iter(sizes), None), arguments=[])
    for text in arguments:
        key, _, value = text.partition("=")
        if key == SIZE:
            if not sizes:
                raise ConfigError(f"argument `{text}`: pipeline `{pipeline.name}` has no sizes. Remove it.")
            if value not in sizes:
                raise ConfigError(f"argument `{text}`: {did_you_mean(value, sizes)}")
            options.size = value
        elif key in _values(pipeline) and value:
            options.values[key] = _parsed(text, value)
        elif key in steps and value:
            options.given[key] = value
        elif key in steps:
            raise ConfigError(f"argument `{text}`: a step. Type {key}=<run> to replace its result by a run or a file.")
        elif key in _values(pipeline):
            raise ConfigError(f"argument `{text}`: a value of the size. Type {key}=<value>, or leave it out.")
        else:
            _require_key(text, key, [*_values(pipeline), *steps, *([SIZE] if sizes else [])])
            options.arguments.append(text)
    options.values = {**(sizes[options.size] if options.size else {}), **options.values}
    return options


def _require_key(text: str, key: str, names: Iterable[str]) -> None:
    """Raise for a key that belongs neither to the pipeline nor to the configuration of its steps."""
    plain = {*structured.field_types(Config), *GROUPS, *MULTI_GROUPS}
    if "=" in text and key.isidentifier() and key not in plain:
        raise ConfigError(f"argument `{text}`: there is no key `{key}`. {did_you_mean(key, [*names, *plain])}")


def _values(pipeline: Pipeline) -> dict[str, Any]:
    """Return the values of the first size; all sizes have the same names."""
    return next(iter(pipeline.config.sizes.values()), {})


def _of_foreach(pipeline: Pipeline, chosen: Pipeline, argument: str) -> Iterator[str]:
    """Yield a line if an argument sets a key of a `foreach`: all runs of the step would be the same one.

    Args:
        pipeline: the pipeline file.
        chosen: the same with its values inserted, without disabled steps.
        argument: argument for every step.
    """
    key, _, value = argument.partition("=")
    key = key.lstrip("+~")
    steps = enumerate(chosen.config.steps)
    numbers = {step.name: n for n, step in steps if step.name not in chosen.given and key in foreach_keys(step)}
    if not numbers:
        return
    written = [step.foreach for step in pipeline.config.steps if step.name in numbers]
    names = [PLACEHOLDER.fullmatch(str(foreach.get(key))) for foreach in written if isinstance(foreach, dict)]
    values = dict.fromkeys(name[1] for name in names if name and name[1] in _values(pipeline))
    typed = " ".join(f"{name}=[{value}]" for name in values)
    advice = f"Type {typed}." if typed else "Change the values there, or remove the argument."
    step, number = next(iter(numbers.items()))
    at = chosen.at(f"steps.{number}.foreach")
    yield f"argument `{argument}`: step `{step}` has a run for each `{key}` of its `foreach`, {at}. {advice}"


def _parsed(text: str, value: str) -> Any:
    try:
        return parse_exactly(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"argument `{text}`: expected a value, or a list such as [0,1].") from error


def _names(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for each size that lacks a value of another, and each value with a reserved name."""
    taken = {
        **dict.fromkeys(structured.field_types(Config), "a key of the configuration"),
        SIZE: "the key that selects a size",
    }
    taken |= {step.name: "a step" for step in pipeline.config.steps}
    all_names = {name for values in pipeline.config.sizes.values() for name in values}
    for size, values in pipeline.config.sizes.items():
        if lacking := sorted(all_names - set(values)):
            yield f"{pipeline.at(f'sizes.{size}')}: size `{size}` lacks {', '.join(lacking)}, which another size has."
        for name in values:
            at = pipeline.at(f"sizes.{size}.{name}")
            if name in taken:
                yield f"{at}: `{name}` is {taken[name]}. Rename the value."
            elif not NAME.fullmatch(name):
                yield f"{at}: `{name}` is no valid name of a value: letters, digits and `_`, starting with a letter."


def _apply(pipeline: Pipeline, options: PipelineOptions) -> Pipeline:
    """Return the pipeline with its values inserted, without the steps that `when` disables."""
    steps = pipeline.config.steps
    wrong = [line for n, step in enumerate(steps) for line in _wrong_when(pipeline, n, step, options.values)]
    raise_if_any(wrong)
    kept = [n for n, step in enumerate(steps) if step.when is None or options.values[step.when]]
    disabled = {step.name for n, step in enumerate(steps) if n not in kept}
    config = replace(pipeline.config, steps=[_with_values(copy.deepcopy(steps[n]), options.values) for n in kept])
    config.overrides = [_insert(text, options.values) for text in config.overrides]
    new = {f"steps.{n}": f"steps.{i}" for i, n in enumerate(kept)}
    lines = {_renamed(path, new): line for path, line in pipeline.lines.items() if _renamed(path, new)}
    result = replace(pipeline, config=config, lines=lines, given=options.given, size=options.size or "")
    raise_if_any([line for number in range(len(kept)) for line in _disabled_inputs(result, number, disabled)])
    return result


def _wrong_when(pipeline: Pipeline, number: int, step: StepCfg, values: Mapping[str, Any]) -> Iterator[str]:
    if step.when is not None and not isinstance(values.get(step.when), bool):
        hint = did_you_mean(step.when, [name for name, value in values.items() if isinstance(value, bool)])
        yield f"{pipeline.at(f'steps.{number}.when')}: `when` names a value of `sizes` that is true or false. {hint}"


def _renamed(path: str, new: Mapping[str, str]) -> str:
    """Return the path of a line after steps were removed, empty for a removed step."""
    if not path.startswith("steps."):
        return path
    head = ".".join(path.split(".")[:2])
    return f"{new[head]}{path[len(head) :]}" if head in new else ""


def _disabled_inputs(pipeline: Pipeline, number: int, names: set[str]) -> Iterator[str]:
    """Remove disabled steps from lists of inputs; yield a line for each single input that needs one."""
    step = pipeline.config.steps[number]
    for key, value in step.inputs.items():
        if isinstance(value, list):
            step.inputs[key] = [text for text in value if step_of(text) not in names]
        elif step_of(value) in names:
            at = pipeline.at(f"steps.{number}.inputs.{key}")
            yield f"{at}: step `{step.name}` needs `{step_of(value)}`, which its `when` disables."


def _with_values(step: StepCfg, values: Mapping[str, Any]) -> StepCfg:
    step.overrides = [_insert(text, values) for text in step.overrides]
    step.foreach, step.inputs = _insert(step.foreach, values), _insert(step.inputs, values)
    return step


def _insert(node: Any, values: Mapping[str, Any]) -> Any:
    """Return `node` with `{name}` replaced: by the value if it is the whole text, otherwise by its text."""
    if isinstance(node, dict):
        return {key: _insert(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_insert(value, values) for value in node]
    if not isinstance(node, str):
        return node
    whole_text = PLACEHOLDER.fullmatch(node)
    if whole_text and whole_text[1] in values:
        return copy.deepcopy(values[whole_text[1]])
    return PLACEHOLDER.sub(lambda m: argument_text(values[m[1]]) if m[1] in values else m[0], node)
