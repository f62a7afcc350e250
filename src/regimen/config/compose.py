"""Compose a configuration from overrides, check it against its types and the functions it names, and build it."""

from __future__ import annotations

import copy
import dataclasses
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from regimen.config import further_sims, hydra_settings, interpolation, pasted, structured
from regimen.config.error_location import ErrorLocator
from regimen.config.groups import GROUPS, config_home
from regimen.config.hydra_adapter import HydraNode, choice_argument
from regimen.config.option_files import SelectedOptions, group_overrides, select_options
from regimen.config.overrides import check_choices, make_loader, parse
from regimen.config.provenance import ProvenanceTree, ValueSource
from regimen.config.schema import Config
from regimen.config.static_types import load_cfg_class
from regimen.config.structured import build, to_plain
from regimen.config.validation import Checker, Problem, not_finite
from regimen.config.yaml_io import PlainConfig, PlainSection, flatten
from regimen.display.formatting import visible
from regimen.system.errors import did_you_mean, raise_if_any
from regimen.system.secrets import is_secret_value, redacted

LAUNCHERS = {
    "sweep": "continues a sweep: write it alone on the command line, `python launch.py sweep=<directory>`.",
    "pipeline": "runs a pipeline: write it on the command line, `python launch.py pipeline=<name>`.",
    "resume": "continues a run: write it alone on the command line, `python launch.py resume=<run reference>`.",
    "choices": "is filled in by the launcher: choose options by their group, such as task=<name>.",
}
"""Keys of the configuration that only the launcher sets."""

SECRET = "a password or key would stand in the record of the run. Leave it out here"
"""What is wrong with a secret in the configuration, and what to do first."""


@dataclass
class ComposedConfig:
    """A configuration that passed every check, typed and as plain data; `set_value` keeps both equal.

    Attributes:
        config: typed configuration. `env`, `sim`, `agent`, `stage` and each logger are instances of the dataclasses in
            `types`, which are read from source, so that no torch is imported.
        plain: the same values as they are frozen to config.yaml, and as `problems(config)` of a dataclass gets them.
        choices: group -> option.
        files: group -> YAML file of the option.
        tree: each value with its source.
        node: Hydra's own node, shared by configurations of the same options: not to be changed.
        overrides: arguments, as typed.
        types: key -> dataclass of `env`, `sim`, `agent`, `stage` and `logger`.
        sweep_settings: places of the settings of a sweep in the option files.
        unused: lines about keys that the run does not use: of pasted sections, and of an experiment for another stage.
        environment: environment variables of its worker, set by `hydra.job.env_set`, interpolations resolved.
    """

    config: Config
    plain: PlainConfig
    choices: dict[str, str]
    files: dict[str, Path]
    tree: ProvenanceTree
    node: HydraNode
    overrides: list[str]
    types: dict[str, type[Any]] = field(default_factory=dict)
    sweep_settings: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def copy(self) -> ComposedConfig:
        """Return a configuration whose values can be set without changing this one."""
        copied = {name: copy.deepcopy(getattr(self, name)) for name in ("config", "plain", "choices")}
        return replace(self, **copied)

    def set_value(self, key: str, value: Any) -> None:
        """Set one value in both forms.

        Args:
            key: dotted key, such as `policy`, `data.0` or `hardware.threads`.
            value: a scalar or a list of scalars.
        """
        *above, last = key.split(".")
        typed: Any = self.config
        plain: Any = self.plain
        for name in above:
            typed, plain = typed[name] if isinstance(typed, dict) else getattr(typed, name), plain[name]
        if isinstance(plain, list):
            typed[int(last)] = plain[int(last)] = value
        elif isinstance(typed, dict):
            typed[last], plain[last] = value, to_plain(value)
        else:
            setattr(typed, last, value)
            plain[last] = to_plain(value)

    def set_section(self, key: str, section: PlainSection) -> None:
        """Set a key of `env`, `sim`, `agent` or `stage` that holds a section, in both forms.

        Args:
            key: dotted key of two parts, such as `env.images`.
            section: its plain settings.

        Raises:
            ConfigError: the settings do not fit the dataclass.
        """
        node, name = key.split(".")
        plain = {**self.plain[node], name: section}
        setattr(self.config, node, build(self.types[node], plain))
        self.plain[node] = to_plain(getattr(self.config, node))

    def set_agent(self, option: str, section: PlainSection) -> None:
        """Replace the agent, in both forms.

        Args:
            option: its name.
            section: its plain settings.

        Raises:
            ConfigError: the settings do not fit the dataclass of their `_target_`.
        """
        self.types = {**self.types, "agent": load_cfg_class(section["_target_"])}
        self.config.agent = build(self.types["agent"], section)
        self.plain["agent"] = to_plain(self.config.agent)
        for choices in (self.choices, self.config.choices, self.plain["choices"]):
            choices["agent"] = option

    @property
    def hydra(self) -> DictConfig:
        """Hydra's view with its `hydra` node; a new one at each access, because launchers write into it."""
        return _hydra_view(self.node.config, self.tree, self.overrides)

    def hydra_record(self) -> PlainConfig:
        """Return Hydra's own node as plain data, as `.hydra/hydra.yaml` holds it."""
        plain = self.node.plain
        return {"hydra": plain | {"overrides": plain["overrides"] | {"task": _task_overrides(self.overrides)}}}


@dataclass
class SweepArguments:
    """Arguments of a sweep, on the command line and in option files.

    Attributes:
        jobs: arguments that span the jobs: `hydra.sweeper.params` of the files, then those of the command line, and
            the environment variables of all jobs.
        hydra: arguments for Hydra's configuration of the sweep: options and settings.
        sweeper: option of `hydra/sweeper`.
        settings: places of the settings of the sweep in files.
    """

    jobs: list[str]
    hydra: list[str]
    sweeper: str
    settings: list[str]


def is_sweep(overrides: list[str], config_dirs: list[Path]) -> bool:
    """Return whether `hydra.mode` is MULTIRUN, on the command line or else in an option file.

    Arguments with errors are no sweep; `compose` reports them.
    """
    loader = make_loader(config_dirs)
    parsed, wrong = parse(overrides, loader)
    modes = [str(o.value()) for o in parsed if o.key_or_group == "hydra.mode"]
    if modes:
        return modes[-1] == "MULTIRUN"
    if wrong or check_choices(parsed, loader, multirun=True):
        return False
    plain = [o for o in parsed if not o.is_sweep_override()]
    settings = select_options(ErrorLocator(loader, config_dirs, plain), "config").settings
    return any(s.key == "hydra.mode" and s.value == "MULTIRUN" for s in settings)


def sweep_arguments(overrides: list[str], config_dirs: list[Path]) -> SweepArguments:
    """Return the arguments of a sweep; of a key in `hydra.sweeper.params` and on the command line the latter counts.

    Args:
        overrides: `key=value` arguments.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: an argument or a setting of the sweep is wrong.
    """
    version.setbase("1.3")
    setup_globals()
    loader = make_loader(config_dirs)
    parsed, wrong = parse(overrides, loader)
    raise_if_any(wrong + check_choices(parsed, loader, multirun=True))
    plain = [o for o in parsed if not o.is_sweep_override()]
    locator = ErrorLocator(loader, config_dirs, plain)
    selection = select_options(locator, "config")
    typed = {o.key_or_group for o in parsed}
    params = [p for p in hydra_settings.params(selection.settings) if p.partition("=")[0].lstrip("+~") not in typed]
    from_files, wrong = parse(params, loader)
    raise_if_any([f"hydra.sweeper.params: {line}" for line in wrong + check_choices(from_files, loader, multirun=True)])
    jobs = [*params, *(o.input_line or "" for o in parsed if _is_for_jobs(o))]
    hydra = [*selection.hydra_arguments]
    hydra += [choice_argument(o) for o in group_overrides(loader, plain)]
    return SweepArguments(jobs, hydra, selection.sweeper, selection.sweep_settings())


def compose(
    overrides: list[str], config_dirs: list[Path], config_name: str = "config", sweep: bool = False
) -> ComposedConfig:
    """Compose one run and check it.

    Args:
        overrides: `key=value` arguments, without sweeps.
        config_dirs: folder of config.yaml, then the user's own.
        config_name: primary config.
        sweep: whether it is a job of a sweep; settings of a sweep are refused in a single run.

    Raises:
        ConfigError: listing all problems, each with its file or argument.
    """
    version.setbase("1.3")
    setup_globals()
    loader = make_loader(config_dirs)
    parsed, wrong = parse(overrides, loader)
    wrong += check_choices(parsed, loader, multirun=False)
    raise_if_any(wrong)
    composition = _Composition(ErrorLocator(loader, config_dirs, parsed), config_name)
    if not sweep:
        composition.refuse_sweep_settings()
    return composition.run()


def compose_config(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> Config:
    """Return the typed configuration of a run, checked against the types and the named functions.

    Args:
        overrides: `key=value` arguments, without sweeps.
        config_dirs: folders of options beside those of `groups.config_home`.

    Raises:
        ConfigError: listing all problems.
    """
    return structured.build_config(compose(list(overrides), [config_home(), *config_dirs]).plain)


class _Composition:
    """Steps of one composition, from parsed overrides to a checked configuration."""

    def __init__(self, locator: ErrorLocator, name: str) -> None:
        self.locator, self.name = locator, name
        self.selection: SelectedOptions = select_options(locator, name)
        self.numbers: list[str] = []

    def refuse_sweep_settings(self) -> None:
        """Raise for settings of a sweep, which a single run would ignore, unless one run is asked for."""
        chosen = {o.key_or_group: o.value() for o in self.locator.parsed if o.is_hydra_override()}
        if chosen.get("hydra.mode") == "RUN":
            return
        places = [f"argument `{o.input_line}`" for o in self.locator.parsed if _of_sweep(o)]
        places += [p for p in self.selection.sweep_settings() if "hydra/sweeper" not in chosen or ":" in p]
        advice = "a setting of a sweep: add -m; for one run without the sweep add hydra.mode=RUN."
        raise_if_any([f"{place}: {advice}" for place in places])

    def run(self) -> ComposedConfig:
        locator, selection, tree = self.locator, self.selection, self.locator.tree
        chosen = group_overrides(locator.loader, locator.parsed)
        self._apply_arguments([o for o in locator.parsed if o not in chosen])
        unused = list(selection.unused)
        unused += [line for node, kind in selection.types.items() for line in pasted.remove_supplied(tree, node, kind)]
        plain = interpolation.resolved(tree.data)
        self._refuse(self._check(tree.data if plain is None else plain))
        if self.numbers:
            for path in self.numbers:
                tree.keep_text(path)
            plain = interpolation.resolved(tree.data)
        node = self._hydra_node(chosen)
        texts = [o.input_line or "" for o in locator.parsed]
        if plain is None:
            plain = locator.translate_errors(lambda: _resolved(_hydra_view(node.config, tree, texts)))
            self._refuse(self._check(plain))
        further_sims.fill_in(plain, locator.dirs)
        config = self._build(plain)
        choices, types = dict(selection.choices), dict(selection.types)
        settings = selection.sweep_settings()
        plain = to_plain(config)
        environment = self._environment(node, texts)
        return ComposedConfig(
            config, plain, choices, locator.files, tree, node, texts, types, settings, unused, environment
        )

    def _hydra_node(self, chosen: list[Override]) -> HydraNode:
        """Return Hydra's own node, composed from the arguments that select options.

        Hydra does not accept an argument whose key is in no file, even if a type or a signature has it.
        """
        texts = [*self.selection.hydra_arguments, *map(choice_argument, chosen)]
        if self.selection.hydra is None:
            compose_node, selected = self.locator.loader.hydra_node, self.selection.selection
            self.selection.hydra = self.locator.translate_errors(lambda: compose_node(selected, texts))
        return self.selection.hydra.in_folder(Path.cwd())

    def _environment(self, node: HydraNode, texts: list[str]) -> dict[str, str]:
        """Return the environment variables that are set for the worker; run.json keeps them.

        Raises:
            ConfigErrors: an interpolation has no value, or a variable holds a password or key.
        """
        if not node.plain["job"]["env_set"]:
            return {}
        view = _hydra_view(node.config, self.locator.tree, texts)
        items = self.locator.translate_errors(lambda: list(view.hydra.job.env_set.items()))
        variables = {str(name): str(value) for name, value in items}
        secret = [name for name, value in variables.items() if redacted(text := f"{name}={value}") != text]
        before = "and set it before the start"
        raise_if_any([f"hydra.job.env_set.{name}: {SECRET}, {before}: export {name}=…" for name in secret])
        return variables

    def _apply_arguments(self, overrides: list[Override]) -> None:
        """Apply the arguments to the values of the files.

        Raises:
            ConfigErrors: there is nothing to remove or set, or the class of a section is another one, which its option
                chooses: values are checked against the dataclass of that class.
        """
        wrong, tree = [], self.locator.tree
        classes = {f"{node}._target_": tree.get(f"{node}._target_") for node in self._sections()}
        for override in overrides:
            text, key, value = override.input_line or "", override.key_or_group, override.value()
            source = ValueSource("argument", text)
            if override.is_delete():
                if key in self.selection.types:
                    group = next(group for group, node in structured.NODES.items() if node == key)
                    wrong.append(f"argument `{text}`: every run has `{key}`. To choose another one: {group}=<name>.")
                elif value is not None and tree.has(key) and tree.get(key) != value:
                    actual = redacted(f"`{key}` is `{visible(str(tree.get(key)))}`")
                    wrong.append(f"argument `{text}`: {actual}. To remove it whatever it is: ~{key}.")
                elif not tree.remove(key, source):
                    wrong.append(f"argument `{text}`: there is no `{key}` to remove. {self._near(key)}")
                continue
            tree.assign(tuple(key.split(".")), value, source)
            if not tree.has(key):
                wrong.append(f"argument `{text}`: the list has no such element; replace it whole: `<list>=[...]`.")
        for node, group in self._sections().items():
            path = f"{node}._target_"
            if isinstance(tree.get(node), dict) and tree.get(path) != classes[path]:
                where = tree.source_of(path).location(path)
                wrong.append(
                    f"{where}: the class of `{node}` is that of an option: {group}=<name>. "
                    f"For a class of yours write {group}/<name>.yaml with its `_target_`."
                )
        raise_if_any(wrong)

    def _sections(self) -> dict[str, str]:
        """Return the sections whose type is the dataclass of their `_target_`: dotted key -> group of their option."""
        loggers = {f"logger.{name}": "logger" for name in _fields(self.selection.types["logger"])}
        return {node: group for group, node in structured.NODES.items()} | loggers

    def _check(self, data: PlainConfig) -> Iterator[Problem]:
        hints = {**structured.field_types(Config), **self.selection.types}
        fields = {f.name: f for f in dataclasses.fields(Config)}
        checker = Checker(self.locator.tree.was_set)
        for key, value in data.items():
            if key in LAUNCHERS and value:
                first = next(iter(value)) if isinstance(value, dict) else ""
                yield Problem(f"{key}.{first}".rstrip("."), f"`{key}` {LAUNCHERS[key]}")
            elif key not in hints:
                deeper = [f"`{node}.{key}`" for node, kind in hints.items() if key in _fields(kind)]
                near = did_you_mean(key, [*GROUPS, *(k for k in hints if k not in LAUNCHERS)])
                yield Problem(key, f"There is no key `{key}`. " + (f"Write {' or '.join(deeper)}." if deeper else near))
            else:
                yield from checker.field(fields[key], hints[key], value, key)
        self.numbers = checker.numbers
        yield from (problem for problem in _values(data) if problem.path not in self.numbers)

    def _refuse(self, problems: Iterator[Problem]) -> None:
        raise_if_any([redacted(f"{self.locator.location(p.path)}: {p.message}") for p in problems])

    def _near(self, key: str) -> str:
        above, _, last = key.rpartition(".")
        node = self.locator.tree.get(above) if above else self.locator.tree.data
        return did_you_mean(last, node) if isinstance(node, dict) else ""

    def _build(self, plain: PlainConfig) -> Config:
        """Return the typed configuration, every scalar converted to its type."""
        sections = {key: build(kind, plain[key]) for key, kind in self.selection.types.items()}
        config = build(Config, {key: value for key, value in plain.items() if key not in sections})
        config.logger = dict(vars(sections.pop("logger")))
        config.choices = dict(self.selection.choices)
        for key, section in sections.items():
            setattr(config, key, section)
        return config


def _is_for_jobs(override: Override) -> bool:
    return not override.is_hydra_override() or hydra_settings.is_variable(override.key_or_group)


def _of_sweep(override: Override) -> bool:
    key = override.key_or_group
    return key.startswith(("hydra.sweeper.", "hydra/sweeper", "hydra/launcher")) or key == "hydra.mode"


def _fields(kind: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _values(data: PlainConfig) -> Iterator[Problem]:
    """Yield the problems of top-level values whose types are valid."""
    name = data.get("name")
    if isinstance(name, str) and visible(name) != name:
        yield Problem("name", f"name={visible(name)}: invalid run name: a terminal does not show it whole.")
    elif isinstance(name, str) and (name in ("", "latest") or "@" in name):
        yield Problem("name", f"name={name}: invalid run name: `latest` and `@` are reserved in references.")
    for path, value in flatten(data):
        yield from not_finite(value, path)
        if is_secret_value(path, value):
            yield Problem(
                path,
                f"{path}: {SECRET} and set it in the environment, such as MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD for MLflow.",
            )


def _hydra_view(node: DictConfig, tree: ProvenanceTree, texts: list[str]) -> DictConfig:
    """Return Hydra's configuration: its own node, and the checked values in place of its own composition."""
    hydra = OmegaConf.create({"hydra": node, **tree.data})
    hydra.hydra.overrides.task = _task_overrides(texts)
    HydraConfig.instance().set_config(hydra)
    OmegaConf.set_readonly(hydra.hydra, False)  # launchers write the job's number
    return hydra


def _task_overrides(texts: list[str]) -> list[str]:
    return [t for t in texts if not t.startswith("hydra")]


def _resolved(hydra: DictConfig) -> PlainConfig:
    data = OmegaConf.masked_copy(hydra, [str(k) for k in hydra if k != "hydra"])
    return typing.cast(PlainConfig, OmegaConf.to_container(data, resolve=True))
