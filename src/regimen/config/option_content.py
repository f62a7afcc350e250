"""Read the text of an option file as OmegaConf reads it, in a fifth of its time."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import NoneType
from typing import Any

import yaml
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf._utils import get_yaml_loader
from omegaconf.errors import OmegaConfBaseException

from regimen.config.yaml_io import as_written, parse_yaml
from regimen.system.errors import ConfigErrors
from regimen.system.files import display_path


def option_content(text: str, name: str) -> tuple[Any, Container]:
    """Return the content of a YAML file as OmegaConf reads it; numbers in its defaults list are text.

    The parser of libyaml takes a fifth of the time; errors come from that of Python, whose messages say more. OmegaConf
    takes most of the time of a composition, so it gets what Hydra reads of a file: its keys, its defaults list and its
    section for Hydra.

    Args:
        text: of the file.
        name: of the file, in errors.

    Returns:
        plain: the content.
        config: what Hydra reads of it.
    """
    plain: Any
    try:
        plain = None if READ_DIFFERENTLY.search(text) else parse_yaml(text, OptionLoader)
    except (yaml.YAMLError, RecursionError):
        plain = None
    if isinstance(plain, dict) and _is_simple(plain):
        config: Container = OmegaConf.create({key: _outline(key, value) for key, value in plain.items()})
    else:
        stream = io.StringIO(text)
        stream.name = name  # PyYAML names it in errors
        try:
            config = OmegaConf.load(stream)
        except OSError as error:
            raise ConfigErrors([f"{display_path(Path(name))}: expected `key: value`, one on each line."]) from error
        plain = OmegaConf.to_container(config)
        if not isinstance(plain, dict):
            raise ConfigErrors([f"{display_path(Path(name))}: expected `key: value`, one on each line, and no list."])
    if isinstance(config, DictConfig) and "defaults" in config:
        defaults = OmegaConf.to_container(config)["defaults"]  # type: ignore[index,call-overload]
        if _has_number(defaults):
            config.defaults = _with_text(defaults, as_written(text)["defaults"])
        del plain["defaults"]  # Hydra takes it out as well
    return plain, config


READ_DIFFERENTLY = re.compile(r"[\t!?]|[|>]#")
"""Tabs, tags and a few others: libyaml accepts some of those that PyYAML refuses."""


def _is_simple(value: Any) -> bool:
    """Return whether OmegaConf accepts a value and returns it unchanged; others are left to OmegaConf itself."""
    if isinstance(value, dict):
        return all(type(key) is str and _is_simple(below) for key, below in value.items())
    if isinstance(value, list):
        return all(map(_is_simple, value))
    return type(value) in (int, float, bool, NoneType) or (type(value) is str and "${" not in value) or _is_valid(value)


def _is_valid(value: Any) -> bool:
    """Return whether a value is text whose interpolations OmegaConf can parse."""
    try:
        return type(value) is str and isinstance(OmegaConf.create([value]), ListConfig)
    except OmegaConfBaseException:
        return False


def _outline(key: str, value: Any) -> Any:
    """Return a value of a file if Hydra reads it, else an empty one in place of a mapping or a list."""
    return type(value)() if isinstance(value, dict | list) and key not in ("defaults", "hydra") else value


class OptionLoader(*((yaml.CSafeLoader,) if yaml.__with_libyaml__ else ()), get_yaml_loader()):  # type: ignore[misc]
    """OmegaConf's rules, such as those for numbers and duplicate keys, for the parser of libyaml."""


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
