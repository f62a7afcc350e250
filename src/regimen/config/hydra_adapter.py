"""The parts of Hydra that are no public interface, in one place: a new release of Hydra is checked against this module.

Read in Hydra 1.3.8: `hydra._internal` (`config_loader_impl`, `callbacks`, `utils`) and methods with a leading
underscore. One import stands elsewhere: the plugin in `hydra_plugins` subclasses `BasicSweeper`, and Hydra loads it at
times when nothing else of Regimen may be loaded.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl as HydraLoader
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import Container, DictConfig

__all__ = ["HydraLoader"]


def make_loader(config_dirs: list[Path]) -> HydraLoader:
    """Return Hydra's config loader over folders that exist, the first one holding config.yaml."""
    search = create_config_search_path(str(config_dirs[0].resolve()))
    for folder in config_dirs[1:]:
        anchor = SearchPathQuery(provider="schema")
        search.prepend(provider="command-line", path=f"file://{folder.resolve()}", anchor=anchor)
    return HydraLoader(config_search_path=search)


def group_exists(loader: HydraLoader, group: str) -> bool:
    """Return whether one of the folders has a group of this name."""
    return loader.repository.group_exists(group)


def group_options(loader: HydraLoader, group: str) -> list[str]:
    """Return the names of a group's options, those of all folders."""
    return loader.repository.get_group_options(group, ObjectType.CONFIG)


def load_file(loader: HydraLoader, path: str) -> Container | None:
    """Return the content of one option file, interpolations not resolved; None where there is none.

    Args:
        loader: over the folders in which it is looked for.
        path: group and name, such as `task/reach`.
    """
    loaded = loader.repository.load_config(path)
    return None if loaded is None else loaded.config


def argument_parser() -> ArgumentParser:
    """Return the parser of Hydra's command line: its flags, and overrides as the rest."""
    return get_args_parser()


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


def value_text(value: Any) -> str:
    """Return a parsed value as Hydra writes it into an argument; the quotes of text in `choice(...)` are lost."""
    return Override._get_value_element_as_str(value)


def quoted(value: Any) -> str:
    """Return text, or a list of texts, as the value of an argument that Hydra reads back unchanged."""
    if isinstance(value, list):
        return f"[{','.join(map(quoted, value))}]"
    return QuotedString(str(value), Quote.single).with_quotes()
