"""Read the selected options: their files, the types of their sections, and the values that both set.

The jobs of a sweep mostly differ in arguments, so selected options are cached until one of their files or a folder of
options changes.
"""

from __future__ import annotations

import time
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override

from regimen.config import hydra_settings, static_types, structured
from regimen.config.error_location import ErrorLocator
from regimen.config.groups import GROUPS, MULTI_GROUPS
from regimen.config.hydra_adapter import (
    HydraLoader,
    HydraNode,
    Selection,
    choice_argument,
    group_exists,
    load_file,
    quoted,
)
from regimen.config.hydra_settings import FileSetting
from regimen.config.provenance import SCHEMA, ProvenanceTree, ValueSource
from regimen.config.schema import Config
from regimen.config.structured import NODES
from regimen.config.yaml_io import PlainConfig, PlainSection, read_text
from regimen.system.errors import ConfigError, ConfigErrors, did_you_mean, raise_if_any
from regimen.system.files import display_path

CLOCK_NS = 50_000_000
"""Files changed less than this before they were read may change again with the same modification time."""

GRID_SWEEPER = "regimen"
"""Default option of `hydra/sweeper`."""

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(eq=False)
class SelectedOptions:
    """The selected options, before arguments are applied.

    Attributes:
        choices: group -> option.
        files: group -> YAML file of the option.
        tree: values set by types and files.
        types: key -> dataclass of `env`, `sim`, `agent`, `stage` and `logger`.
        classes: `_target_` -> its dataclass.
        places: files and folders that were read.
        settings: settings of Hydra in the files, later ones replacing earlier ones.
        sweeper: option of `hydra/sweeper`.
        hydra_arguments: what the files choose and set for Hydra itself, as arguments.
        unused: lines about settings of an experiment for another stage than the chosen one.
        selection: the files as Hydra selects them.
        hydra: Hydra's own node, composed at its first use.
    """

    choices: dict[str, str]
    files: dict[str, Path]
    tree: ProvenanceTree
    types: dict[str, type[Any]]
    classes: dict[str, type[Any]]
    places: list[Path]
    settings: list[FileSetting]
    sweeper: str
    hydra_arguments: list[str]
    unused: list[str]
    selection: Selection
    hydra: HydraNode | None = None

    def sweep_settings(self) -> list[str]:
        """Return the places of the settings that start a sweep or belong to one; those of config.yaml are defaults."""
        mode = next((s for s in reversed(self.settings) if s.key == "hydra.mode" and s.value), None)
        places = [mode.location] if mode is not None and mode.value == "MULTIRUN" else []
        places += [s.location for s in self.settings if s.key.startswith("hydra.sweeper.") and not s.primary]
        return places + ([f"hydra/sweeper={self.sweeper}"] if self.sweeper != GRID_SWEEPER else [])

    def is_current(self) -> bool:
        """Return whether the source of every class is unchanged; `_stamp` covers the option files."""
        try:
            return all(static_types.load_cfg_class(target) is kind for target, kind in self.classes.items())
        except ConfigError:
            return False


def select_options(locator: ErrorLocator, name: str) -> SelectedOptions:
    """Return the options that the arguments select, from the cache if they are unchanged.

    Args:
        locator: with the parsed arguments; its `files` and `tree` are set.
        name: primary config.

    Raises:
        ConfigError: a file or a type cannot be used.
    """
    chosen = [choice_argument(o) for o in group_overrides(locator.loader, locator.parsed)]
    # The paths in messages depend on the current directory where a folder of options is in it.
    key = (name, *(d.resolve() for d in locator.dirs), *map(display_path, locator.dirs), *chosen)
    stamp, selection = _selected.get(key, (None, None))
    if selection is None or stamp != _stamp(selection.places) or not selection.is_current():
        started = time.time_ns()
        selection = _Reader(locator, name).read(chosen)
        stamp = _stamp(selection.places)
        if all(row is None or row[0] < started - CLOCK_NS for row in stamp):
            _selected[key] = stamp, selection
    locator.files, locator.tree = selection.files, selection.tree.copy()
    return selection


def group_overrides(loader: HydraLoader, parsed: list[Override]) -> list[Override]:
    """Return the arguments that choose options or concern Hydra itself; all others only set values."""
    return [o for o in parsed if o.is_hydra_override() or _is_choice(loader, o)]


def _is_choice(loader: HydraLoader, override: Override) -> bool:
    group = override.key_or_group
    return "." not in group and group_exists(loader, group) and not isinstance(override.value(), dict)


_selected: dict[tuple[Any, ...], tuple[Stamp, SelectedOptions]] = {}


def _stamp(places: list[Path]) -> Stamp:
    """Return time, size and inode of files and folders, which change with their content."""
    return tuple(_seen(place) for place in places)


def _seen(place: Path) -> tuple[int, int, int] | None:
    try:
        stat = place.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


class _Reader:
    """Reads selected options from their files."""

    def __init__(self, locator: ErrorLocator, name: str) -> None:
        self.locator, self.name = locator, name
        self.types: dict[str, type[Any]] = {}
        self.classes: dict[str, type[Any]] = {}
        self.settings: list[FileSetting] = []
        self.known_choices: Mapping[str, str | None] = {}
        self.unused: list[str] = []

    def read(self, chosen: list[str]) -> SelectedOptions:
        """Read the options that the arguments `chosen` select."""
        locator = self.locator
        hydra_choices = self._read_experiments()
        chosen = [*hydra_choices, *chosen]
        selection = locator.translate_errors(lambda: locator.loader.select(self.name, chosen))
        self.known_choices = selection.known_choices
        choices = typing.cast(dict[str, str], {group: self.known_choices.get(group) for group in GROUPS})
        raise_if_any([line for d in selection.defaults for line in _unknown_group(d)])
        places = list(self._places([*selection.hydra, *selection.defaults]))
        self._merge_files(selection.defaults, chosen)
        raise_if_any(list(hydra_settings.file_problems(self.settings)))
        sweeper = str(self.known_choices.get("hydra/sweeper"))
        arguments = [*hydra_choices, *hydra_settings.text_arguments(self.settings, quoted)]
        return SelectedOptions(
            choices,
            locator.files,
            locator.tree,
            self.types,
            self.classes,
            places,
            self.settings,
            sweeper,
            arguments,
            self.unused,
            selection,
        )

    def _places(self, defaults: list[ResultDefault]) -> Iterator[Path]:
        """Yield all files that are read or would hide one, and the folders in which a new one may appear."""
        for folder in self.locator.dirs:
            yield folder
            yield from (sub for sub in sorted(folder.iterdir()) if sub.is_dir())
            for default in defaults:
                file = folder / f"{default.config_path}.yaml"
                yield from (file, file.parent)

    def _merge_files(self, defaults: list[ResultDefault], chosen: list[str]) -> None:
        """Fill the tree: defaults of the types, then the files in Hydra's order."""
        tree, files = self.locator.tree, self.locator.files
        layers = list(self._layers(defaults))
        tree.merge(structured.defaults(Config), SCHEMA)
        targets = dict(structured.DEFAULT_TARGETS)
        for data, _ in layers:
            for node in NODES.values():
                value = data.get(node)
                targets |= {node: str(value["_target_"])} if isinstance(value, dict) and "_target_" in value else {}
        for group, node in NODES.items():
            if node not in targets:
                raise ConfigErrors(
                    [f"{display_path(files[group])} names no class: it needs `_target_: pkg.mod.Class`."]
                )
            self.types[node] = self._class(targets[node], f"{display_path(files[group])}: `_target_: {targets[node]}`")
            tree.merge({node: structured.defaults(self.types[node])}, SCHEMA)
        self.types["logger"] = self._multi_type("logger", [d for data, _ in layers for d in [data.get("logger")] if d])
        tree.merge({"logger": structured.defaults(self.types["logger"])}, SCHEMA)
        for data, source in layers:
            if source.kind == "experiment":
                self._remove_of_its_own_stage(data, source, chosen)
            tree.merge(data, source)

    def _remove_of_its_own_stage(self, data: PlainConfig, source: ValueSource, chosen: list[str]) -> None:
        """Remove what an experiment sets for its own stage alone, where an argument chooses another one.

        So a run of `stage=actor` or `stage=evaluate` has task and agent of the experiment of its training.
        """
        section, stage = data.get("stage"), self.known_choices.get("stage")
        others = [argument for argument in chosen if not argument.startswith("stage=")]
        if not isinstance(section, dict) or len(others) == len(chosen):
            return
        strange = section.keys() - {f.name for f in fields(self.types["stage"])}
        if not strange:
            return
        select = self.locator.loader.select
        own = self.locator.translate_errors(lambda: select(self.name, others)).known_choices["stage"]
        if own in (None, stage):
            return
        where = f"stage/{own}"
        kind = self._class(str(self._load(where)[0]["_target_"]), f"{where}.yaml")
        for_own = [key for key in section if key in strange & {f.name for f in fields(kind)}]
        for key in for_own:
            del section[key]
        if for_own:
            keys = ", ".join(f"stage.{key}" for key in for_own)
            self.unused.append(f"not used with stage={stage}: {keys}, which {source.label} sets for stage={own}")

    def _class(self, target: str, where: str) -> Any:
        try:
            self.classes[target] = static_types.load_cfg_class(target)
        except ConfigError as error:
            raise ConfigErrors([f"{where}: {error}"]) from error
        return self.classes[target]

    def _multi_type(self, node: str, sections: list[PlainSection]) -> Any:
        """Return the dataclass of a group with any number of options: one field for each selected one."""
        targets = {name: str(c["_target_"]) for data in sections for name, c in data.items() if "_target_" in (c or {})}
        parts = []
        for name, target in targets.items():
            kind = self._class(target, f"{node} `{name}`: `_target_: {target}`")
            parts.append((name, kind, field(default_factory=kind)))
        return make_dataclass(f"{node.capitalize()}sCfg", parts)

    def _layers(self, defaults: list[ResultDefault]) -> Iterator[tuple[PlainConfig, ValueSource]]:
        for default in defaults:
            path = default.config_path or ""
            if path.split("/")[0] in ("hydra", ""):
                continue
            data, hydra_choices = self._load(path)
            file, *hidden = [d / f"{path}.yaml" for d in self.locator.dirs if (d / f"{path}.yaml").is_file()]
            raise_if_any(
                [
                    f"{display_path(h)}: hidden by {display_path(file)}, which has the same name. Rename yours."
                    for h in hidden
                ]
            )
            group = path.rpartition("/")[0]
            if group and (default.override_key or default.is_self):
                self.locator.files[group] = file
            _require_package(default, group, file)
            given = {o.key_or_group for o in self.locator.parsed}
            problems = hydra_settings.choice_problems(hydra_choices, self.known_choices, given, display_path(file))
            raise_if_any([] if path == self.name else list(problems))
            source = ValueSource(
                "experiment" if group == "experiment" else "base", display_path(file), file, default.package or ""
            )
            if not source.package and isinstance(data, dict) and "hydra" in data:
                section = data.pop("hydra")
                self.settings += hydra_settings.file_settings(section, source, primary=not group)
            yield _placed(data, source.package), source

    def _load(self, path: str) -> tuple[Any, dict[str, str]]:
        return self.locator.translate_errors(lambda: load_file(self.locator.loader, path))

    def _read_experiments(self) -> list[str]:
        """Return the options of Hydra itself that the experiments choose; those of config.yaml would win otherwise.

        Raises:
            ConfigErrors: an experiment lacks its header line; Hydra would compose it into a key `experiment`.
        """
        given = {o.key_or_group for o in self.locator.parsed}
        chosen: dict[str, str] = {}
        for name in [str(o.value()) for o in self.locator.parsed if o.key_or_group == "experiment"]:
            for file in (d / "experiment" / f"{name}.yaml" for d in self.locator.dirs):
                text = read_text(file).lstrip() if file.is_file() else ""
                if text and "_global_" not in text.split("\n")[0]:
                    raise ConfigErrors([f"{display_path(file)}: the first line must be `# @package _global_`."])
                if "hydra/" in text:
                    chosen |= self._load(f"experiment/{name}")[1]
        return [f"{group}={option}" for group, option in chosen.items() if group not in given]


def _unknown_group(default: ResultDefault) -> Iterator[str]:
    """Yield a line for a group without a key in the configuration; Hydra would merge it silently."""
    group = (default.config_path or "").rpartition("/")[0].split("/")[0]
    if group and group not in (*GROUPS, *MULTI_GROUPS, "hydra"):
        yield f"{default.parent}.yaml: there is no group `{group}`. {did_you_mean(group, GROUPS)}"


def _placed(data: Any, package: str) -> PlainConfig:
    """Return a file's content at its place in the whole configuration."""
    placed = data if isinstance(data, dict) else {}
    for key in reversed(package.split(".") if package else []):
        placed = {key: placed}
    return placed


def _require_package(default: ResultDefault, group: str, file: Path) -> None:
    """Raise for a file without its header line, whose content Hydra would compose into the wrong key."""
    expected = {"task": "env", "experiment": "", "logger": f"logger.{file.stem}"}.get(group, group)
    if group in (*GROUPS, *MULTI_GROUPS) and (default.package or "") != expected:
        raise ConfigErrors([f"{display_path(file)}: the first line must be `# @package {expected or '_global_'}`."])
