"""Parse overrides and group choices of the command line, and explain errors in them."""

from __future__ import annotations

import re
from pathlib import Path

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from regimen.config import hydra_adapter, hydra_settings
from regimen.config.groups import GROUPS, MULTI_GROUPS
from regimen.config.hydra_adapter import HydraLoader, group_options, text_override
from regimen.config.sweep_grid import FUNCTIONS, make_parser
from regimen.config.targets import use_options
from regimen.system.errors import ConfigError, did_you_mean


def make_loader(config_dirs: list[Path]) -> HydraLoader:
    """Return Hydra's config loader over folders, the first one holding config.yaml.

    Raises:
        ConfigError: if one of the folders does not exist.
    """
    for folder in config_dirs:
        if not folder.is_dir():
            near = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
            raise ConfigError(f"--config-dir: there is no folder {folder}. {did_you_mean(folder.name, near)}")
    use_options(config_dirs)
    return hydra_adapter.make_loader(config_dirs)


def parse(overrides: list[str], loader: HydraLoader) -> tuple[list[Override], list[str]]:
    """Return the parsed overrides, choices of options as text, and a line for each that is not valid."""
    parser = make_parser(loader)
    parsed, wrong = [], []
    for text in overrides:
        try:
            override = parser.parse_override(text)
            key = override.key_or_group
            named = key in (*GROUPS, *MULTI_GROUPS) or key.startswith("hydra/") or hydra_settings.is_text(key)
            if named and not isinstance(override.value(), dict):
                override = text_override(text, FUNCTIONS)  # names of options
            override.config_loader = loader  # a glob looks for the options that fit
            parsed.append(override)
        except (HydraException, ValueError, RecursionError):
            wrong.append(f"argument `{text}`: {_syntax_advice(text, loader)}")
    return parsed, wrong


def _syntax_advice(text: str, loader: HydraLoader) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        group = key.lstrip("+~").partition("@")[0]
        if group in (*GROUPS, *MULTI_GROUPS):
            return f"write `{group}=<name>`. {did_you_mean('', group_options(loader, group))}"
        return f"expected key=value. To set it write `{key}=<value>`; to see all keys add `--cfg job`."
    if "[" in key:
        dotted = re.sub(r"\[(\d+)\]", r".\1", key)
        return f"elements of a list are reached with a dot: write `{dotted}={value}`."
    if value.startswith("zip("):
        return f"write `{key}=zip(a,b,c)` or `{key}=zip(range(3))`: plain values, as in choice(...)."
    return f"the value cannot be read. Quote it: `'{key}=\"{value}\"'`; a list is [1,2], a mapping {{a:1}}."


def check_choices(parsed: list[Override], loader: HydraLoader, multirun: bool) -> list[str]:
    """Return a line for each group choice or sweep that is not valid."""
    return [line for override in parsed for line in _check_choice(override, loader, multirun)]


def _check_choice(override: Override, loader: HydraLoader, multirun: bool) -> list[str]:
    text, key = override.input_line or "", override.key_or_group
    argument = f"argument `{text}`:"
    if override.is_hydra_override():
        lines = list(hydra_settings.argument_problems(override))
        if key.startswith("hydra/sweeper") and override.value() not in (known := group_options(loader, key)):
            extra = " It comes with: pip install -e '.[optuna]'" if override.value() == "optuna" else ""
            lines.append(f"{argument} there is no such option.{extra} {did_you_mean(str(override.value()), known)}")
        return lines
    if override.is_sweep_override() and not multirun:
        key_, _, value = text.partition("=")
        return [f"{argument} several values start a sweep: add `-m`. A list is written `{key_}=[{value}]`."]
    if key in MULTI_GROUPS:
        return _check_multi_choice(override, loader, argument)
    if key not in GROUPS:
        return [f"{argument} there is no group `{key}`. {did_you_mean(key, GROUPS)}"] if override.package else []
    options = group_options(loader, key)
    if override.is_delete() or (_is_null(override.value()) and "null" not in options):
        instead = f"`{key}=none`" if "none" in options else f"one of {', '.join(options)}"
        return [f"{argument} the group `{key}` needs an option: choose {instead}."]
    if override.is_add() or override.is_force_add():
        return [f"{argument} write `{text.lstrip('+')}`."]
    names = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
    return [
        f"{argument} there is no {key} `{name}`. {did_you_mean(str(name), options)}"
        for name in names
        if name not in options
    ]


def _check_multi_choice(override: Override, loader: HydraLoader, argument: str) -> list[str]:
    key, options = override.key_or_group, group_options(loader, override.key_or_group)
    if override.is_sweep_override() or override.is_delete() or (_is_null(override.value()) and "null" not in options):
        return [
            f"{argument} choose any of {', '.join(options)}, such as `{key}=[{options[0]}]`; none at all is `{key}=[]`."
        ]
    value = override.value()
    names = value if isinstance(value, list) else [value]
    return [
        f"{argument} there is no {key} `{n}`. {did_you_mean(str(n), options)} None at all is `{key}=[]`."
        for n in names
        if n not in options
    ]


def _is_null(value: object) -> bool:
    return isinstance(value, str) and value.lower() == "null"
