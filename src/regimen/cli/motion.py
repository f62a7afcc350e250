"""`regimen motion <file>`: facts of a motion clip, a strip of pictures, a film; converts files of other projects."""

from __future__ import annotations

import argparse
from pathlib import Path

from regimen.config.motion_files import resolve_motion, shipped_motions
from regimen.display.formatting import table
from regimen.system.errors import ConfigError
from regimen.system.files import display_path


def motion_verb(argv: list[str]) -> int:
    """Print what a motion clip holds and what was repaired, and draw it; a bad one is refused with the reason.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen motion", description=motion_verb.__doc__)
    parser.add_argument(
        "file",
        help="a clip of Regimen by its name, its .npz, Isaac Lab's .npz, or the JSON of motion-imitation; "
        f"with Regimen come {', '.join(shipped_motions())}",
    )
    parser.add_argument("--robot", help="name, or package.module:NAME; by default the one with the file's joints")
    parser.add_argument("--quat-order", choices=["wxyz", "xyzw"], help="order of the quaternions in the file")
    parser.add_argument("--cycle", action="store_true", help="cut to one cycle, which can be repeated without end")
    parser.add_argument(
        "--retarget",
        metavar="ROBOT",
        help="make a clip of another robot: its limbs point as those of the clip, its feet stand where it steps",
    )
    parser.add_argument("--save", type=Path, help="write the repaired clip in Regimen's format to this .npz")
    parser.add_argument("--folder", type=Path, help="for strip and film (default: outputs/motions)")
    parser.add_argument("--facts", action="store_true", help="print the facts alone; nothing is drawn")
    args = parser.parse_args(argv)
    if args.save is not None and args.save.suffix != ".npz":
        raise ConfigError(f"--save {args.save}: expected a file name that ends in .npz.")
    path = Path(args.file) if Path(args.file).is_file() else resolve_motion(args.file)
    from regimen.data.motion.cycle import cut_cycle
    from regimen.data.motion.facts import describe
    from regimen.data.motion.model_poses import ModelPoses
    from regimen.data.motion.motion_file import robot_of
    from regimen.data.motion.repair import ImportedClip, import_clip
    from regimen.envs.robots.robot import load

    robot = load(args.robot) if args.robot else robot_of(path)
    imported, poses, source = import_clip(path, robot, args.quat_order), ModelPoses(robot), None
    measured: list[tuple[str, str]] = []
    if args.retarget:
        from regimen.data.motion.retarget import retarget

        source, target = (imported.clip, poses), load(args.retarget)
        made = retarget(imported.clip, robot, target)
        imported, poses, measured = (
            ImportedClip(made.clip, imported.format, None, None),
            ModelPoses(target),
            made.rows(),
        )
    if args.cycle:
        imported.clip, source = cut_cycle(imported.clip), None
    print("\n".join(table(describe(imported, poses) + measured)))
    if args.save is not None:
        imported.clip.save(args.save)
        print(f"{display_path(args.save)}: use it as env.motion.clips.<name>.file={display_path(args.save)}")
    if not args.facts:
        from regimen.data.motion.pictures import draw_strip, make_film

        folder = args.folder or Path("outputs/motions")
        stem = path.stem if not args.retarget else f"{path.stem}_{poses.robot.name}"
        print(display_path(draw_strip(imported.clip, poses, folder / f"{stem}.png", source)))
        print(display_path(make_film(imported.clip, poses, folder / f"{stem}.mp4")))
    return 0
