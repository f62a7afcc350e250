"""What the command line chooses of a pipeline: its size, single values of that, and steps that are there already."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from regimen.config import structured
from regimen.config.compose import refuse
from regimen.config.groups import GROUPS, MULTI_GROUPS
from regimen.config.schema import Config
from regimen.config.yaml_io import parse_yaml
from regimen.orchestration.pipeline.graph import argument_text, step_of
from regimen.orchestration.pipeline.spec import NAME, Pipeline, StepCfg
from regimen.system.errors import ConfigError, did_you_mean

SIZE = "size"
VALUE = re.compile(r"\{([\w]+)\}")


@dataclass
class Choices:
    """What was chosen.

    Attributes:
        size: one of the file's sizes; None for a file without any.
        values: name -> value, of the size and as given on the command line.
        given: step -> reference to what stands in its place.
        arguments: what is left: arguments for every step.
    """

    size: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)


def choose(pipeline: Pipeline, arguments: list[str]) -> tuple[Pipeline, list[str]]:
    """Return the pipeline as it was chosen, and the arguments that are for its steps.

    Args:
        pipeline: the file.
        arguments: from the command line.

    Raises:
        ConfigError: there is no such size or value, or a step lacks what another size has.
    """
    refuse(list(_names(pipeline)))
    chosen = _chosen(pipeline, arguments)
    return _applied(pipeline, chosen), chosen.arguments


def _chosen(pipeline: Pipeline, arguments: list[str]) -> Choices:
    sizes, steps = pipeline.config.sizes, {step.name for step in pipeline.config.steps}
    chosen = Choices(next(iter(sizes), None), arguments=[])
    for text in arguments:
        key, _, value = text.partition("=")
        if key == SIZE and sizes:
            if value not in sizes:
                raise ConfigError(f"argument `{text}`: {did_you_mean(value, sizes)}")
            chosen.size = value
        elif key in _values(pipeline):
            chosen.values[key] = _parsed(text, value)
        elif key in steps:
            chosen.given[key] = value
        else:
            _require_key(text, key, [*_values(pipeline), *steps])
            chosen.arguments.append(text)
    chosen.values = {**(sizes[chosen.size] if chosen.size else {}), **chosen.values}
    return chosen


def _require_key(text: str, key: str, names: Iterable[str]) -> None:
    """Refuse a plain key that is neither the pipeline's nor of its steps' configuration, once for all steps."""
    plain = {*structured.hints(Config), *GROUPS, *MULTI_GROUPS}
    if "=" in text and key.isidentifier() and key not in plain:
        raise ConfigError(f"argument `{text}`: There is no key `{key}`. {did_you_mean(key, [*names, SIZE, *plain])}")


def _values(pipeline: Pipeline) -> dict[str, Any]:
    """Return the values of the first size; all sizes have the same names."""
    return next(iter(pipeline.config.sizes.values()), {})


def _parsed(text: str, value: str) -> Any:
    try:
        return parse_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"argument `{text}`: expected a value, or a list such as [0,1].") from error


def _names(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line for each size that lacks a value of another, and each value whose name means something else."""
    taken = {**dict.fromkeys(structured.hints(Config), "a key of the configuration"), SIZE: "what chooses a size"}
    taken |= {step.name: "a step" for step in pipeline.config.steps}
    known = {name for values in pipeline.config.sizes.values() for name in values}
    for size, values in pipeline.config.sizes.items():
        if lacking := sorted(known - set(values)):
            yield f"{pipeline.at(f'sizes.{size}')}: size `{size}` lacks {', '.join(lacking)}, which another size has."
        for name in values:
            at = pipeline.at(f"sizes.{size}.{name}")
            if name in taken:
                yield f"{at}: `{name}` is {taken[name]} already. Rename the value."
            elif not NAME.fullmatch(name):
                yield f"{at}: `{name}` cannot name a value: letters, digits and `_`, the first one a letter."


def _applied(pipeline: Pipeline, chosen: Choices) -> Pipeline:
    """Return the pipeline with its values put in, without the steps that are left out."""
    steps = pipeline.config.steps
    wrong = [line for n, step in enumerate(steps) for line in _wrong_when(pipeline, n, step, chosen.values)]
    refuse(wrong)
    kept = [n for n, step in enumerate(steps) if step.when is None or chosen.values[step.when]]
    left_out = {step.name for n, step in enumerate(steps) if n not in kept}
    config = replace(pipeline.config, steps=[_placed(copy.deepcopy(steps[n]), chosen.values) for n in kept])
    config.overrides = [_put(text, chosen.values) for text in config.overrides]
    new = {f"steps.{n}": f"steps.{i}" for i, n in enumerate(kept)}
    lines = {_renamed(path, new): line for path, line in pipeline.lines.items() if _renamed(path, new)}
    result = replace(pipeline, config=config, lines=lines, given=chosen.given, size=chosen.size or "")
    refuse([line for number in range(len(kept)) for line in _left_out(result, number, left_out)])
    return result


def _wrong_when(pipeline: Pipeline, number: int, step: StepCfg, values: Mapping[str, Any]) -> Iterator[str]:
    if step.when is not None and not isinstance(values.get(step.when), bool):
        hint = did_you_mean(step.when, [name for name, value in values.items() if isinstance(value, bool)])
        yield f"{pipeline.at(f'steps.{number}.when')}: `when` names a value of `sizes` that is true or false. {hint}"


def _renamed(path: str, new: Mapping[str, str]) -> str:
    """Return the path of a line after steps were left out, empty for one of these steps."""
    if not path.startswith("steps."):
        return path
    head = ".".join(path.split(".")[:2])
    return f"{new[head]}{path[len(head) :]}" if head in new else ""


def _left_out(pipeline: Pipeline, number: int, names: set[str]) -> Iterator[str]:
    """Take steps that are left out away from lists of inputs; yield a line for each that is needed."""
    step = pipeline.config.steps[number]
    for key, value in step.inputs.items():
        if isinstance(value, list):
            step.inputs[key] = [text for text in value if step_of(text) not in names]
        elif step_of(value) in names:
            at = pipeline.at(f"steps.{number}.inputs.{key}")
            yield f"{at}: step `{step.name}` needs `{step_of(value)}`, which is left out by its `when`."


def _placed(step: StepCfg, values: Mapping[str, Any]) -> StepCfg:
    step.overrides = [_put(text, values) for text in step.overrides]
    step.foreach, step.inputs = _put(step.foreach, values), _put(step.inputs, values)
    return step


def _put(node: Any, values: Mapping[str, Any]) -> Any:
    """Return `node` with `{name}` replaced: by the value itself where it stands alone, otherwise by its text."""
    if isinstance(node, dict):
        return {key: _put(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_put(value, values) for value in node]
    if not isinstance(node, str):
        return node
    alone = VALUE.fullmatch(node)
    if alone and alone[1] in values:
        return copy.deepcopy(values[alone[1]])
    return VALUE.sub(lambda m: argument_text(values[m[1]]) if m[1] in values else m[0], node)
