"""Apply settings by path to a configuration of Isaac Lab, converted to the types that it has."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, MutableMapping
from typing import Any

from regimen.config.yaml_io import PlainSection
from regimen.system.errors import ConfigError


def apply(cfg: Any, settings: PlainSection, path: str = "env.isaac") -> None:
    """Set values of a configuration.

    Sensors that are read once a physics step or once a control step stay so where the step time is changed, and so does
    the interval of rendering.

    Args:
        cfg: the configuration, its presets chosen; changed in place.
        settings: nested values, as the catalogue accepts them.
        path: key of `settings`, for messages.

    Raises:
        ConfigError: a function that cannot be imported.
    """
    before = _step_times(cfg)
    _set(cfg, settings, path)
    _follow(cfg, before, _step_times(cfg), settings)


def _set(owner: Any, settings: PlainSection, path: str) -> None:
    for name, value in settings.items():
        key = f"{path}.{name}"
        now = _get(owner, name)
        if isinstance(value, dict) and _has_fields(now):
            _set(now, value, key)
        else:
            _put(owner, name, converted(now, value, key))


def _has_fields(value: Any) -> bool:
    return (
        hasattr(value, "__dataclass_fields__")
        or isinstance(value, Mapping)
        or (isinstance(value, list | tuple) and any(hasattr(v, "__dataclass_fields__") for v in value))
    )


def _get(owner: Any, name: str) -> Any:
    if isinstance(owner, Mapping):
        return owner.get(name)
    return owner[int(name)] if isinstance(owner, list | tuple) else getattr(owner, name)


def _put(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, MutableMapping):
        owner[name] = value
    elif isinstance(owner, list):
        owner[int(name)] = value
    else:
        setattr(owner, name, value)


def converted(now: Any, value: Any, key: str) -> Any:
    """Return `value` in the type of the present value.

    Raises:
        ConfigError: see `apply`.
    """
    if isinstance(value, list):
        return tuple(value) if isinstance(now, tuple) or now is None else value
    if isinstance(now, float) and type(value) is int:
        return float(value)
    if isinstance(value, str) and (callable(now) or type(now).__name__ == "ResolvableString"):
        return _function(value, key)
    return value


def _function(text: str, key: str) -> Any:
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}={text}: {error}. Name a function as module:function.") from error


def _step_times(cfg: Any) -> tuple[float, int]:
    return float(cfg.sim.dt), int(cfg.decimation)


def _follow(cfg: Any, before: tuple[float, int], now: tuple[float, int], settings: PlainSection) -> None:
    """Scale what the task had computed from its step times: sensors' periods and the interval of rendering."""
    (dt, decimation), (new_dt, new_decimation) = before, now
    if before == now:
        return
    if cfg.sim.render_interval == decimation and "render_interval" not in (settings.get("sim") or {}):
        cfg.sim.render_interval = new_decimation
    periods = {dt: new_dt, dt * decimation: new_dt * new_decimation}
    for name, sensor in vars(cfg.scene).items() if hasattr(cfg, "scene") else ():
        period = getattr(sensor, "update_period", None)
        if "update_period" in ((settings.get("scene") or {}).get(name) or {}):
            continue
        for old, new in periods.items():
            if period is not None and abs(period - old) < 1e-9:
                sensor.update_period = new
                break
