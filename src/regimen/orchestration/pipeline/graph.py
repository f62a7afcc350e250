"""From steps to nodes: `foreach` fans out, a list of inputs fans in, and what cannot be is said first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from regimen.config.compose import refuse
from regimen.orchestration.pipeline.spec import Pipeline, StepCfg
from regimen.runs.inputs import LISTS
from regimen.runs.signature import INPUT_KEYS
from regimen.system.errors import ConfigError, did_you_mean

WHOLE = {"data": "a dataset", "runs": "a result"}
"""Inputs of which a run has one, so that none is chosen, and what they are."""

PLACE = re.compile(r"\{([\w./]+)\}")


@dataclass(frozen=True)
class Link:
    """An input that another node makes.

    Attributes:
        node: name of that node.
        which: what follows the `@` of the reference, empty for what the input takes by default.
        given: reference to what stands in the place of that node, if the command line names it.
    """

    node: str
    which: str = ""
    given: str = ""

    def reference(self, folder: object) -> str:
        """Return how the input is named once the node's run lies in `folder`."""
        return self.given or (f"{folder}@{self.which}" if self.which else str(folder))

    def __str__(self) -> str:
        return f"{self.node}@{self.which}" if self.which else self.node


@dataclass
class Node:
    """One run that the pipeline wants.

    Attributes:
        name: the step's, and its values of `foreach`: `walk.seed_0`.
        step: the step.
        number: place of the step in the file.
        overrides: arguments, those of `foreach` last.
        inputs: `policy`, `data.0`, … -> what makes it.
        values: of `foreach`, those of the step it goes with included.
        goes_with: step -> its node that this one was fanned out for.
    """

    name: str
    step: StepCfg
    number: int
    overrides: list[str] = field(default_factory=list)
    inputs: dict[str, Link] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    goes_with: dict[str, Node] = field(default_factory=dict)

    @property
    def after(self) -> list[str]:
        """Names of the nodes that must be finished before this one starts."""
        return sorted({link.node for link in self.inputs.values() if not link.given})


def expand(pipeline: Pipeline) -> list[Node]:
    """Return the runs of a pipeline, each after those it needs.

    Raises:
        ConfigError: listing everything that is wrong with the graph, each with its line.
    """
    steps = {step.name: number for number, step in enumerate(pipeline.config.steps)}
    refuse([line for number in steps.values() for line in _unknown(pipeline, number, steps)])
    return _Expansion(pipeline, steps).run()


class _Expansion:
    """The nodes found so far, by step."""

    def __init__(self, pipeline: Pipeline, steps: dict[str, int]) -> None:
        self.pipeline, self.steps = pipeline, steps
        self.nodes: dict[str, list[Node]] = {}
        self.wrong: list[str] = []

    def run(self) -> list[Node]:
        config = self.pipeline.config
        for number in self._order():
            step = config.steps[number]
            self.nodes[step.name] = list(self._fan_out(step, number))
            for node in self.nodes[step.name]:
                self._fill(node)
        refuse(self.wrong)
        return [node for name, step in self.nodes.items() for node in step if name not in self.pipeline.given]

    def _order(self) -> list[int]:
        """Return the numbers of the steps, each after those it needs, otherwise as they stand in the file."""
        needs = {n: {self.steps[name] for name in _needed(self.pipeline.config.steps[n])} for n in self.steps.values()}
        order: list[int] = []
        while len(order) < len(needs):
            ready = [n for n in needs if n not in order and needs[n] <= set(order)]
            if not ready:
                raise ConfigError(self._cycle({n: list(m) for n, m in needs.items() if n not in order}))
            order.append(ready[0])
        return order

    def _cycle(self, needs: dict[int, list[int]]) -> str:
        """Say which steps need each other; every step of `needs` needs another of them."""
        path = [next(iter(needs))]
        while len(set(path)) == len(path):
            path.append(next(n for n in needs[path[-1]] if n in needs))
        names = [f"`{self.pipeline.config.steps[n].name}`" for n in path[path.index(path[-1]) :]]
        at = self.pipeline.at(f"steps.{path[-1]}")
        return f"{at}: the steps need each other in a circle: {' needs '.join(names)}. Take one of these inputs away."

    def _fan_out(self, step: StepCfg, number: int) -> Iterator[Node]:
        names = set()
        for parent, values in self._combinations(step, number):
            label = [parent.name.partition(".")[2]] if parent else []
            label += [f"{key.rpartition('.')[2]}_{_word(value)}" for key, value in values.items()]
            name = ".".join([step.name, *filter(None, label)])
            if name in names:
                at = self.pipeline.at(f"steps.{number}.foreach")
                self.wrong.append(f"{at}: `foreach` makes two runs `{name}`. Each combination of values once.")
            names.add(name)
            node = Node(name, step, number, values=(parent.values if parent else {}) | values)
            node.goes_with = {**parent.goes_with, parent.step.name: parent} if parent else {}
            node.overrides = [*step.overrides, *(f"{key}={_argument(value)}" for key, value in values.items())]
            yield node

    def _combinations(self, step: StepCfg, number: int) -> Iterator[tuple[Node | None, dict[str, Any]]]:
        """Yield (node that this one goes with, values) for each run of a step."""
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
        """Put values into the arguments, and nodes in the place of the names of steps."""
        at = f"steps.{node.number}"
        node.overrides = [self._placed(o, node, f"{at}.overrides.{i}") for i, o in enumerate(node.overrides)]
        for key, value in node.step.inputs.items():
            here = self.pipeline.at(f"{at}.inputs.{key}")
            texts = [self._placed(text, node, f"{at}.inputs.{key}") for text in _listed(value)]
            listed = [link for text in texts for link in self._links(text, node, here)]
            if key in LISTS:
                node.inputs |= {f"{key}.{i}": link for i, link in enumerate(listed)}
            elif len(listed) == 1:
                node.inputs[key] = listed[0]
            elif listed:
                name = step_of(_listed(value)[0])
                advice = f"one run for each of them is `foreach: {name}`, one of them is `{listed[0]}`."
                self.wrong.append(f"{here}: `{key}` takes one run, and `{value}` names {len(listed)}: {advice}")

    def _links(self, text: str, node: Node, at: str) -> list[Link]:
        name, _, which = text.partition("@")
        step = step_of(text)
        given = self.pipeline.given.get(step, "")
        if name == step and step in node.goes_with:
            return [Link(node.goes_with[step].name, which, given)]
        known = [other.name for other in self.nodes[step]]
        if name not in (step, *known):
            self.wrong.append(f"{at}: `{step}` has no run `{name}`. {did_you_mean(name, known)}")
        chosen = [o for o in self.nodes[step] if o.name == name or (name == step and _go_together(node, o))]
        links = [Link(other.name, which, given) for other in chosen]
        return links[:1] if given else links

    def _placed(self, override: str, node: Node, path: str) -> str:
        for key in PLACE.findall(override):
            if key not in node.values:
                hint = did_you_mean(key, node.values) if node.values else "This step has no `foreach`."
                self.wrong.append(f"{self.pipeline.at(path)}: `{{{key}}}` is no value of `foreach`. {hint}")
        return PLACE.sub(lambda found: argument_text(node.values.get(found[1], "")), override)


def _go_together(node: Node, other: Node) -> bool:
    """Return whether two nodes were fanned out for the same runs, as far as they were for runs of the same steps."""
    shared = node.goes_with.keys() & other.goes_with.keys()
    return all(node.goes_with[step] is other.goes_with[step] for step in shared)


def _unknown(pipeline: Pipeline, number: int, steps: Iterable[str]) -> Iterator[str]:
    """Yield a line for each name in a step that names no step, and each input that is none."""
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
                yield f"{at}: there is no step `{step_of(text)}`. {hint} What no step makes stands in `overrides`."
            elif key in WHOLE and "@" in text:
                yield f"{at}: `{text}`: {WHOLE[key]} has no @; write `{text.partition('@')[0]}`."
    named = step.foreach if isinstance(step.foreach, str) else None
    named = step.foreach.get("step") if isinstance(step.foreach, dict) else named
    if named is not None and named not in steps:
        hint = did_you_mean(str(named), [s for s in steps if s != step.name])
        yield f"{pipeline.at(f'steps.{number}.foreach')}: there is no step `{named}`. {hint}"


def _needed(step: StepCfg) -> set[str]:
    named = {step_of(text) for value in step.inputs.values() for text in _listed(value)}
    each = step.foreach.get("step") if isinstance(step.foreach, dict) else step.foreach
    return named | ({each} if isinstance(each, str) else set())


def _listed(value: Any) -> list[str]:
    return [str(v) for v in (value if isinstance(value, list) else [value]) if v is not None]


def step_of(text: str) -> str:
    """Return the step that `walk.seed_0@best` begins with."""
    return str(text).partition("@")[0].partition(".")[0]


def argument_text(value: Any) -> str:
    """Return a value as an argument says it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_argument, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{_argument(v)}" for k, v in value.items()) + "}"
    return str(value)


def _argument(value: Any) -> str:
    """Return a value so that the command line reads it back as it was."""
    if not isinstance(value, str) or re.fullmatch(r"[\w.@/:+-]+", value):
        return argument_text(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _word(value: Any) -> str:
    """Return a value as a part of a name."""
    return re.sub(r"[^\w.-]+", "_", argument_text(value)).strip("_") or "empty"
