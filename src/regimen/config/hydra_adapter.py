"""The parts of Hydra that are no public interface, in one place: a new release of Hydra is checked against this module.

Read in Hydra 1.3.8: `hydra._internal` (`config_loader_impl`, `callbacks`, `utils`) and methods with a leading
underscore. One import stands elsewhere: the plugin in `hydra_plugins` subclasses `BasicSweeper`, and Hydra loads it at
times when nothing else of Regimen may be loaded.
"""

from __future__ import annotations

import copy
import functools
import typing
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository, IConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
from hydra._internal.defaults_list import Overrides, _create_defaults_list, _create_defaults_tree, _tree_to_list
from hydra._internal.grammar.functions import Functions
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.conf import ConfigSourceInfo
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ConfigDefault, DefaultsTreeNode, GroupDefault, ResultDefault, VirtualRoot
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import JobRuntime
from hydra.errors import ConfigCompositionException, HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import Container, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from regimen.config.option_content import option_content
from regimen.config.yaml_io import PlainConfig, read_text


class HydraLoader(ConfigLoaderImpl):
    """Hydra's config loader over `SharedFiles`, with a short way to the options and the node that a run needs."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self.repository = SharedFiles(config_search_path)

    def select(self, name: str, arguments: list[str]) -> Selection:
        """Return the files that arguments select, as `compute_defaults_list` does.

        Args:
            name: primary config.
            arguments: choices of options, among others.

        Raises:
            HydraException: an option does not exist.
        """
        parsed = OverridesParser.create().parse_overrides(arguments)
        files = CachingConfigRepository(self.repository)
        self._process_config_searchpath(name, parsed, files)
        overrides = Overrides(repo=files, overrides_list=parsed)
        try:
            defaults, _ = _create_defaults_list(files, name, overrides, prepend_hydra=False, skip_missing=False)
        except RecursionError:
            circle = " -> ".join(_circle(files))
            raise ConfigCompositionException(f"options include each other in a circle: {circle}. Remove one.") from None
        hydra = _hydra_defaults(files, overrides)
        overrides.ensure_overrides_used()
        overrides.ensure_deletions_used()
        return Selection(name, defaults, hydra, overrides.known_choices, files)

    def hydra_node(self, selection: Selection, arguments: list[str]) -> HydraNode:
        """Return Hydra's own node as `load_configuration` composes it, without the rest of the configuration.

        Args:
            selection: of the same choices.
            arguments: choices of options, and settings of Hydra.

        Raises:
            HydraException: a setting does not fit.
        """
        self.ensure_main_config_source_available()
        parsed = OverridesParser.create().parse_overrides(arguments)
        self.validate_sweep_overrides_legal(parsed, RunMode.RUN, from_shell=True)
        settings = Overrides(repo=selection.files, overrides_list=parsed).config_overrides
        sections = HydraSections(selection.files)
        defaults = [*selection.hydra, *(d for d in selection.defaults if sections.has_section(d))]
        node = HydraNode(functools.partial(self._settings, sections, defaults, settings), selection, parsed, Path.cwd())
        if settings or len(defaults) > len(selection.hydra) or _has_options_of_hydra(selection.files):
            try:
                node.plain  # noqa: B018 (has the errors of what was set)
            except OmegaConfBaseException as error:
                raise ConfigCompositionException().with_traceback(error.__traceback__) from error
        return node

    def _settings(
        self, sections: HydraSections, defaults: list[ResultDefault], arguments: list[Override]
    ) -> DictConfig:
        """Return a configuration with Hydra's node alone: from its own files, option files and arguments."""
        key = (*_packages(sections), *map(repr, defaults), sections.text(defaults), *map(_line, arguments))
        if key not in _composed or _has_options_of_hydra(sections):
            config = self._compose_config_from_defaults_list(defaults, sections)
            OmegaConf.set_struct(config, True)
            OmegaConf.set_readonly(config.hydra, False)
            self._apply_overrides_to_config(arguments, config)
            _composed[key] = config
        return _composed[key]

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        """Return what Hydra's own methods need: files that are copies, because they merge into them."""
        parsed = OverridesParser.create().parse_overrides(overrides)
        files = CopiedFiles(copy.copy(self.repository))
        self._process_config_searchpath(config_name, parsed, files)
        return parsed, files


_composed: dict[tuple[Any, ...], DictConfig] = {}
"""Files, sections and arguments of Hydra's node -> a configuration with it; without what a task chooses."""


class SharedFiles(ConfigRepository):
    """The folders and packages of options; each file is parsed once in a process, and its content not to be changed."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Set the sources to those of a search path."""
        super().initialize_sources(config_search_path)
        kinds: dict[str, type[ConfigSource]] = {"file": OptionFiles, "pkg": PackageFiles}
        self.sources = [
            kinds[s.scheme()](s.provider, f"{s.scheme()}://{s.path}") if s.scheme() in kinds else s
            for s in self.sources
        ]

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedFiles:
        """Return a copy that may get other sources, for which Hydra copies a repository with the content of all."""
        return copy.copy(self)

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the content of a file, its header and its defaults list; None if there is no such file.

        Raises:
            ConfigErrors: it is not UTF-8, or holds no keys.
            yaml.YAMLError: it is not valid YAML; the mark has the path.
        """
        source = self._find_object_source(config_path=config_path, object_type=ObjectType.CONFIG)
        if not isinstance(source, OptionFiles | PackageFiles):
            return super().load_config(config_path)
        key = source.scheme(), source.path, source.provider, config_path, source.text(config_path)
        if key not in _loaded:
            if len(_loaded) >= MOST_FILES:
                _loaded.clear()
            _loaded[key] = super().load_config(config_path)
        return _loaded[key]


MOST_FILES = 1024
"""Files whose content is kept."""

_loaded: dict[tuple[str, ...], ConfigResult | None] = {}


@dataclass
class FileContent(ConfigResult):
    """Content of a file; `config` is what Hydra needs of it to select further files.

    Attributes:
        plain: the whole content as plain data, interpolations not resolved, without the defaults list.
    """

    plain: Any = None


class OptionFiles(FileConfigSource):
    """A folder of options: also files with a byte order mark, and options whose name is a number."""

    def text(self, config_path: str) -> str:
        """Return the text of a file.

        Raises:
            ConfigErrors: it is not UTF-8.
        """
        return read_text(self._file(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content and the header of one file; `SharedFiles.load_config` has its errors."""
        text = self.text(config_path)
        header = ConfigSource._get_header_dict(text[:512])
        plain, config = option_content(text, str(self._file(config_path)))
        return FileContent(self.provider, f"file://{self.path}", config, header, plain=plain)

    def _file(self, config_path: str) -> Path:
        return (Path(self.path) / self._normalize_file_name(config_path)).resolve()


class PackageFiles(ImportlibResourcesConfigSource):
    """Options in an installed package, such as those of Hydra, which do not change in a process."""

    def text(self, config_path: str) -> str:
        """Return no text: the path identifies the content."""
        return ""

    def is_group(self, config_path: str) -> bool:
        """Return whether it is a folder."""
        return _in_package(self.path, config_path, ObjectType.GROUP)

    def is_config(self, config_path: str) -> bool:
        """Return whether it is a file, its suffix left out."""
        return _in_package(self.path, config_path, ObjectType.CONFIG)

    def _read_config(self, res: Any) -> ConfigResult:
        text = res.read_text(encoding="utf-8")
        header = ConfigSource._get_header_dict(text[:512])
        plain, config = option_content(text, str(res))
        return FileContent(self.provider, f"pkg://{self.path}", config, header, plain=plain)


@functools.cache
def _in_package(package: str, path: str, kind: ObjectType) -> bool:
    source = ImportlibResourcesConfigSource("", f"pkg://{package}")
    return source.is_group(path) if kind is ObjectType.GROUP else source.is_config(path)


class CopiedFiles(CachingConfigRepository):
    """Copies of shared files, which may be changed."""

    def __init__(self, delegate: IConfigRepository) -> None:
        self.delegate, self.cache = delegate, {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return the content of a file, the same copy at each call; None if there is no such file."""
        if config_path not in self.cache:
            loaded = copy.copy(self.delegate.load_config(config_path))
            if loaded is not None:
                loaded.config = self.copied(config_path, loaded)
            self.cache[config_path] = loaded
        return self.cache[config_path]

    def copied(self, config_path: str, loaded: ConfigResult) -> Container:
        """Return a copy of the whole content."""
        return OmegaConf.create(loaded.plain) if isinstance(loaded, FileContent) else copy.deepcopy(loaded.config)


class HydraSections(CopiedFiles):
    """Files of which Hydra's node consists: its own options, and the `hydra:` sections of option files."""

    def copied(self, config_path: str, loaded: ConfigResult) -> Container:
        """Return a copy of the content, of an option file that of its section for Hydra."""
        if config_path.startswith("hydra/"):
            return super().copied(config_path, loaded)
        return OmegaConf.masked_copy(typing.cast(DictConfig, loaded.config), "hydra")

    def has_section(self, default: ResultDefault) -> bool:
        """Return whether a selected option file has a section for Hydra."""
        loaded = None if default.package else self.delegate.load_config(str(default.config_path))
        return loaded is not None and "hydra" in loaded.config

    def text(self, defaults: list[ResultDefault]) -> str:
        """Return the sections of option files as text, equal for equal sections."""
        loaded = (self.load_config(str(d.config_path)) for d in defaults if not str(d.config_path).startswith("hydra/"))
        return repr([OmegaConf.to_container(one.config) for one in loaded if one is not None])


@dataclass(frozen=True)
class Selection:
    """Selected files, in the order in which they are merged; those of Hydra come first.

    Attributes:
        name: primary config.
        defaults: option files.
        hydra: files of Hydra's own options.
        known_choices: group -> option.
        files: their contents.
    """

    name: str
    defaults: list[ResultDefault]
    hydra: list[ResultDefault]
    known_choices: dict[str, str | None]
    files: CachingConfigRepository


@dataclass(frozen=True, eq=False)
class HydraNode:
    """Hydra's own node, as a configuration and as plain data; not to be changed.

    Attributes:
        settings: returns a configuration with the node, which tasks share.
        selection: the selected files.
        arguments: those that choose options or set Hydra.
        folder: current directory.
    """

    settings: Callable[[], DictConfig]
    selection: Selection
    arguments: list[Override]
    folder: Path

    def in_folder(self, folder: Path) -> HydraNode:
        """Return the node as Hydra composes it in another current directory."""
        return self if self.folder == folder else replace(self, folder=folder)

    @functools.cached_property
    def config(self) -> DictConfig:
        """The node as a configuration."""
        node: DictConfig = copy.deepcopy(self.settings()).hydra
        with open_dict(node):
            self._record(node, ConfigSourceInfo)
        return node

    @functools.cached_property
    def plain(self) -> PlainConfig:
        """The node as plain data, its interpolations not resolved."""
        node: Any = OmegaConf.to_container(self.settings().hydra, enum_to_str=True)
        self._record(node, dict)
        return node

    def _record(self, node: Any, source: Callable[..., Any]) -> None:
        """Write into a node how the configuration was composed."""
        runtime, job, overrides = node["runtime"], node["job"], node["overrides"]
        for override in self.arguments:
            overrides["hydra" if override.is_hydra_override() else "task"].append(override.input_line)
        runtime["choices"].update(self.selection.known_choices)
        runtime["version"], runtime["version_base"] = hydra.__version__, str(hydra.version.getbase())
        runtime["cwd"] = str(self.folder)
        sources = self.selection.files.get_sources()
        runtime["config_sources"] = [source(path=s.path, schema=s.scheme(), provider=s.provider) for s in sources]
        job["name"] = JobRuntime().get("name")
        form = job["config"]["override_dirname"]
        tasks = [o for o in self.arguments if not o.is_hydra_override()]
        separators = {"kv_sep": form["kv_sep"], "item_sep": form["item_sep"]}
        job["override_dirname"] = get_overrides_dirname(tasks, exclude_keys=form["exclude_keys"], **separators)
        job["config_name"] = self.selection.name


def _circle(files: CachingConfigRepository) -> list[str]:
    """Return the option files, `group/name`, that include each other in a circle, the first one again at the end."""
    pending = [[path.removeprefix("config_path=")] for path in files.cache]
    while pending:
        *above, last = pending.pop(0)
        if last in above:
            return [*above[above.index(last) :], last]
        loaded = files.load_config(last)
        for default in (loaded.defaults_list or []) if loaded is not None else []:
            is_one = isinstance(default, ConfigDefault) or isinstance(getattr(default, "value", None), str)
            if is_one and not default.is_self() and not default.is_override():
                included = copy.copy(default)
                included.parent_base_dir = last.rpartition("/")[0]
                pending.append([*above, last, included.get_config_path()])
    return []


def _hydra_defaults(files: CachingConfigRepository, overrides: Overrides) -> list[ResultDefault]:
    """Return the files of Hydra's own options, and add them to the choices of `overrides`."""
    own = Overrides(repo=files, overrides_list=[])
    for key, option in overrides.override_choices.items():
        if key.startswith("hydra/"):
            own.override_choices[key] = option
            own.override_metadata[key] = overrides.override_metadata[key]
    where = (*_packages(files), repr(own.override_choices))
    if where not in _defaults_of_hydra or _has_options_of_hydra(files):
        root = DefaultsTreeNode(node=VirtualRoot(), children=[ConfigDefault(path="hydra/config")])
        tree = _create_defaults_tree(
            files, root, is_root_config=True, skip_missing=False, interpolated_subtree=False, overrides=own
        )
        _defaults_of_hydra[where] = _tree_to_list(tree), own
    defaults, known = _defaults_of_hydra[where]
    overrides.known_choices |= known.known_choices
    for group, keys in known.known_choices_per_group.items():
        overrides.known_choices_per_group.setdefault(group, set()).update(keys)
    for key, choice in own.override_metadata.items():
        choice.used |= known.override_metadata[key].used
    return defaults


_defaults_of_hydra: dict[tuple[str, ...], tuple[list[ResultDefault], Overrides]] = {}


def _packages(files: CachingConfigRepository) -> Iterator[str]:
    """Yield the packages that have options; those of a process are the same for all of its tasks."""
    return (f"{s.provider} {s.path}" for s in files.get_sources() if isinstance(s, PackageFiles))


def _has_options_of_hydra(files: CachingConfigRepository) -> bool:
    """Return whether a folder of options has own ones for Hydra, which may change."""
    return any(s.is_group("hydra") for s in files.get_sources() if isinstance(s, OptionFiles))


def _line(override: Override) -> str:
    return override.input_line or ""


def make_loader(config_dirs: list[Path]) -> HydraLoader:
    """Return Hydra's config loader over folders that exist, the first one holding config.yaml."""
    search = create_config_search_path(str(config_dirs[0].resolve()))
    for folder in config_dirs[1:]:
        anchor = SearchPathQuery(provider="schema")
        search.prepend(provider="command-line", path=f"file://{folder.resolve()}", anchor=anchor)
    _register_plugins()
    return HydraLoader(config_search_path=search)


@functools.cache
def _register_plugins() -> None:
    """Store the options of studies again if Hydra met another plugin of this name later."""
    from hydra_plugins.regimen_optuna_sweeper.regimen_optuna_sweeper import PROVIDER, register

    store = ConfigStore.instance()
    if "optuna.yaml" in store.list("hydra/sweeper") and store.load("hydra/sweeper/optuna.yaml").provider != PROVIDER:
        register()


def group_exists(loader: HydraLoader, group: str) -> bool:
    """Return whether one of the folders has a group of this name."""
    return loader.repository.group_exists(group)


def group_options(loader: HydraLoader, group: str) -> list[str]:
    """Return the names of a group's options, those of all folders."""
    return loader.repository.get_group_options(group, ObjectType.CONFIG)


def load_file(loader: HydraLoader, path: str) -> tuple[Any, dict[str, str]]:
    """Return the content of one option file as plain data, and its choices of Hydra's own options.

    Args:
        loader: over the folders in which it is looked for.
        path: group and name, such as `task/reach`.

    Returns:
        content: its keys, interpolations not resolved.
        choices: group, such as `hydra/sweeper` -> option, of the lines `override /hydra/sweeper: optuna`.
    """
    loaded = loader.repository.load_config(path)
    assert loaded is not None and loaded.defaults_list is not None  # it is on a defaults list
    groups = [d for d in loaded.defaults_list if isinstance(d, GroupDefault) and d.is_override()]
    choices = {str(d.group).lstrip("/"): str(d.value) for d in groups}
    plain = loaded.plain if isinstance(loaded, FileContent) else OmegaConf.to_container(loaded.config)
    return copy.deepcopy(plain), {group: option for group, option in choices.items() if group.startswith("hydra/")}


def argument_parser() -> ArgumentParser:
    """Return the parser of Hydra's command line: its flags, not abbreviated, and overrides as the rest."""
    parser = get_args_parser()
    parser.allow_abbrev = False
    return parser


def instantiate_sweeper(loader: HydraLoader, master: DictConfig) -> Any:
    """Return the sweeper that a configuration names; its launcher must not call a function for a job.

    Args:
        loader: from which the sweeper takes the configuration of each job.
        master: configuration with a `hydra` node, of mode MULTIRUN.
    """
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext

    context = HydraContext(loader, Callbacks(master))
    return Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=_never_called, config=master)


def _never_called(config: DictConfig) -> None:
    """Stand in for the function of a job, which Hydra requires; the launchers of Regimen start processes instead."""
    raise AssertionError("a launcher ran a job in its own process")


def raw_value(override: Override) -> Any:
    """Return the value of an override as the parser made it, before sweeps are expanded."""
    return override._value


class WrittenText(str):
    """Text of a number, a boolean or a null in an argument, as it was written; ordered as the numbers are."""

    value: Any

    def __lt__(self, other: Any) -> bool:
        """Compare as the values."""
        return bool(self.value < other.value)


class _TextVisitor(HydraOverrideVisitor):
    """Makes `WrittenText` of numbers, booleans and nulls, except in functions that compute with them."""

    def _createPrimitive(self, ctx: Any) -> Any:  # noqa: N802
        value = super()._createPrimitive(ctx)
        if value is not None and not isinstance(value, int | float):
            return value
        text = WrittenText(ctx.getText().strip())
        text.value = value
        return text

    def visitFunction(self, ctx: Any) -> Any:  # noqa: N802
        if ctx.getChild(0).getText() not in ("choice", "zip", "sort", "shuffle", "tag"):
            return HydraOverrideVisitor(self.functions).visitFunction(ctx)
        try:
            return super().visitFunction(ctx)
        except (HydraException, TypeError, AttributeError):  # an argument such as reverse=true
            return HydraOverrideVisitor(self.functions).visitFunction(ctx)


def text_override(text: str, functions: Functions | None = None) -> Override:
    """Return an argument whose numbers, booleans and nulls are `WrittenText`.

    Args:
        text: `key=value`, which Hydra can parse.
        functions: functions of its grammar, such as `choice`; by default those of Hydra.
    """
    listener = HydraErrorListener()
    lexer = OverrideLexer(InputStream(text))
    parser = OverrideParser(CommonTokenStream(lexer))
    for part in (lexer, parser):
        part.removeErrorListeners()
        part.addErrorListener(listener)
    override: Override = _TextVisitor(functions or create_functions()).visit(parser.override())
    override.input_line = text
    return override


def unquoted(text: str) -> str:
    """Return the value of an argument as text: without quotes if it has some, such as '1e3'; numbers as written."""
    try:
        value = text_override(f"k={text}").value()
    except HydraException:
        return text
    return value if isinstance(value, str) else text


def choice_argument(override: Override) -> str:
    """Return an argument for Hydra as Hydra reads it: text that looks like a number in quotes, new variables added."""
    if override.key_or_group.startswith("hydra.job.env_set."):
        return f"++{override.key_or_group}={quoted(override.value())}"
    value: Any = override.value()
    if not any(isinstance(name, WrittenText) for name in (value if isinstance(value, list) else [value])):
        return override.input_line or ""
    return f"{override.get_key_element()}={quoted(value)}"


def value_text(value: Any) -> str:
    """Return a parsed value as Hydra writes it into an argument; the quotes of text in `choice(...)` are lost."""
    return Override._get_value_element_as_str(value)


def quoted(value: Any) -> str:
    """Return text, or a list of texts, as the value of an argument that Hydra reads back unchanged."""
    if isinstance(value, list):
        return f"[{','.join(map(quoted, value))}]"
    return QuotedString(str(value), Quote.single).with_quotes()
