"""Functions of `import regimen`: compose a task, open it, load a policy, start a run, read the history.

Each function imports what it needs when it is called: `import regimen` loads neither torch nor Hydra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.config.schema import Config
    from regimen.envs.conformance.check import RuleResult
    from regimen.envs.vec_env import VecEnv
    from regimen.orchestration.launched_run import LaunchedRun
    from regimen.runs.history.run_view import RunView
    from regimen.runs.index.summary import RunSummary

OUTPUTS = Path("outputs")
"""Folder of runs, in the current directory."""


def compose(overrides: Sequence[str], config_dirs: Sequence[Path | str] = ()) -> Config:
    """Return the typed configuration of a run; every key, value and name in it is checked.

    Options come from `conf/` of the current directory if it has a config.yaml, else from those of Regimen, and from
    `config_dirs`. Modules of the current directory can be named.

    Args:
        overrides: `key=value` arguments as for `regimen launch`, such as `["task=go2_flat", "env.num_envs=64"]`.
        config_dirs: folders of your own options, such as one with `task/my_task.yaml`.

    Raises:
        ConfigError: listing everything that is wrong, each with the file or argument in which it stands.
    """
    from regimen.config.compose import compose_config
    from regimen.config.static_modules import use_current_folder

    use_current_folder()
    return compose_config(_arguments(overrides), [Path(folder) for folder in config_dirs])


def open_env(config: Config) -> VecEnv:
    """Open the simulator and build the task's environment.

    The caller closes it: `env.close()`.

    Args:
        config: of `compose`; `config.env.num_envs` environments step together on `config.hardware.device`.

    Returns:
        Batched environments: observations are float32 tensors (N, d) by group, actions (N, A), rewards (N,).
    """
    from regimen import envs

    return envs.open_env(config)


def check_env(task: Config | Callable[[int], VecEnv], num_envs: int = 16, seed: int = 0) -> list[RuleResult]:
    """Try every rule of the `VecEnv` contract; return one result for each, with `rule`, `ok` and what was seen.

    Args:
        task: a configuration of `compose`, or a function that returns a new environment for a number of envs.
        num_envs: how many are stepped together.
        seed: seed of the environments and of the actions.
    """
    from regimen.config.schema import Config
    from regimen.config.task_schema import EvaluationCfg
    from regimen.envs.conformance import check

    if not isinstance(task, Config):
        return list(check.check_env(task, num_envs, seed))
    judged = getattr(task.env, "evaluation", None) or EvaluationCfg()
    return list(check.check_env(check.factory(task), num_envs, seed, judged.command, judged.grid))


def load_policy(reference: str | Path, env: VecEnv, seed: int = 0) -> Policy:
    """Return a trained policy that acts in `env`.

    Args:
        reference: a run (id, name, `latest`), `<run>@best`, `<run>@last`, `<run>@<step>`, `pretrained:<name>`, or the
            file of a checkpoint or of an exported policy.
        env: where it is to act; its observations and actions are compared by name with those of the policy.
        seed: of what the policy draws.

    Returns:
        A policy: `act(obs, state)` returns the action (N, A) and the state after it, the first state being None;
        `reset(state, env_ids)` returns the state with the rows of ended episodes reset.

    Raises:
        RunReferenceError: no policy or several are named; the message lists candidates.
        IOMismatchError: the policy does not fit the environment, term by term and joint by joint.
        CheckpointError: the file is no policy, or one of an agent of your own whose module was not imported.
    """
    from regimen.agents import policy_file
    from regimen.agents.policy_header import require_declared_agents
    from regimen.runs.references import resolve_policy

    path = resolve_policy(str(reference))
    bundle = policy_file.load_bundle(str(path))
    require_declared_agents(bundle, path)
    return policy_file.load_policy(bundle, env, seed)


def launch(overrides: Sequence[str], config_dirs: Sequence[Path | str] = (), wait: bool = True) -> LaunchedRun:
    """Start one run in `outputs/`, as `regimen launch` does; what that command refuses is raised here.

    A run that fails raises nothing: `run.status` and `run.view()` say how it ended.

    Args:
        overrides: `key=value` arguments, without sweeps, such as `["task=reach", "agent.trainer.timesteps=2000"]`.
        config_dirs: folders of your own options.
        wait: whether to return when the run has ended, its progress printed meanwhile. With False the run works in the
            background: follow it by `run.is_open`, `run.view()` and `run.metrics()`, end it by `run.wait()` or
            `run.stop()`.

    Raises:
        ConfigError: the configuration is wrong, or this machine cannot do it; nothing was started.
        PreflightError: the run directory cannot be made.
    """
    from regimen.config.static_modules import use_current_folder
    from regimen.orchestration import launched_run

    use_current_folder()
    return launched_run.launch(_arguments(overrides), OUTPUTS, [Path(folder) for folder in config_dirs], wait)


def open_run(reference: str | Path) -> RunView:
    """Return a run to look at: `record`, `config`, `status`, `progress`, `metrics()` and `result`.

    Args:
        reference: id, unique beginning of an id, name, `latest`, or a run directory.

    Raises:
        RunReferenceError: no run or several are named; the message lists candidates.
    """
    from regimen.runs.history.run_view import open_view

    return open_view(str(reference))


def find_runs(*conditions: str, sort: str = "-started", **filters: object) -> list[RunSummary]:
    """Return the runs below `outputs/` and `multirun/` that meet all conditions: a table for `pandas.DataFrame`.

    Args:
        conditions: as for `regimen runs`, for what a keyword cannot say: `"status!=failed"`.
        sort: comma-separated keys (`started`, `duration`, `name`, …) or headline metrics; `-` reverses.
        filters: `task="reach"`, `status=["finished", "failed"]`, `name="walk*"`, `since="3d"`; any value of a list.

    Raises:
        ConfigError: a key, a status, a time or an option is none; the message offers the nearest.
    """
    from regimen.orchestration.slurm.job_states import ask_schedulers
    from regimen.runs.history.filters import order, parse, select
    from regimen.runs.index.index import Index

    parsed = parse([*conditions, *(f"{key}={_text(value)}" for key, value in filters.items())])
    runs = Index().rows()
    ask_schedulers(runs)
    return order(select(parsed, runs), sort, runs)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, Iterable) and not isinstance(value, str) else str(value)


def _arguments(overrides: Sequence[str]) -> list[str]:
    from regimen.system.errors import ConfigError

    if isinstance(overrides, str):
        raise ConfigError(f"overrides: expected a list of arguments, such as {overrides.split()!r}.")
    return list(overrides)
