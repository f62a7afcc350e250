"""Stage train: open the environment, let the agent learn, leave checkpoints, curves and headline figures."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv
    from regimen.run import Run
    from regimen.schema import Config


@dataclass
class TrainCfg:
    """How a training is recorded.

    Attributes:
        checkpoint_interval: env steps per env between two checkpoints.
        keep_checkpoints: how many `step_*.pt` are kept beside `last` and `best`.
    """

    _target_: str = "regimen.stages.train.Train"
    checkpoint_interval: int = 480
    keep_checkpoints: int = 3


class Train:
    """Trains an agent in a task; continues from `checkpoints/last.pt` where there is one."""

    def __init__(self, cfg: TrainCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Train to the end, or until a signal asks to stop.

        Raises:
            ConfigError: if the agent cannot be trained.
            StopRequested, DivergedError: see `TrainingSession.end_iteration`.
        """
        import torch

        from regimen.checkpoint import Checkpoints
        from regimen.envs import open_env
        from regimen.resolve import resolve
        from regimen.training import TrainingSession

        started = time.perf_counter()
        torch.set_num_threads(config.hardware.num_threads())
        agent_class = resolve(config.agent._target_)
        if not hasattr(agent_class, "learn"):
            raise ConfigError(f"agent={config.choices.get('agent')} has no `learn`: it cannot be trained by stage=train.")
        env = open_env(config)
        agent = agent_class(config.agent, env.io, env.num_envs, torch.device(config.hardware.device), config.seed)
        checkpoints = Checkpoints(run, self.cfg.checkpoint_interval, self.cfg.keep_checkpoints)
        session = TrainingSession(run, _Described(checkpoints, run, config, env), env.num_envs, agent.total_steps)
        resume = _begin(run, config, env, agent, session, checkpoints)
        print(f"first env step after {time.perf_counter() - started:.1f} s in the stage", flush=True)
        agent.learn(env, session, resume)
        env.close()
        _finish(run, session, time.perf_counter() - started)


class _Described:
    """Checkpoints that carry what a later run must know: agent, io and counters."""

    def __init__(self, checkpoints: Any, run: Run, config: Config, env: VecEnv) -> None:
        self.checkpoints, self.due = checkpoints, checkpoints.due
        self.head = {"format": 1, "run": run.id, "agent": asdict(config.agent), "io": env.io.to_dict()}
        self.num_envs = env.num_envs

    def save(self, step: int, bundle: dict[str, Any], metric: float | None) -> None:
        counters = {"step": step, "samples": step * self.num_envs}
        self.checkpoints.save(step, {**self.head, **counters, **bundle}, metric=metric)


def _begin(
    run: Run, config: Config, env: VecEnv, agent: Any, session: Any, checkpoints: Any
) -> dict[str, Any] | None:
    """Continue from the last checkpoint, or begin anew, from another run's policy if one is named."""
    from regimen import checkpoint

    last = run.checkpoints / "last.pt"
    if last.exists():
        bundle = checkpoint.load(last)
        env.load_state_dict(bundle["training"]["env"])
        session.load_state_dict(bundle["training"]["session"])
        run.rewind(session.steps_done)
        training: dict[str, Any] = bundle["training"]
        return training
    run.rewind(-1)
    if config.policy:
        _load_weights(Path(config.policy), env, agent)
    env.reset(seed=config.seed)
    return None


def _load_weights(path: Path, env: VecEnv, agent: Any) -> None:
    from regimen import checkpoint
    from regimen.envs.vec_env import IOSpec

    bundle = checkpoint.load(path)
    IOSpec.from_dict(bundle["io"]).require_fits(env.io)
    agent.load_policy_state(bundle["policy"])


def _finish(run: Run, session: Any, wall_s: float) -> None:
    from regimen.figures import learning_curve

    figure = run.dir / "figures" / "learning_curve.png"
    figure.parent.mkdir(exist_ok=True)
    learning_curve(run.dir / "metrics.jsonl", figure)
    run.artifact(figure, "figure")
    samples = session.steps_done * session.num_envs
    headline = {
        "return": session.mean_return() or 0.0,
        "episode_length": session.mean_length() or 0.0,
        "samples": float(samples),
    }
    run.finish(headline, {"samples_per_s": samples / wall_s, "iterations": session.iteration})
