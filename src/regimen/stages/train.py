"""Stage train: open the environment, let the agent learn, leave checkpoints, curves and headline figures."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.training_session import TrainingSession
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint import Checkpoints
    from regimen.runs.run import Run


@dataclass
class TrainCfg:
    """How a training is recorded.

    Attributes:
        checkpoint_interval: env steps per env between two checkpoints.
        keep_checkpoints: how many `step_*.pt` are kept beside `last` and `best`.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator")
    NEEDS: ClassVar[str] = "learn"
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

        from regimen.agents.training_session import TrainingSession
        from regimen.config.targets import resolve
        from regimen.envs import open_env
        from regimen.runs.checkpoint import Checkpoints
        from regimen.system import distributed

        started = time.perf_counter()
        torch.set_num_threads(config.hardware.num_threads())
        agent_class = resolve(config.agent._target_)
        if not hasattr(agent_class, "learn"):
            raise ConfigError(
                f"agent={config.choices.get('agent')} has no `learn`: it cannot be trained by stage=train."
            )
        config.env.num_envs = distributed.share_of(config.env.num_envs)
        env = open_env(config)
        agent = agent_class(config.agent, env.io, env.num_envs, torch.device(config.hardware.device), config.seed)
        checkpoints = Checkpoints(run, self.cfg.checkpoint_interval, self.cfg.keep_checkpoints)
        record = _Record(checkpoints, run, config, env)
        session = TrainingSession(run, record, env.num_envs, agent.total_steps)
        resume = _begin(run, config, env, agent, session)
        agent.learn(env, session, resume)
        env.close()
        if run.leads:
            _finish(run, session, time.perf_counter() - started)


class _Record:
    """Checkpoints that carry, beside the agent's part, what every training needs to be used and continued."""

    def __init__(self, checkpoints: Checkpoints, run: Run, config: Config, env: VecEnv) -> None:
        self.checkpoints, self.due, self.env = checkpoints, checkpoints.due, env
        self.head = {"agent": asdict(config.agent), "io": env.io.to_dict(), "faults": _faults(config, env)}

    def save(self, session: TrainingSession, bundle: dict[str, Any], metric: float | None) -> None:
        from regimen.runs.checkpoint import rng_state
        from regimen.system import distributed

        common = {"env": self.env.state_dict(), "session": session.state_dict(), "rng": rng_state()}
        training = {"agent": bundle["training"], **common}
        others = distributed.gather_to_first(training)
        head = {**self.head, "samples": session.samples}
        if others:
            training = {**training, "workers": others}
        whole = {**head, "policy": bundle.get("policy"), "training": training}
        self.checkpoints.save(session.steps_done, whole, metric)


def _faults(config: Config, env: VecEnv) -> list[str]:
    """Return the joints that failed while the policy learned, for a policy that knows one fault among others."""
    from regimen.envs.fault_estimate.joints import fault_joints

    judged = getattr(config.env, "evaluation", None)
    return fault_joints(config, env) if judged is not None and judged.faults else []


def _begin(run: Run, config: Config, env: VecEnv, agent: Any, session: TrainingSession) -> dict[str, Any] | None:
    """Continue from the last checkpoint, or begin anew, from another run's policy if one is named."""
    from regimen.runs import checkpoint

    last = run.checkpoints / "last.pt"
    if last.exists():
        training = _own_part(checkpoint.load(last)["training"])
        env.load_state_dict(training["env"])
        session.load_state_dict(training["session"])
        checkpoint.set_rng_state(training["rng"])
        run.rewind(session.steps_done)
        resume: dict[str, Any] = training["agent"]
        return resume
    run.rewind(-1)
    if config.policy:
        _load_weights(Path(config.policy), env, agent)
    return None


def _own_part(training: dict[str, Any]) -> dict[str, Any]:
    """Return what this worker saved, and of the agent also what the first one saved for all.

    Raises:
        CheckpointError: the run had another number of workers.
    """
    from regimen.system import distributed
    from regimen.system.errors import CheckpointError

    others, rank, size = training.get("workers", []), distributed.rank(), distributed.world_size()
    if len(others) + 1 != size:
        raise CheckpointError(
            f"The checkpoint was written by {len(others) + 1} processes, and this run has {size}: their environments "
            "cannot be dealt out anew. Resume with as many."
        )
    if rank == 0:
        return training
    own: dict[str, Any] = others[rank - 1]
    return {**own, "agent": {**training["agent"], **own["agent"]}}


def _load_weights(path: Path, env: VecEnv, agent: Any) -> None:
    from regimen.envs.vec_env import IOSpec
    from regimen.runs import checkpoint

    bundle = checkpoint.load(path)
    io, state = IOSpec.from_dict(bundle["io"]), bundle["policy"]
    io.require_fits(env.io, wider=hasattr(agent, "widen"))
    columns = io.columns_in(env.io)
    if columns != list(range(env.io.size())):
        state = agent.widen(state, columns)
    agent.load_policy_state(state)


def _finish(run: Run, session: Any, wall_s: float) -> None:
    from regimen.display.figures import learning_curve

    figure = run.dir / "figures" / "learning_curve.png"
    figure.parent.mkdir(exist_ok=True)
    learning_curve(run.dir / "metrics.jsonl", figure)
    run.artifact(figure, "figure")
    known = {"return": session.mean_return(), "episode_length": session.mean_length()}
    headline = {name: value for name, value in known.items() if value is not None}
    headline["samples"] = float(session.samples)
    here = session.samples - session.samples_restored
    speed = {"samples_per_s": here / wall_s, "first_step_at": session.first_step_at}
    run.finish(headline, {"iterations": session.iteration, **speed})
