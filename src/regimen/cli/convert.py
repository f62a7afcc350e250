"""Commands that convert datasets: `import-legacy`, `import-demos`, `import-histories` and `export-lerobot`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from regimen.config.compose import compose_config
from regimen.data.demonstration_import import import_demonstrations
from regimen.data.episodes import card, legacy_import
from regimen.data.histories import vintix_import
from regimen.data.lerobot import export
from regimen.envs import open_env
from regimen.runs import references


def import_legacy_verb(argv: list[str]) -> int:
    """Convert legacy recordings to a dataset: `regimen import-legacy <files or folder> --out episodes.h5`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen import-legacy", description=import_legacy_verb.__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="the two .dat, or the .npz of all envs, or their folder")
    parser.add_argument("--out", type=Path, required=True, help="the dataset to make")
    parser.add_argument("--episode-steps", type=int, default=1000, help="steps after which an episode ended by time")
    parser.add_argument("--offset", type=int, default=0, help="0: faults act before the observation of their step")
    args = parser.parse_args(argv)
    path = legacy_import.convert(args.files, args.out, args.episode_steps, args.offset)
    described = card.make([path])
    card.keep_healthy(path, described)
    card.write(described, path.parent, path.parent)
    print(f"{path}: {described.episodes.count} episodes, {described.rows} frames; see {path.parent / 'card.md'}")
    return 0


def import_demos_verb(argv: list[str]) -> int:
    """Convert demonstrations of HIL-SERL to a dataset: `regimen import-demos <pickles> --out demos.h5 task=<task>`.

    With a task, whose sizes the data must have, its names of observations and actions are taken over; other overrides
    may follow, such as `env.images.size=128`. Nothing in the pickles is executed.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen import-demos", description=import_demos_verb.__doc__)
    parser.add_argument("files", nargs="+", help="pickles in order, and overrides such as task=gear_assembly")
    parser.add_argument("--out", type=Path, required=True, help="the dataset to make")
    parser.add_argument("--episode-steps", type=int, help="steps after which an episode ended by time, if no task is")
    parser.add_argument("--step-dt", type=float, help="seconds between two transitions, if no task is (default 0.1)")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    args = parser.parse_intermixed_args(argv)
    overrides = [text for text in args.files if "=" in text and not Path(text).exists()]
    files = [Path(text) for text in args.files if text not in overrides]
    if not files:
        parser.error("name one pickle or more")
    io, task, step_dt, episode_steps = None, "", args.step_dt or 0.1, args.episode_steps
    if overrides:
        if args.step_dt or args.episode_steps:
            parser.error("--step-dt and --episode-steps are those of the task: leave them out")
        config = compose_config([*overrides, "env.num_envs=1"], args.config_dir)
        env = open_env(config)
        io, task, episode_steps = env.io, config.choices["task"], env.max_episode_length
        env.close()
    started = time.perf_counter()
    counts = import_demonstrations(files, args.out, io, task, step_dt, episode_steps)
    seconds = time.perf_counter() - started
    described = card.make([args.out])
    card.keep_healthy(args.out, described)
    card.write(described, args.out.parent, args.out.parent)
    ends = f"{counts.timed_out} ended by time, {counts.cut} cut"
    rate = f"{counts.rows / max(seconds, 1e-9):.0f} a second"
    print(f"{args.out}: {counts.episodes} episodes ({ends}), {counts.rows} transitions, {rate}")
    for line in described.demonstrations.warnings if described.demonstrations is not None else []:
        print(f"warning: {line}")
    print(f"See {args.out.parent / 'card.md'}")
    return 0


def import_histories_verb(argv: list[str]) -> int:
    """Convert public learning histories to a dataset: `regimen import-histories <folder> --out <folder>`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen import-histories", description=import_histories_verb.__doc__)
    parser.add_argument("folder", type=Path, help="holds *.h5 and <folder name>.json")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--random-score", type=float, help="mean return of random actions")
    parser.add_argument("--expert-score", type=float, help="mean return of the best policy")
    parser.add_argument("--reward-scale", type=float, help="factor that a learner applies to rewards")
    parser.add_argument("--episode-sparsity", type=int, help="a learner reads every so many-th episode")
    given = vars(parser.parse_args(argv))
    path, repaired = vintix_import.convert(given.pop("folder").resolve(), given.pop("out"), **given)
    for line in repaired:
        print(f"warning: {line}")
    print(path)
    return 0


def export_lerobot_verb(argv: list[str]) -> int:
    """Write a dataset in the LeRobot v3 layout: `regimen export-lerobot <run or file> <folder>`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen export-lerobot", description=export_lerobot_verb.__doc__)
    parser.add_argument("dataset", help="run of stage=collect or stage=collect_histories, or its file or folder")
    parser.add_argument("folder", type=Path, help="to make")
    parser.add_argument("--fps", type=int, help="rows a second, of an imported dataset that does not say")
    args = parser.parse_args(argv)
    written = export.export(references.resolve_data(args.dataset), args.folder, args.fps)
    print(f"{args.folder}: {written['episodes']} episodes, {written['rows']} rows, LeRobot v3")
    return 0
