"""Apply settings by path to a configuration of Isaac Lab, converted to the types that it has."""

from __future__ import annotations

from typing import Any

from regimen.config.yaml_io import PlainSection
from regimen.envs.foreign import settings as by_path


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
    by_path.apply(cfg, settings, path)
    _follow(cfg, before, _step_times(cfg), settings)


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
