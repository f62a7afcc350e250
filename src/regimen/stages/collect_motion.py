"""Stage `collect_motion`: record poses of a robot that a policy moves, one motion clip for each command."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from regimen.stages.base import Stage
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.motion.clip import MotionClip
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run


@dataclass
class CollectMotionCfg:
    """Record motion clips of `policy` in the task, one robot for each command.

    Attributes:
        commands: values of the command `env.evaluation.command`; null: those of `env.evaluation.grid`.
        names: names of the clips, one for each command; null: the robot's name and a number.
        seconds: length of each clip in s.
        settle_s: time before it in s, in which the robot starts off.
        license: terms under which the clips may be used; stored in them.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy",)
    LOADS_POLICY: ClassVar[bool] = True
    _target_: str = "regimen.stages.collect_motion.CollectMotion"
    commands: list[list[float]] | None = None
    names: list[str] | None = None
    seconds: float = 5.0
    settle_s: float = 2.0
    license: str = ""

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        env, lines = config["env"], []
        if not env.get("robot"):
            lines.append(f"task={config.get('choices', {}).get('task')} has no robot; choose one with `env.robot`.")
        commands = self._commands(config)
        key = "env.evaluation.grid" if self.commands is None else "commands"
        if not commands:
            lines.append("commands: none; give one or more, or commands=null for those of env.evaluation.grid.")
        if len(widths := sorted({len(command) for command in commands})) > 1:
            lines.append(f"{key}: commands of {widths} values; give each the same number of values.")
        if self.names is not None and len(self.names) != len(commands):
            lines.append(f"names: {len(self.names)} for {len(commands)} commands; give one each.")
        if self.names is not None and len(set(self.names)) != len(self.names):
            lines.append("names: one is there twice.")
        lines += [f"names: `{name}` is no file name; use letters, digits, . _ -" for name in _unfit(self.names or [])]
        if self.seconds <= 0 or self.settle_s < 0:
            lines.append(f"seconds={self.seconds:g}, settle_s={self.settle_s:g}: expected more than 0, and 0 or more.")
        if self.commands and not (env.get("evaluation") or {}).get("command"):
            lines.append("commands: env.evaluation.command names no command of the task to hold them.")
        return lines

    def num_envs(self, config: PlainConfig) -> int:
        """Return the number of envs: one for each command."""
        return len(self._commands(config))

    def _commands(self, config: PlainConfig) -> list[list[float]]:
        grid = (config["env"].get("evaluation") or {}).get("grid") or [[]]
        return self.commands if self.commands is not None else grid


def _unfit(names: list[str]) -> list[str]:
    return [name for name in names if not name or not all(c.isalnum() or c in "._-" for c in name) or name[0] == "."]


@dataclass
class RecordedClip:
    """Facts of a recorded clip.

    Attributes:
        file: in the run directory.
        command: that was held.
        frames: number of frames.
        speed: m/s, mean horizontal speed from the first to the last frame.
    """

    file: str
    command: list[float]
    frames: int
    speed: float


@dataclass
class CollectMotionResult:
    """Result of `stage=collect_motion`.

    Attributes:
        clips: the recorded ones.
        fps: frames a second.
        fell: names of clips that are not there because the robot fell.
    """

    clips: list[RecordedClip]
    fps: float
    fell: list[str] = field(default_factory=list)


class CollectMotion(Stage):
    """Record the clips; a run that is stopped starts over, which costs seconds."""

    def __init__(self, cfg: CollectMotionCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Roll out the policy, and write `data/motions/<name>.npz`.

        Raises:
            ConfigError: the robot fell under every command, or it moves in a way that no clip may have.
            StopRequested: a signal asked to stop.
        """
        import torch

        from regimen.agents.policy_file import load_bundle
        from regimen.stages.playback.rollout import opened_env

        torch.set_num_threads(1)
        commands = self.cfg._commands({"env": asdict(config.env)})
        names = self.cfg.names or [f"{config.env.robot.rpartition(':')[2].lower()}_{i}" for i in range(len(commands))]
        bundle = load_bundle(config.policy)
        with opened_env(self._prepare(config, len(commands))) as env, torch.inference_mode():
            if config.env.evaluation.command is not None and commands[0]:
                values = torch.tensor(commands, dtype=torch.float32, device=env.device)
                env.fix_command(config.env.evaluation.command, values)
            poses, standing = self._record(run, config, env, bundle)
            fps = 1.0 / env.step_dt
        fell = [name for name, stands in zip(names, standing.tolist(), strict=True) if not stands]
        if len(fell) == len(names):
            raise ConfigError(f"The robot fell under every command of {config.policy}. Choose a policy that walks.")
        if fell:
            run.warn(f"no clip of {', '.join(fell)}: the robot fell.")
        clips = []
        for i, (name, command) in enumerate(zip(names, commands, strict=True)):
            if name in fell:
                continue
            clip = self._clip(config, name, poses[:, i], fps, command, str(bundle.get("run") or ""))
            path = run.dir / "data" / "motions" / f"{name}.npz"
            clip.save(path)
            run.artifact(path, "motion")
            clips.append(RecordedClip(str(path.relative_to(run.dir)), list(command), clip.frames, clip.speed))
            print(f"{path.relative_to(run.dir)}: {clip.frames} frames at {fps:g} Hz, {clip.speed:.2f} m/s")
        run.finish(
            {"clips": float(len(clips)), "falls": float(len(fell))}, asdict(CollectMotionResult(clips, fps, fell))
        )

    def _prepare(self, config: Config, num_envs: int) -> Config:
        """Return a copy of `config` without disturbances and noise, with episodes that are long enough."""
        config = copy.deepcopy(config)
        env = config.env
        env.num_envs, env.observation_noise, env.curriculum = num_envs, False, {}
        env.episode_length_s = max(env.episode_length_s, self.cfg.settle_s + self.cfg.seconds + 1.0)
        for name in (*env.evaluation.disturbances, *env.evaluation.faults):
            env.events[name] = None
        return config

    def _record(self, run: Run, config: Config, env: VecEnv, bundle: PolicyBundle) -> tuple[np.ndarray, torch.Tensor]:
        """Return the poses (F, N, 7 + J), and the envs (N,) bool that did not end an episode."""
        import torch

        from regimen.agents.policy_file import load_policy
        from regimen.envs.vec_env import task_below

        policy = load_policy(bundle, env, config.seed)
        task = task_below(env)
        settle, frames = round(self.cfg.settle_s / env.step_dt), round(self.cfg.seconds / env.step_dt) + 1
        obs, state = env.reset(seed=config.seed), None
        standing, rows = torch.ones(env.num_envs, dtype=torch.bool), []
        for step in range(settle + frames):
            run.check_stop(step, lambda: None)
            action, state = policy.act(obs, state)
            obs, _, terminated, truncated, _ = env.step(action)
            standing &= ~(terminated | truncated).cpu()
            if step >= settle:
                kinematics = task.kinematics()
                parts = [kinematics[name].cpu() for name in ("root_pos", "root_quat", "joint_pos")]
                rows.append(torch.cat(parts, dim=1))
            run.progress(iteration=step + 1, iterations=settle + frames, note="recording")
        return torch.stack(rows).numpy(), standing

    def _clip(
        self, config: Config, name: str, poses: np.ndarray, fps: float, command: list[float], origin: str
    ) -> MotionClip:
        """Return the checked clip of poses (F, 7 + J), which begins above the origin."""
        from regimen.data.motion.repair import require_sound
        from regimen.envs.motion.clip import MotionClip
        from regimen.envs.robots.robot import load

        robot = load(config.env.robot)
        start = poses[0, :3] * (1.0, 1.0, 0.0)
        policy = Path(str(config.policy))
        source = f"stage=collect_motion task={config.choices.get('task')}, policy {policy.parent.name}/{policy.name}"
        source += f", command {list(command)}" if command else ""
        clip = MotionClip(
            name, fps, list(robot.joints), poses[:, :3] - start, poses[:, 3:7], poses[:, 7:], robot.name,
            f"{source}, trained by {origin}" if origin else source, self.cfg.license,
        )  # fmt: skip
        require_sound(clip, robot)
        return clip
