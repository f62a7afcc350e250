"""The file of a pipeline, `conf/pipeline/<name>.yaml`, read and checked, and the graph that its steps expand to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING

from regimen.config import groups, structured
from regimen.config.option_content import OptionLoader
from regimen.config.validation import Checker
from regimen.config.yaml_io import key_lines, parse_exactly, read_text
from regimen.runs.inputs import LISTS
from regimen.runs.references import CHECKPOINT_NAMES, is_checkpoint_name, is_one_checkpoint
from regimen.runs.signature import INPUT_KEYS
from regimen.system.errors import ConfigError, did_you_mean, raise_if_any
from regimen.system.files import display_path

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
        data = parse_exactly(read_text(file), OptionLoader) or {}
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


SINGLE_RESULT = {"data": "a dataset", "runs": "a result"}
"""Inputs that take no `@best` or `@<step>`, because a run has only one such result -> its name."""

PLACEHOLDER = re.compile(r"\{([\w./]+)\}")


@dataclass(frozen=True)
class StepInput:
    """An input of a node that is the result of another node.

    Attributes:
        node: name of the node that produces it.
        which: part of the reference after `@`, empty for the default.
        given: reference that replaces the result of the node, from the command line, with `which` for a run; empty
            without one.
    """

    node: str
    which: str = ""
    given: str = ""

    def reference(self, folder: object) -> str:
        """Return the run reference of the input, given the run directory of its node."""
        return self.given or (f"{folder}@{self.which}" if self.which else str(folder))

    def __str__(self) -> str:
        return f"{self.node}@{self.which}" if self.which else self.node


@dataclass
class Node:
    """One run of the pipeline.

    Attributes:
        name: name of the step and its values of `foreach`: `walk.seed_0`.
        step: the step.
        number: position of the step in the file.
        overrides: arguments, those of `foreach` last.
        inputs: `policy`, `data.0`, … -> the node that produces it.
        values: values of `foreach`, including those inherited from matched nodes.
        matched: step -> its node for which this node was made by `foreach`.
    """

    name: str
    step: StepCfg
    number: int
    overrides: list[str] = field(default_factory=list)
    inputs: dict[str, StepInput] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    matched: dict[str, Node] = field(default_factory=dict)

    @property
    def after(self) -> list[str]:
        """Names of the nodes that must finish before this one starts."""
        return sorted({link.node for link in self.inputs.values() if not link.given})


def expand(pipeline: Pipeline) -> list[Node]:
    """Return the nodes of a pipeline in topological order.

    Raises:
        ConfigError: all problems of the graph, each with its line.
    """
    steps = {step.name: number for number, step in enumerate(pipeline.config.steps)}
    raise_if_any([line for number in steps.values() for line in _unknown(pipeline, number, steps)])
    return _Expansion(pipeline, steps).run()


class _Expansion:
    """The nodes expanded so far, by step."""

    def __init__(self, pipeline: Pipeline, steps: dict[str, int]) -> None:
        self.pipeline, self.steps = pipeline, steps
        self.nodes: dict[str, list[Node]] = {}
        self.checkpoints: dict[str, dict[str, str]] = {step: {} for step in pipeline.given}
        """Step that is given -> checkpoint of it that others take, such as `@last` -> place of the first."""
        self.wrong: list[str] = []

    def run(self) -> list[Node]:
        config = self.pipeline.config
        for number in self._order():
            step = config.steps[number]
            self.nodes[step.name] = list(self._fan_out(step, number))
            for node in self.nodes[step.name]:
                self._fill(node)
        raise_if_any([*self.wrong, *self._given_for_several()])
        return [node for name, step in self.nodes.items() for node in step if name not in self.pipeline.given]

    def _order(self) -> list[int]:
        """Return the numbers of the steps in topological order, otherwise in the order of the file."""
        needs = {n: {self.steps[name] for name in _needed(self.pipeline.config.steps[n])} for n in self.steps.values()}
        order: list[int] = []
        while len(order) < len(needs):
            ready = [n for n in needs if n not in order and needs[n] <= set(order)]
            if not ready:
                raise ConfigError(self._cycle({n: list(m) for n, m in needs.items() if n not in order}))
            order.append(ready[0])
        return order

    def _cycle(self, needs: dict[int, list[int]]) -> str:
        """Return the error for a circle; every step of `needs` needs another of them."""
        path = [next(iter(needs))]
        while len(set(path)) == len(path):
            path.append(next(n for n in needs[path[-1]] if n in needs))
        names = [f"`{self.pipeline.config.steps[n].name}`" for n in path[path.index(path[-1]) :]]
        at = self.pipeline.at(f"steps.{path[-1]}")
        return f"{at}: the steps form a circle: {' needs '.join(names)}. Remove one of these inputs."

    def _fan_out(self, step: StepCfg, number: int) -> Iterator[Node]:
        names = set()
        for parent, values in self._combinations(step, number):
            label = [parent.name.partition(".")[2]] if parent else []
            label += [f"{key.rpartition('.')[2]}_{_word(value)}" for key, value in values.items()]
            name = ".".join([step.name, *filter(None, label)])
            if name in names:
                at = self.pipeline.at(f"steps.{number}.foreach")
                self.wrong.append(f"{at}: `foreach` makes two runs `{name}`: list each combination of values once.")
            names.add(name)
            node = Node(name, step, number, values=(parent.values if parent else {}) | values)
            node.matched = {**parent.matched, parent.step.name: parent} if parent else {}
            node.overrides = [*step.overrides, *(f"{key}={_argument(value)}" for key, value in values.items())]
            yield node

    def _combinations(self, step: StepCfg, number: int) -> Iterator[tuple[Node | None, dict[str, Any]]]:
        """Yield (matched node of another step, values) for each run of a step."""
        each = step.foreach
        at = self.pipeline.at(f"steps.{number}.foreach")
        if isinstance(each, list) and each and all(isinstance(row, dict) and row for row in each):
            yield from ((None, {str(k): v for k, v in row.items()}) for row in each)
            return
        each = {"step": each} if isinstance(each, str) else {} if each is None else each
        if not isinstance(each, dict) or any(not isinstance(v, list) or not v for k, v in each.items() if k != "step"):
            form = "a step's name, `{seed: [0, 1]}`, or `[{seed: 0, task: a}, {seed: 1, task: b}]`"
            self.wrong.append(f"{at}: `foreach` is {form}, not `{step.foreach}`.")
            return
        parents: list[Node | None] = [None]
        if "step" in each:
            parents = [*self.nodes[each["step"]]]
        keys = [key for key in each if key != "step"]
        for parent in parents:
            for values in itertools.product(*(each[key] for key in keys)):
                yield parent, dict(zip(map(str, keys), values, strict=True))

    def _fill(self, node: Node) -> None:
        """Insert values into the arguments, and replace names of steps by nodes."""
        at = f"steps.{node.number}"
        node.overrides = [self._filled_in(o, node, f"{at}.overrides.{i}") for i, o in enumerate(node.overrides)]
        for key, value in node.step.inputs.items():
            here = self.pipeline.at(f"{at}.inputs.{key}")
            texts = [self._filled_in(text, node, f"{at}.inputs.{key}") for text in _listed(value)]
            listed = [link for text in texts for link in self._links(text, node, here)]
            for text in texts if key not in SINGLE_RESULT else ():
                which = text.partition("@")[2] or "best"  # the default
                self.checkpoints.get(step_of(text), {}).setdefault(f"@{which}", here)
            if key in LISTS:
                node.inputs |= {f"{key}.{i}": link for i, link in enumerate(listed)}
            elif len(listed) == 1:
                node.inputs[key] = listed[0]
            elif listed:
                name = step_of(_listed(value)[0])
                advice = f"one run for each of them is `foreach: {name}`, one of them is `{listed[0]}`."
                self.wrong.append(f"{here}: `{key}` takes one run, but `{value}` matches {len(listed)}: {advice}")

    def _links(self, text: str, node: Node, at: str) -> list[StepInput]:
        name, at_sign, which = text.partition("@")
        step = step_of(text)
        if at_sign and not is_checkpoint_name(which):
            forms = f"@<step> or a name. {did_you_mean(which, CHECKPOINT_NAMES)}"
            self.wrong.append(f"{at}: `{text}`: no training has a checkpoint @{which}, expected {forms}")
        given = self.pipeline.given.get(step, "")
        if given and which and not is_one_checkpoint(given):
            given = f"{given}@{which}"
        if name == step and step in node.matched:
            return [StepInput(node.matched[step].name, which, given)]
        names = [other.name for other in self.nodes[step]]
        if name not in (step, *names):
            self.wrong.append(f"{at}: `{step}` has no run `{name}`. {did_you_mean(name, names)}")
        chosen = [o for o in self.nodes[step] if o.name == name or (name == step and _is_matched(node, o))]
        links = [StepInput(other.name, which, given) for other in chosen]
        return links[:1] if given else links

    def _given_for_several(self) -> Iterator[str]:
        """Yield a line for each single checkpoint that is given for a step of which others take several."""
        for step, asked in self.checkpoints.items():
            given = self.pipeline.given[step]
            if len(asked) > 1 and is_one_checkpoint(given):
                taken = ", ".join(f"{which} ({at})" for which, at in asked.items())
                run = given.rpartition("@")[0] or "<run>"
                yield (
                    f"argument `{step}={given}`: one checkpoint, but the steps take {len(asked)} of `{step}`: {taken}. "
                    f"Give a run that has them: {step}={run}."
                )

    def _filled_in(self, override: str, node: Node, path: str) -> str:
        for key in PLACEHOLDER.findall(override):
            if key not in node.values:
                hint = did_you_mean(key, node.values) if node.values else "This step has no `foreach`."
                self.wrong.append(f"{self.pipeline.at(path)}: `{{{key}}}` is not a value of `foreach`. {hint}")
        return PLACEHOLDER.sub(lambda match: argument_text(node.values.get(match[1], "")), override)


def _is_matched(node: Node, other: Node) -> bool:
    """Return whether two nodes share the same matched node for each step that both have one of."""
    shared = node.matched.keys() & other.matched.keys()
    return all(node.matched[step] is other.matched[step] for step in shared)


def _unknown(pipeline: Pipeline, number: int, steps: Iterable[str]) -> Iterator[str]:
    """Yield a line for each unknown step or input that a step names."""
    step = pipeline.config.steps[number]
    for key, value in step.inputs.items():
        at = pipeline.at(f"steps.{number}.inputs.{key}")
        if key not in INPUT_KEYS:
            yield f"{at}: there is no input `{key}`. {did_you_mean(key, INPUT_KEYS)}"
        elif not _listed(value):
            yield f"{at}: `{key}` names no step."
        for text in _listed(value):
            if step_of(text) not in steps:
                hint = did_you_mean(step_of(text), [s for s in steps if s != step.name])
                yield f"{at}: there is no step `{step_of(text)}`. {hint} Write other inputs into `overrides`."
            elif key in SINGLE_RESULT and "@" in text:
                yield f"{at}: `{text}`: {SINGLE_RESULT[key]} has no @; write `{text.partition('@')[0]}`."
    named = step.foreach if isinstance(step.foreach, str) else None
    named = step.foreach.get("step") if isinstance(step.foreach, dict) else named
    if named is not None and named not in steps:
        hint = did_you_mean(str(named), [s for s in steps if s != step.name])
        yield f"{pipeline.at(f'steps.{number}.foreach')}: there is no step `{named}`. {hint}"


def _needed(step: StepCfg) -> set[str]:
    named = {step_of(text) for value in step.inputs.values() for text in _listed(value)}
    each = step.foreach.get("step") if isinstance(step.foreach, dict) else step.foreach
    return named | ({each} if isinstance(each, str) else set())


def foreach_keys(step: StepCfg) -> set[str]:
    """Return the keys of the configuration that the `foreach` of a step sets."""
    each = step.foreach
    if isinstance(each, dict):
        return {str(key) for key in each if key != "step"}
    return {str(key) for row in each for key in row} if isinstance(each, list) else set()


def _listed(value: Any) -> list[str]:
    return [str(v) for v in (value if isinstance(value, list) else [value]) if v is not None]


def step_of(text: str) -> str:
    """Return the name of the step in a reference such as `walk.seed_0@best`."""
    return str(text).partition("@")[0].partition(".")[0]


def argument_text(value: Any) -> str:
    """Return a value as text in Hydra's override syntax, strings unquoted."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_argument, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{_argument(v)}" for k, v in value.items()) + "}"
    return str(value)


def _argument(value: Any) -> str:
    """Return a value as text in Hydra's override syntax, strings quoted where necessary."""
    if not isinstance(value, str) or re.fullmatch(r"[\w.@/:+-]+", value):
        return argument_text(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _word(value: Any) -> str:
    """Return a value as part of a node name."""
    return re.sub(r"[^\w.-]+", "_", argument_text(value)).strip("_") or "empty"
