"""The launcher, `python launch.py` and `regimen launch`: start, resume or describe a run, a sweep or a pipeline."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from regimen.config.groups import GROUPS, MULTI_GROUPS, config_home, table
from regimen.config.static_modules import use_current_folder
from regimen.display.console import print_in_any_encoding, say
from regimen.display.formatting import visible_lines
from regimen.orchestration.new_run import check_scheduler, start_run
from regimen.runs import outcome
from regimen.runs.run import Run
from regimen.system import signals
from regimen.system.errors import ConfigError, RegimenError, did_you_mean, of_system, raise_if_any

HELP = """python launch.py task=<t> agent=<a> [sim=<s>] [hardware=<h>] [experiment=<e>] [stage=<s>] [key=value ...]

{options}
Common keys
  seed=1  name=walk  env.num_envs=256  agent.trainer.timesteps=64000  env.events.push_robot=null
  policy=<run reference or file>   input of stage=evaluate; also policy=pretrained:<name>
  env.num_envs=auto                measure two sizes, take the one with the best rate of samples that fits
  logger=[csv,mlflow]              where metrics go beside TensorBoard
  resume=<run reference>           alone: continue that run in place
  sweep=<sweep>                    alone: rerun the unfinished jobs of a sweep
  pipeline=<name>                  run a graph of steps; other keys apply to every step
  dry_run=true                     print what would run, with resources and inputs
  wait=true                        with hardware=slurm: wait until the jobs have ended

Examples
  python launch.py task=reach
  python launch.py task=h1_failure env.num_envs=256 dry_run=true
  python launch.py stage=evaluate task=go2_flat policy=latest@best video=true
  python launch.py -m task=reach seed=0,1,2 hardware.max_jobs=2
  python launch.py --config-dir my_conf task=my_task

Flags
  -m                 sweep: one run for each combination of values written a,b,c
  --config-dir DIR   a folder of your own options, such as DIR/task/my_task.yaml
  --cfg job          print the whole configuration; --info and --hydra-help as in Hydra
"""


def launch(argv: list[str], config_dir: Path) -> int:
    """Run the launcher; return its exit code.

    Args:
        argv: arguments, without the name of the program.
        config_dir: folder of config.yaml.
    """
    print_in_any_encoding()
    use_current_folder()
    try:
        return _dispatch(argv, config_dir)
    except RegimenError as error:
        say(visible_lines(str(error)), sys.stderr)
        return outcome.EXIT_BAD_INPUT
    except OSError as error:
        say(visible_lines(f"The launch failed: {of_system(error)}"), sys.stderr)
        return outcome.EXIT_FAILED
    except signals.Interrupted as error:
        return signals.exit_code(error.number)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def launch_verb(argv: list[str]) -> int:
    """Do what `python launch.py` does, with the options of the current folder or of the checkout: `regimen launch`.

    Args:
        argv: the arguments after the verb.
    """
    program_argv = sys.argv
    sys.argv = ["launch.py", *argv]  # the command line that Hydra parses and that run.json records
    try:
        return launch(argv, config_home())
    finally:
        sys.argv = program_argv


def _dispatch(argv: list[str], config_dir: Path) -> int:
    from regimen.config.hydra_adapter import argument_parser, unquoted

    for key, handler in (("resume", _resume), ("sweep", _rerun_sweep)):
        given = [a for a in argv if a.lstrip("+").startswith(f"{key}=")]
        if given:
            argv.remove(given[0])
            return handler(unquoted(given[0].partition("=")[2]), argv)
    flags, unknown = argument_parser().parse_known_intermixed_args(argv)
    if unknown:
        near = did_you_mean(unknown[0].partition("=")[0], FLAGS)
        raise ConfigError(f"Unknown flag {unknown[0]}. {near} `python launch.py --help` lists flags and keys.")
    _check_flags(flags, argv)
    if flags.config_name:
        raise ConfigError(
            f"--config-name {flags.config_name}: the primary config is always config.yaml. Put your settings "
            "into DIR/experiment/<name>.yaml and pass --config-dir DIR experiment=<name>."
        )
    own = [Path(flags.config_dir)] if flags.config_dir else []
    dirs = [Path(flags.config_path) if flags.config_path else config_dir, *own]
    if flags.help:
        print(help_text(dirs), end="")
        return 0
    if flags.run:
        flags.overrides.append("hydra.mode=RUN")
    if flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
        return _delegate_to_hydra(flags, dirs)
    if pipelines := [o for o in flags.overrides if o.lstrip("+").startswith("pipeline=")]:
        return _pipeline(unquoted(pipelines[0].partition("=")[2]), flags, dirs)
    if flags.multirun or _is_sweep(flags.overrides, dirs):
        from regimen.orchestration import auto_size
        from regimen.orchestration.sweep import command

        auto_size.refuse_in("a sweep", flags.overrides)
        return command.run(flags.overrides, dirs)
    return _single_run(flags.overrides, dirs)


FLAGS = ("--help", "--hydra-help", "--multirun", "--run", "--config-dir", "--config-path", "--cfg", "--resolve",
         "--package", "--info", "--shell-completion", "--version")  # fmt: skip


def _check_flags(flags: argparse.Namespace, argv: list[str]) -> None:
    """Raise for flags that would have no effect.

    Args:
        flags: the parsed flags.
        argv: arguments as typed.
    """
    lines = []
    if flags.experimental_rerun:
        lines.append("--experimental-rerun: a run is repeated from its record: `regimen rerun <run>`.")
    for flag, value in (("--resolve", flags.resolve), ("--package", flags.package)):
        if value and not flags.cfg:
            lines.append(f"{flag} concerns the printed configuration: add `--cfg job`, or remove it.")
    if flags.hydra_help and flags.overrides:
        lines.append(f"--hydra-help stands alone: remove {' '.join(flags.overrides)}.")
    alone = {
        "--run": flags.run, "--multirun": flags.multirun, "--cfg": flags.cfg, "--info": flags.info,
        "--shell-completion": flags.shell_completion, "--hydra-help": flags.hydra_help,
    }  # fmt: skip
    given = [name for name, value in alone.items() if value]
    if len(given) > 1:
        lines.append(f"{' and '.join(given)} exclude each other: choose one.")
    words = [word.partition("=")[0] for word in argv]
    once = {"--config-dir": "-cd", "--config-path": "-cp", "--cfg": "-c", "--package": "-p", "--info": "-i"}
    lines += [f"{k}: given twice, remove one." for k, v in once.items() if sum(w in (k, v) for w in words) > 1]
    if sum(o.lstrip("+").startswith("pipeline=") for o in flags.overrides) > 1:
        lines.append("pipeline= is given twice: remove one.")
    if flags.multirun and "hydra.mode=RUN" in flags.overrides:
        lines.append("-m and hydra.mode exclude each other: remove one.")
    raise_if_any(lines)


def _is_sweep(overrides: list[str], dirs: list[Path]) -> bool:
    """Return whether the arguments or the options that they choose ask for a sweep without -m."""
    from regimen.config.compose import is_sweep

    return is_sweep(overrides, dirs)


def help_text(config_dirs: list[Path]) -> str:
    """Return the help text, with the options of every group.

    Args:
        config_dirs: folder of config.yaml, then the user's own.
    """
    groups = (*GROUPS, *MULTI_GROUPS)
    tables = [f"{group}=\n{table(group, config_dirs, '  ')}\n" for group in groups]
    tables.append(f"pipeline=\n{table('pipeline', config_dirs, '  ')}\n")
    return HELP.format(options="\n".join(tables))


def _resume(reference: str, others: list[str]) -> int:
    """Resume a run in place with its frozen configuration."""
    if others:
        raise ConfigError(
            f"resume={reference} continues a run with its frozen configuration; remove {' '.join(others)}. "
            "To start a new run with other settings leave out resume."
        )

    from regimen.runs.references import resolve_run

    run = Run.open(resolve_run(reference))
    if (run.config.get("hardware") or {}).get("scheduler"):
        from regimen.orchestration.slurm.submit import resume

        return resume(run)
    from regimen.runs.supervisor import supervise

    return supervise(run)


def _rerun_sweep(reference: str, others: list[str]) -> int:
    """Rerun the unfinished jobs of a sweep with their frozen configurations."""
    if others:
        raise ConfigError(
            f"sweep={reference} reruns jobs with their frozen configurations; remove {' '.join(others)}. "
            "To sweep with other settings leave out sweep."
        )
    from regimen.orchestration.sweep.command import rerun

    return rerun(reference)


def _pipeline(name: str, flags: argparse.Namespace, dirs: list[Path]) -> int:
    """Run a pipeline."""
    if flags.multirun:
        raise ConfigError("A pipeline has no multirun: use `foreach` in its file and remove -m.")
    from regimen.orchestration import auto_size
    from regimen.orchestration.pipeline.command import run

    auto_size.refuse_in("a pipeline", flags.overrides)
    return run(name, [o for o in flags.overrides if not o.lstrip("+").startswith("pipeline=")], dirs)


def _single_run(overrides: list[str], dirs: list[Path]) -> int:
    """Check one run, then describe or start it."""
    from regimen.config.compose import compose
    from regimen.orchestration import auto_size
    from regimen.orchestration.preflight import preflight

    root, sized = Path("outputs"), None
    if auto_size.is_auto(overrides):
        sized = auto_size.choose(overrides, dirs, root)
        composed, report = sized.composed, sized.report
        say(auto_size.described(sized.choice))
    else:
        composed = compose(overrides, dirs)
        report = preflight(composed, root)
    check_scheduler([composed])
    if composed.config.dry_run:
        from regimen.orchestration import dry_run

        say(dry_run.describe(composed, report, dry_run.run_directory(root, composed.plain)))
        return 0
    for line in dict.fromkeys(report.warnings):
        say(f"warning: {line}")
    return start_run(composed, root, report, size_choice=None if sized is None else sized.choice)


def _job_config(config: dict[str, Any], package: str | None) -> str:
    """Return the resolved configuration, or the part at the dotted path `package`, as YAML."""
    from regimen.config.yaml_io import as_yaml

    part: Any = config
    for key in package.split(".") if package else []:
        if not isinstance(part, dict) or key not in part:
            raise ConfigError(f"--package {package}: there is no key `{key}`. {did_you_mean(key, list(part or []))}")
        part = part[key]
    return as_yaml(part)


def _delegate_to_hydra(flags: argparse.Namespace, dirs: list[Path]) -> int:
    """Run Hydra itself for `--cfg hydra`, `--info`, `--hydra-help` and completion, after checking the configuration."""
    import hydra

    from regimen.config.compose import compose

    if flags.cfg == "job":
        print(_job_config(compose(flags.overrides, dirs, sweep=True).plain, flags.package), end="")
        return 0
    if not flags.shell_completion:
        compose(flags.overrides, dirs, sweep=True)
    hydra.main(config_path=str(dirs[0].resolve()), config_name="config", version_base="1.3")(lambda cfg: None)()
    return 0
