"""What `python launch.py` does: help, resume, plan, one run, or a sweep."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.config.groups import GROUPS, MULTI_GROUPS, table
from regimen.config.static_modules import use_current_folder
from regimen.display.console import say
from regimen.runs import outcome
from regimen.runs.run import Run
from regimen.system import files, signals
from regimen.system.errors import ConfigError, RegimenError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.compose import Composed
    from regimen.orchestration.preflight import Preflight

HELP = """python launch.py task=<t> agent=<a> [sim=<s>] [hardware=<h>] [experiment=<e>] [stage=<s>] [key=value ...]

{options}
Common keys
  seed=1  name=walk  env.num_envs=256  agent.trainer.timesteps=64000  env.events.push_robot=null
  policy=<run reference or file>   input of stage=evaluate; also policy=pretrained:<name>
  logger=[csv,mlflow]              where metrics go beside TensorBoard
  resume=<run reference>           alone: continue that run in place
  sweep=<sweep>                    alone: rerun the jobs of a sweep that failed or are missing
  pipeline=<name>                  run a graph of steps; other keys are for every step
  dry_run=true                     print what would run where, and stop
  wait=true                        with hardware=slurm: stay until the jobs have ended

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
    """Do what the command line says; return the exit code.

    Args:
        argv: arguments, without the program's name.
        config_dir: folder of config.yaml.
    """
    use_current_folder()
    try:
        return _launch(argv, config_dir)
    except RegimenError as error:
        print(f"{error}", file=sys.stderr)
        return outcome.EXIT_BAD_INPUT
    except signals.Interrupted as error:
        return outcome.signalled(error.number).exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _launch(argv: list[str], config_dir: Path) -> int:
    for key, continue_ in (("resume", _resume), ("sweep", _sweep_again)):
        given = [a for a in argv if a.lstrip("+").startswith(f"{key}=")]
        if given:
            argv.remove(given[0])
            return continue_(given[0].partition("=")[2], argv)
    from hydra._internal.utils import get_args_parser

    flags, unknown = get_args_parser().parse_known_intermixed_args(argv)
    if unknown:
        raise ConfigError(f"There is no flag {unknown[0]}. `python launch.py --help` lists flags and keys.")
    if flags.config_name:
        raise ConfigError(
            f"--config-name {flags.config_name}: there is one primary config, config.yaml. Put settings of your own "
            "into DIR/experiment/<name>.yaml and write --config-dir DIR experiment=<name>."
        )
    own = [Path(flags.config_dir)] if flags.config_dir else []
    dirs = [Path(flags.config_path) if flags.config_path else config_dir, *own]
    if flags.help:
        print(help_text(dirs), end="")
        return 0
    if flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
        return _hand_over(flags, dirs)
    if pipelines := [o for o in flags.overrides if o.lstrip("+").startswith("pipeline=")]:
        return _pipeline(pipelines[0].partition("=")[2], flags, dirs)
    if flags.multirun:
        return _sweep(flags, dirs)
    return _single(flags.overrides, dirs)


def help_text(config_dirs: list[Path]) -> str:
    """Return the help, listing the options of every group."""
    groups = (*GROUPS, *MULTI_GROUPS)
    tables = [f"{group}=\n{table(group, config_dirs, '  ')}\n" for group in groups]
    tables.append(f"pipeline=\n{table('pipeline', config_dirs, '  ')}\n")
    return HELP.format(options="\n".join(tables))


def _resume(reference: str, others: list[str]) -> int:
    """Continue a run in place, as it was configured."""
    if others:
        raise ConfigError(
            f"resume={reference} continues a run exactly as it was configured; take away {' '.join(others)}. "
            "To start a new run with other settings leave out resume."
        )
    import yaml

    from regimen.runs.references import resolve_run

    run = Run.open(resolve_run(reference))
    if (yaml.safe_load(run.config_path.read_text()).get("hardware") or {}).get("scheduler"):
        from regimen.orchestration.slurm.submit import resume

        return resume(run)
    from regimen.runs.supervisor import supervise

    return supervise(run)


def _sweep_again(reference: str, others: list[str]) -> int:
    """Rerun the jobs of a sweep that did not finish, as they were configured."""
    if others:
        raise ConfigError(
            f"sweep={reference} reruns jobs exactly as they were configured; take away {' '.join(others)}. "
            "To sweep with other settings leave out sweep."
        )
    from regimen.orchestration.sweep.rerun import rerun

    return rerun(reference)


def _pipeline(name: str, flags: argparse.Namespace, dirs: list[Path]) -> int:
    """Run a graph of steps."""
    if flags.multirun:
        raise ConfigError("A pipeline fans out by `foreach` in its file; take away -m.")
    from regimen.orchestration.pipeline.command import run

    return run(name, [o for o in flags.overrides if not o.lstrip("+").startswith("pipeline=")], dirs)


def _single(overrides: list[str], dirs: list[Path]) -> int:
    from regimen.config.compose import compose
    from regimen.orchestration.preflight import preflight

    composed = compose(overrides, dirs)
    root = Path("outputs")
    found = preflight(composed, root)
    check_scheduler([composed])
    if composed.config["dry_run"]:
        from regimen.orchestration import dry_run

        say(dry_run.describe(composed, found, dry_run.run_directory(root, composed.choices)))
        return 0
    _warn(found.warnings)
    if composed.config["hardware"]["scheduler"]:
        return _submit(composed, root, found)
    from regimen.runs.supervisor import supervise

    with signals.handled(signals.leave):
        run = create_run(composed, root, found)
        with not_started(run):
            return supervise(run)


def check_scheduler(jobs: list[Composed]) -> None:
    """Ask the scheduler whether it would take the jobs.

    Raises:
        ConfigError: with what it has against them; nothing was written.
    """
    if any(job.config["hardware"]["scheduler"] for job in jobs):
        from regimen.config.compose import refuse
        from regimen.orchestration.slurm.submit import check

        refuse(check([job.config for job in jobs]))


def _submit(composed: Composed, root: Path, found: Preflight) -> int:
    """Give one run to the scheduler."""
    from regimen.orchestration.slurm.submit import submit
    from regimen.orchestration.slurm.wait import wait
    from regimen.runs import code_snapshot

    run = create_run(composed, root, found, status="queued", code=str(code_snapshot.take(composed.config)))
    with not_started(run):
        job = submit([run])[run.id]
    say(f"submitted: {os.path.relpath(run.dir)} as job {job}. To follow it: regimen queue")
    return wait([run]) if composed.config["wait"] else 0


def create_run(composed: Composed, root: Path, found: Preflight, run_id: str | None = None, **known: Any) -> Run:
    """Claim a run directory and put the frozen configuration and Hydra's own record into it.

    Args:
        composed: the checked configuration.
        root: folder of runs.
        found: what preflight saw: the inputs and the runs they come from.
        run_id: name of the directory; by default made from time, task and agent.
        known: what else the record says from the start, see `creation.create`.
    """
    from regimen.runs import create

    argv = ["launch.py", *sys.argv[1:]]
    run = Run.create(root, composed.config, argv, composed.overrides, run_id, **found.record(), **known)
    folder = run.dir / (composed.node.plain["output_subdir"] or ".hydra")
    with not_started(run):
        folder.mkdir()
        shutil.copyfile(run.config_path, folder / "config.yaml")
        for name, data in {"hydra": composed.record(), "overrides": composed.overrides}.items():
            (folder / f"{name}.yaml").write_text(create.as_yaml(data), encoding="utf-8")
    os.environ.update({str(k): str(v) for k, v in composed.node.config.job.env_set.items()})
    return run


@contextmanager
def not_started(run: Run) -> Iterator[None]:
    """Have run.json tell of what goes wrong before a supervisor has taken the run over."""
    try:
        yield
    except BaseException as error:
        end = outcome.Outcome("failed", outcome.EXIT_FAILED, f"not started: {error}")
        if isinstance(error, signals.Interrupted):
            end = outcome.signalled(error.number, f"not started: {outcome.signal_name(error.number)} came first")
        if run.info.get("supervisor") is None:
            with suppress(OSError):
                outcome.record_end(run, end)
        raise


def _sweep(flags: argparse.Namespace, dirs: list[Path]) -> int:
    from regimen.orchestration.sweep import report
    from regimen.orchestration.sweep.jobs import expand, preflight_all, run_through_hydra

    jobs = expand(flags.overrides, dirs)
    found = preflight_all(jobs, Path("multirun"))
    check_scheduler(jobs)
    if jobs[0].config["dry_run"]:
        from regimen.orchestration import dry_run

        say(dry_run.describe_sweep(jobs, found, Path("multirun") / "<sweep>" / "<sweep>.000"))
        return 0
    _warn([line for f in found for line in f.warnings])
    folder = files.claim(Path("multirun"))
    stopped = 0
    try:
        with signals.handled(signals.leave):
            run_through_hydra(folder, flags.overrides, dirs)
    except signals.Interrupted as error:
        stopped = outcome.signalled(error.number).exit_code
    finally:  # whatever a sweeper meets, its jobs ran
        code = report.report(folder)
    return stopped or code


def _warn(lines: list[str]) -> None:
    for line in dict.fromkeys(lines):
        say(f"warning: {line}")


def _job_config(composed: Composed, package: str | None) -> str:
    """Return the resolved configuration, or the part of it that stands at `package`, as YAML."""
    import yaml

    part: Any = composed.config
    for key in package.split(".") if package else []:
        if not isinstance(part, dict) or key not in part:
            raise ConfigError(f"--package {package}: there is no `{key}`. {did_you_mean(key, list(part or []))}")
        part = part[key]
    return yaml.safe_dump(part, sort_keys=False, allow_unicode=True)


def _hand_over(flags: argparse.Namespace, dirs: list[Path]) -> int:
    """Let Hydra answer `--cfg hydra`, `--info`, `--hydra-help` and completion, once the configuration is sound."""
    import hydra

    from regimen.config.compose import compose

    if flags.cfg == "job":
        print(_job_config(compose(flags.overrides, dirs), flags.package), end="")
        return 0
    if not flags.shell_completion:
        compose(flags.overrides, dirs)
    hydra.main(config_path=str(dirs[0].resolve()), config_name="config", version_base="1.3")(lambda cfg: None)()
    return 0
