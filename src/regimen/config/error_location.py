"""Locate configuration errors in arguments and files, and translate Hydra's errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from regimen.config.hydra_adapter import HydraLoader, group_options
from regimen.config.provenance import SCHEMA, ProvenanceTree
from regimen.config.structured import NODES
from regimen.config.yaml_io import read_text
from regimen.system.errors import ConfigErrors, did_you_mean
from regimen.system.files import display_path

Result = TypeVar("Result")


class ErrorLocator:
    """Finds the argument or file that an error is about.

    Attributes:
        tree: values composed so far, each with its source.
        files: group -> YAML file of the option.
    """

    def __init__(self, loader: HydraLoader, dirs: list[Path], parsed: list[Override]) -> None:
        self.loader, self.dirs, self.parsed = loader, dirs, parsed
        self.tree = ProvenanceTree()
        self.files: dict[str, Path] = {}

    def location(self, path: str) -> str:
        """Return the argument, or file and line, that sets a path; the file of its option if nothing sets it."""
        source = self.tree.source_of(path)
        group = next((g for g, node in NODES.items() if node == path.split(".")[0]), None)
        return display_path(self.files[group]) if source is SCHEMA and group in self.files else source.location(path)

    def translate_errors(self, call: Callable[[], Result]) -> Result:
        """Call Hydra, and translate its errors to messages without its advice and internals.

        Raises:
            ConfigErrors: in place of an error of Hydra, OmegaConf or YAML.
        """
        try:
            return call()
        except MissingConfigException as error:
            raise ConfigErrors([self._missing(error)]) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{display_path(Path(mark.name))}:{mark.line + 1}" if mark else "a YAML file"
            problem = "a tab; indent with spaces" if "'\\t'" in str(error.problem) else error.problem
            raise ConfigErrors([f"{where}: not valid YAML: {problem}."]) from error
        except yaml.reader.ReaderError as error:
            text = f"the character {error.character!r}"
            raise ConfigErrors([f"{display_path(Path(error.name))}: not valid YAML: {text}. Remove it."]) from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            named = re.search(r"full_key: (\S+)", f"{error}\n{error.__cause__}")
            key = getattr(error, "full_key", None) or (named[1] if named else None)
            message = _clean(error)
            argument = next((o.input_line for o in self.parsed if o.key_or_group in message), None)
            where = f"argument `{argument}`: " if argument else ""
            where += f"`{key}`: " if key and key not in where else ""
            where = f"{self.location(key)}: `{key}`: " if key and self.tree.has(key) else where
            raise ConfigErrors([where + message]) from error

    def _missing(self, error: MissingConfigException) -> str:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        for folder in self.dirs:
            for file in sorted(folder.glob("*/*.yaml")):
                if re.search(rf"^\s*-\s*(override\s+)?/?({group}(@\w+)?:\s*)?{name}\s*$", read_text(file), re.M):
                    hint = did_you_mean(name, group_options(self.loader, group))
                    return f"{display_path(file)}: there is no {group} `{name}`. {hint}"
        return f"There is no {group or 'config'} `{name}`. {did_you_mean(name, group_options(self.loader, group))}"


def _clean(error: Exception) -> str:
    """Return the first sentences of Hydra's message, without links, `+` advice and internals."""
    causes = [str(e) for e in (error, error.__cause__) if e is not None and str(e)]
    lines = [line.strip() for text in causes for line in text.splitlines()]
    hidden = ("http", "To append", "full_key:", "object_type", "reference_type", "Set the environment")
    return " ".join(line for line in lines if line and not any(h in line for h in hidden))
