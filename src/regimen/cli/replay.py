"""`regimen replay <run> nan`: the last steps of a run in which something became NaN or infinite."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from regimen.runs.history.run_view import RunView, open_view
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system.errors import ConfigError, RunReferenceError

SPEED = 0.1


def replay_verb(argv: list[str]) -> int:
    """Print the steps of the NaN dump of a run; show the robot in a window, or write a film.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen replay",
        description="Replay what a run kept: `nan`, the last steps before a value that is not finite.",
    )
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    parser.add_argument("what", choices=["nan"], help="nan: nan_dump.npz of the run")
    parser.add_argument("--env", type=int, help="env to show, by default the first in which it happened")
    parser.add_argument("--speed", type=float, default=SPEED, help="in shares of real time, by default %(default)s")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--window", action="store_true", help="show the robot in a window; the default with a display")
    how.add_argument(
        "--film", type=Path, nargs="?", const=Path(), help="write a film, by default video/nan.mp4 of the run"
    )
    how.add_argument("--table", action="store_true", help="print the table alone; no simulator is opened")
    args = parser.parse_args(argv)
    if not args.speed > 0:
        raise ConfigError(f"--speed {args.speed:g}: expected a number above 0, such as {SPEED:g}.")
    if args.film is not None and args.film.name and args.film.suffix != ".mp4":
        raise ConfigError(f"--film {args.film}: expected a file name that ends in .mp4.")
    view = open_view(args.run)
    _replay(view, args)
    return 0


def _replay(view: RunView, args: argparse.Namespace) -> None:
    run = Run(view.dir)
    if not run.nan_dump.exists():
        raise RunReferenceError(_why_none(view))
    from regimen.envs.nan_dump import NanDump
    from regimen.stages.playback import nan_replay

    dump = NanDump.read(run.nan_dump)
    env_id = dump.head["env_ids"][0] if args.env is None else args.env
    print("\n".join(nan_replay.describe(dump, env_id)), flush=True)
    if args.table:
        return
    from regimen.config.structured import load_config

    config = load_config(run.config_path)
    asked = args.window or args.film is not None
    if not asked and not getattr(config.env, "MANAGER_BASED", False):
        print(f"task={config.choices.get('task')} has no robot to show")
        return
    why = _no_window(config.sim) if args.film is None else "a film is written"
    if args.window and why:
        raise ConfigError(f"--window: {why} For a film type --film.")
    window = args.window or (not why and sys.stdout.isatty())  # a script does not wait for a window to be closed
    world, robot = nan_replay.open_world(config)
    try:
        if window:
            nan_replay.play(dump, env_id, world, robot, args.speed)
            return
        path = args.film if args.film is not None and args.film.name else run.dir / "video" / "nan.mp4"
        frames = nan_replay.film(dump, env_id, world, path, args.speed)
        print(f"{os.path.relpath(path)}: {frames} steps" if frames else "no film: no step has a finite state")
    finally:
        world.close()


def _why_none(view: RunView) -> str:
    """Return why a run has no dump, and what to type for one."""
    about = f"{view.id} has no NaN dump"
    if view.status == Status.DIVERGED:
        kept = view.config.get("nan_dump")
        if kept == 0:
            return f"{about}: it ran with nan_dump=0. Launch it again with nan_dump=32."
        return (
            f"{about}: no value of its environment was the first that is not finite. Its reason: {view.record.reason} "
            f"Read {os.path.relpath(view.dir / 'logs' / 'worker.log')}."
        )
    return f"{about}: it is {view.status}. A run leaves one if it ends as diverged: regimen runs status=diverged"


def _no_window(sim: object) -> str:
    """Return why no window opens, or nothing."""
    from regimen.display.window import no_window

    if not getattr(sim, "MUJOCO", False):
        return "the window needs sim=mujoco."
    return no_window(os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY")) or ""
