"""Settings of the simulators that a training names beside its own, `stage.evaluation.sims`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regimen.config import groups, interpolation
from regimen.config.yaml_io import PlainConfig, read_yaml
from regimen.system.errors import ConfigError, did_you_mean
from regimen.system.files import display_path

SETTINGS = "sim_settings"
"""Key of the section that receives them, so that they are frozen with the rest of the configuration."""


def fill_in(plain: PlainConfig, config_dirs: Sequence[Path]) -> None:
    """Put the settings of the named simulators, as their options have them, beside their names.

    Args:
        plain: resolved plain configuration; changed.
        config_dirs: folders of options, the first one wins.

    Raises:
        ConfigError: there is no such option, it cannot be used here, or the settings were given.
    """
    evaluation = (plain.get("stage") or {}).get("evaluation")
    if not isinstance(evaluation, dict):
        return
    if evaluation.get(SETTINGS):
        raise ConfigError(
            f"stage.evaluation.{SETTINGS} is filled in by the launcher. Name simulators: stage.evaluation.sims=[<sim>]."
        )
    evaluation[SETTINGS] = {name: _settings(str(name), plain, config_dirs) for name in evaluation.get("sims") or []}


def _settings(name: str, plain: PlainConfig, config_dirs: Sequence[Path]) -> PlainConfig:
    file = next((path for folder in config_dirs if (path := folder / "sim" / f"{name}.yaml").is_file()), None)
    if file is None:
        known = groups.options("sim", list(config_dirs))
        raise ConfigError(f"stage.evaluation.sims: there is no sim `{name}`. {did_you_mean(name, known)}")
    resolved = interpolation.resolved({**plain, "sim": read_yaml(file)})
    if resolved is None or "defaults" in resolved["sim"]:
        raise ConfigError(
            f"stage.evaluation.sims: {display_path(file)} is made of other options or computes a value, and cannot be "
            "read beside the simulator of the training. Name another one."
        )
    return dict(resolved["sim"])
