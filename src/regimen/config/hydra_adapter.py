"""The parts of Hydra that are no public interface, in one place: a new release of Hydra is checked against this module.

Read in Hydra 1.3.8: `hydra._internal` (`config_loader_impl`, `callbacks`, `utils`) and methods with a leading
underscore. One import stands elsewhere: the plugin in `hydra_plugins` subclasses `BasicSweeper`, and Hydra loads it at
times when nothing else of Regimen may be loaded.
"""

from __future__ import annotations

import copy
import functools
import io
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.grammar.functions import Functions
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import GroupDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import create_functions
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import Container, DictConfig, OmegaConf

from regimen.config.yaml_io import as_written, read_text
from regimen.system.errors import ConfigErrors
from regimen.system.files import display_path


class HydraLoader(ConfigLoaderImpl):
    """Hydra's config loader, with files read by `OptionFiles`."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        sources = self.repository.sources
        self.repository.sources = [OptionFiles(s.provider, s.path) if s.scheme() == "file" else s for s in sources]


class OptionFiles(FileConfigSource):
    """A folder of options: also files with a byte order mark, and options whose name is a number."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content and the header of one file.

        Raises:
            ConfigErrors: it is not UTF-8, or holds no keys.
            yaml.YAMLError: it is not valid YAML; the mark has the path.
        """
        path = (Path(self.path) / self._normalize_file_name(config_path)).resolve()
        text = read_text(path)
        config = copy.deepcopy(_parsed(path, text))  # Hydra takes the defaults list out of it
        header = ConfigSource._get_header_dict(text[:512])
        return ConfigResult(config=config, path=f"file://{self.path}", provider=self.provider, header=header)


@functools.lru_cache(maxsize=1024)
def _parsed(path: Path, text: str) -> Container:
    """Return the content of a file, read before if its text is the same: a composition reads most files twice."""
    stream = io.StringIO(text)
    stream.name = str(path)  # PyYAML names it in errors
    try:
        config = OmegaConf.load(stream)
    except OSError as error:
        raise ConfigErrors([f"{display_path(path)}: expected `key: value`, one on each line."]) from error
    if isinstance(config, DictConfig) and "defaults" in config:
        plain = OmegaConf.to_container(config)["defaults"]  # type: ignore[index,call-overload]
        if _has_number(plain):
            config.defaults = _with_text(plain, as_written(text)["defaults"])
    return config


def _has_number(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_has_number, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int | float)


def _with_text(value: Any, written: Any) -> Any:
    """Return a defaults list in which numbers are the text that was written."""
    if isinstance(value, dict):
        return {key: _with_text(below, written.get(str(key))) for key, below in value.items()}
    if isinstance(value, list):
        return [_with_text(below, text) for below, text in zip(value, written, strict=True)]
    return written if isinstance(value, int | float) else value


def make_loader(config_dirs: list[Path]) -> HydraLoader:
    """Return Hydra's config loader over folders that exist, the first one holding config.yaml."""
    from hydra_plugins.regimen_optuna_sweeper.regimen_optuna_sweeper import register

    search = create_config_search_path(str(config_dirs[0].resolve()))
    for folder in config_dirs[1:]:
        anchor = SearchPathQuery(provider="schema")
        search.prepend(provider="command-line", path=f"file://{folder.resolve()}", anchor=anchor)
    loader = HydraLoader(config_search_path=search)
    register()  # Hydra's scan may have met another plugin of this name later
    return loader


def group_exists(loader: HydraLoader, group: str) -> bool:
    """Return whether one of the folders has a group of this name."""
    return loader.repository.group_exists(group)


def group_options(loader: HydraLoader, group: str) -> list[str]:
    """Return the names of a group's options, those of all folders."""
    return loader.repository.get_group_options(group, ObjectType.CONFIG)


def load_file(loader: HydraLoader, path: str) -> tuple[Container, dict[str, str]]:
    """Return the content of one option file, interpolations not resolved, and its choices of Hydra's own options.

    Args:
        loader: over the folders in which it is looked for.
        path: group and name, such as `task/reach`.

    Returns:
        content: its keys.
        choices: group, such as `hydra/sweeper` -> option, of the lines `override /hydra/sweeper: optuna`.
    """
    loaded = loader.repository.load_config(path)
    assert loaded is not None and loaded.defaults_list is not None  # it is on a defaults list
    groups = [d for d in loaded.defaults_list if isinstance(d, GroupDefault) and d.is_override()]
    choices = {str(d.group).lstrip("/"): str(d.value) for d in groups}
    return loaded.config, {group: option for group, option in choices.items() if group.startswith("hydra/")}


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
