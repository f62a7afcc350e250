"""An exported file in closed loop: its runner acts in the simulator, outside of this project, beside its checkpoint."""

from __future__ import annotations

import math
import statistics
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from regimen.agents.deployment.exporting import (
    RUNNER,
    default_target,
    metadata_of,
    runner_of,
    written_checksums,
)
from regimen.agents.export import header
from regimen.agents.export.terms import has_readings
from regimen.config.structured import build_config
from regimen.config.task_schema import switch_off_events
from regimen.envs.vec_env import IOSpec
from regimen.system import files
from regimen.system.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch

    from regimen.agents.deployment.exporting import PolicySource
    from regimen.agents.export.header import PolicyDescription
    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle

STEPS = 1000
TOLERANCE = 1e-5
"""Largest difference of a target; of a joint whose targets are above 1, in units of the largest of them."""


@dataclass(frozen=True)
class DeployCheck:
    """Result of a closed loop.

    Attributes:
        file: name of the exported policy.
        sha256: its checksum.
        run: id of the run of the policy.
        step: of its checkpoint.
        task: option of the task.
        observations: `raw` or `scaled`, the inputs of the file.
        steps: control steps compared.
        episodes: that began in them.
        falls: of these, ended by a termination of the task, and not by its time.
        joints: joint -> largest difference of its target from that of the checkpoint, relative above 1.
        tolerance: that it may have.
        step_median_s: median time of a step of the runner in s.
        step_p99_s: 99th percentile of it in s.
        run_by: name and version of the runtime.
    """

    file: str
    sha256: str
    run: str | None
    step: int | None
    task: str | None
    observations: str
    steps: int
    episodes: int
    falls: int
    joints: dict[str, float]
    tolerance: float
    step_median_s: float
    step_p99_s: float
    run_by: str

    @property
    def worst(self) -> tuple[str, float]:
        """Joint with the largest difference, and that difference."""
        return max(self.joints.items(), key=lambda item: item[1])

    @property
    def agrees(self) -> bool:
        """Whether all differences are within the tolerance."""
        return self.worst[1] <= self.tolerance

    def write(self, policy: Path) -> Path:
        """Write the result as JSON beside the exported file, `<file>.deploy_check.json`; return its path."""
        path = policy.with_name(f"{self.file}.deploy_check.json")
        finite = {name: gap if math.isfinite(gap) else None for name, gap in self.joints.items()}
        files.write_json(path, {"agrees": self.agrees, **asdict(self), "joints": finite})
        return path


def find_exported(source: Path, file: Path | None = None) -> Path:
    """Return the exported file of a checkpoint, unchanged since it was written, with its runner.

    Args:
        source: checkpoint.
        file: the exported file; None: where `regimen export` writes it.

    Raises:
        ConfigError: there is none.
        CheckpointError: file or runner were changed, or belong to another run or checkpoint.
        PreflightError: onnxruntime is missing.
    """
    policy = default_target(source, "onnx") if file is None else file
    again = f"Export it again: regimen export {source} format=onnx --out {policy}"
    if policy.suffix != ".onnx":
        raise ConfigError(f"--file {policy}: the runner runs ONNX files. Export one: regimen export <run> format=onnx")
    if not policy.is_file():
        raise ConfigError(f"There is no exported policy {policy}. Type: regimen export {source} format=onnx")
    header.require_runtime()
    sums = written_checksums(policy)
    for path in (policy, runner_of(policy)):
        if not path.is_file() or sums.get(path.name) != files.sha256(path):
            state = "was changed since it was exported" if path.is_file() else "is missing"
            raise CheckpointError(f"{path} {state}: its checksum is not the one in {metadata_of(policy).name}. {again}")
    if runner_of(policy).read_bytes() != RUNNER.read_bytes():
        raise CheckpointError(f"{runner_of(policy)} is the runner of another version. {again}")
    return policy


def require_same_policy(policy: Path, description: PolicyDescription, bundle: PolicyBundle, source: Path) -> None:
    """Raise unless an exported file is of the checkpoint `source`.

    Raises:
        CheckpointError: naming run and step of both.
    """
    found, wanted = (description.run, description.step), (bundle.get("run"), bundle.get("step"))
    if found != wanted:
        raise CheckpointError(
            f"{policy} is of another policy: run {found[0]}, step {found[1]}; {source} is run {wanted[0]}, step "
            f"{wanted[1]}. Export it again: regimen export {source} format=onnx"
        )


def check_in_closed_loop(source: PolicySource, policy: Path, steps: int = STEPS, seed: int = 0) -> DeployCheck:
    """Return how far the targets of an exported file are from those of its checkpoint, in the simulator of the task.

    The file acts: its runner gets one reading of each sensor in a step, and its actions move the robot. Noise, bias and
    delay of the observations, and the disturbances of `env.evaluation`, are switched off.

    Args:
        source: checkpoint and task.
        policy: ONNX file, see `find_exported`.
        steps: control steps.
        seed: of the envs.

    Raises:
        ConfigError: the task has no terms whose readings could be given, or `steps` is not positive.
        CheckpointError: the file is of another policy, or cannot be run.
    """
    import torch

    from regimen.agents.policy_file import load_bundle
    from regimen.envs import open_env

    if steps < 1:
        raise ConfigError(f"steps={steps}: expected 1 or more.")
    description, bundle = header.read_description(policy), load_bundle(str(source.path))
    require_same_policy(policy, description, bundle, source.path)
    config = build_config(source.config)
    if not has_readings(source.config["env"]):
        raise ConfigError(
            f"task={config.choices.get('task')}: its observations are not terms of its configuration "
            "env.observations, whose readings a closed loop needs."
        )
    _prepare(config, seed)
    torch.set_num_threads(1)
    with closing(cast(Any, open_env(config))) as env, torch.inference_mode():
        loop = _Loop(env, bundle, description, seed)
        loop.run(runner_of(policy), policy, steps)
    from regimen.agents.export.formats import Onnx
    from regimen.agents.export.network import column_gaps

    gaps = column_gaps(torch.tensor(loop.found), torch.tensor(loop.wanted))
    times = sorted(loop.seconds)
    return DeployCheck(
        file=policy.name,
        sha256=files.sha256(policy),
        run=description.run,
        step=description.step,
        task=description.task,
        observations="raw" if description.sensors else "scaled",
        steps=len(loop.found),
        episodes=loop.episodes,
        falls=loop.falls,
        joints=dict(zip(description.joint_names, gaps.tolist(), strict=True)),
        tolerance=TOLERANCE,
        step_median_s=statistics.median(times),
        step_p99_s=times[min(len(times) - 1, round(0.99 * (len(times) - 1)))],
        run_by=Onnx.runtime(),
    )


class _Loop:
    """One robot that the runner moves, and what the policy of the checkpoint would do in its place.

    Attributes:
        found: targets of the runner in each step, (T, A).
        wanted: targets of the checkpoint, (T, A).
        seconds: time of each step of the runner.
        episodes: that began.
        falls: that a termination ended.
    """

    def __init__(self, env: VecEnv, bundle: PolicyBundle, description: PolicyDescription, seed: int) -> None:
        from regimen.agents.policy_file import load_policy

        self._env, self._seed, self._description = env, seed, description
        self._policy = load_policy(bundle, env, seed)
        self._groups = [name for name in description.observations if _is_read(name, description)]
        self.found: list[list[float]] = []
        self.wanted: list[list[float]] = []
        self.seconds: list[float] = []
        self.episodes, self.falls = 0, 0

    def run(self, runner: Path, policy: Path, steps: int) -> None:
        """Step until `steps`, or until a target is no number."""
        import torch

        from regimen.agents.deployment.runner_process import RunnerProcess

        env = self._env
        obs, state, begins = env.reset(seed=self._seed), None, True
        with RunnerProcess(runner, policy) as process:
            for _ in range(steps):
                self.episodes += begins
                action, state = self._policy.act(obs, state)
                self.wanted.append(self._targets(action).squeeze(0).tolist())
                step = process.step(self._sensors(obs, process.sensors), begins)
                self.found.append(step.targets)
                self.seconds.append(step.seconds)
                if not all(math.isfinite(value) for value in step.actions):
                    return
                obs, _, terminated, truncated, _ = env.step(torch.tensor([step.actions], device=env.device))
                begins = bool(terminated.any() or truncated.any())
                if begins:
                    self.falls += int(bool(terminated.any()))
                    state = self._policy.reset(state, torch.zeros(1, dtype=torch.long, device=env.device))

    def _targets(self, action: torch.Tensor) -> torch.Tensor:
        """Return the targets (1, A) of an action of the checkpoint."""
        import torch

        from regimen.agents.export.network import clipped

        spec = self._env.io.action
        scale, offset = (torch.tensor(values, device=action.device) for values in (spec.scale, spec.offset))
        return offset + scale * clipped(action, spec.clip)

    def _sensors(self, obs: Obs, names: list[str]) -> dict[str, list[float]]:
        """Return the present reading of each sensor, and of terms of one name in several groups each their own."""
        readings = cast(Any, self._env).env.observations.readings()
        values: dict[str, list[float]] = {}
        for group in self._groups:
            for name in self._env.io.observations[group]:
                path = f"{group}.{name}"
                reading = readings[path] if path in readings else _columns(obs, self._env.io, group, name)
                values[path if name in values else name] = reading.squeeze(0).tolist()
        return {name: value for name, value in values.items() if name in names or "." in name}


def _columns(obs: Obs, io: IOSpec, group: str, name: str) -> torch.Tensor:
    """Return the columns (N, d) of a term that is none of the task's own, such as an estimate of faults."""
    term = IOSpec({group: {name: io.observations[group][name]}}, io.action, io.step_dt)
    return obs[group][:, term.columns_in(io, group)]


def _is_read(group: str, description: PolicyDescription) -> bool:
    """Return whether a policy reads an observation group, by its name or by its sensors."""
    paths = [path for sensor in description.sensors.values() for path in sensor.terms]
    return group in description.inputs or any(path.startswith(f"{group}.") for path in paths)


def _prepare(config: Config, seed: int) -> None:
    """Change a configuration to one robot and to readings as they are."""
    env = config.env
    config.seed, env.num_envs, env.observation_noise, env.curriculum = seed, 1, False, {}
    for group in env.observations.values():
        for term in group.terms.values():
            if term is not None:
                term.delay = (0, 0)
    switch_off_events(env, env.evaluation.disturbances)
