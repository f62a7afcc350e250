"""Config groups and their options, each with the first line of its description."""

from __future__ import annotations

from pathlib import Path

from regimen.config.yaml_io import read_text
from regimen.display import formatting
from regimen.system.errors import ConfigError
from regimen.system.files import data_folder

GROUPS = ("task", "sim", "agent", "hardware", "stage", "experiment")
"""Groups with one option per run."""

MULTI_GROUPS = ("logger",)
"""Groups with any number of options per run: `logger=[csv,mlflow]`."""


def config_home() -> Path:
    """Return the folder of config.yaml: `conf` of the current directory if present, else that of Regimen."""
    here = Path.cwd() / "conf"
    return here if (here / "config.yaml").is_file() else data_folder("conf")


def options(group: str, config_dirs: list[Path]) -> dict[str, str]:
    """Return name -> description of a group's options, in alphabetical order.

    Args:
        group: `task`, `agent`, …
        config_dirs: folders searched, the first one wins.

    Raises:
        ConfigError: if a folder does not exist.
    """
    descriptions: dict[str, str] = {}
    for folder in config_dirs:
        if not folder.is_dir():
            raise ConfigError(f"There is no folder {folder}. Expected one with subfolders such as `{group}/`.")
        for file in (folder / group).glob("*.yaml"):
            descriptions.setdefault(file.stem, description(file))
    return dict(sorted(descriptions.items()))


def description(file: Path) -> str:
    """Return the first comment line of a YAML file that is not a header for Hydra; of no text, what it is."""
    try:
        text = read_text(file)
    except ConfigError:
        return "(not UTF-8)"
    for line in text.splitlines():
        comment = line.lstrip("# ").rstrip()
        if not line.startswith("#"):
            return ""
        if comment and not comment.startswith("@"):
            return comment
    return ""


def table(group: str, config_dirs: list[Path], indent: str = "") -> str:
    """Return one line for each option of a group."""
    return "\n".join(formatting.table(list(options(group, config_dirs).items()), indent))
