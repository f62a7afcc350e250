"""Stage `train`: train an agent in a task; writes checkpoints, metrics and learning curves."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.stages.alongside.config import AlongsideCfg
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.actor_learner.learner_session import LearnerSession
    from regimen.agents.base import Policy
    from regimen.agents.training_session import TrainingSession
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint import Checkpoints
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run
    from regimen.stages.alongside.companions import Companions


COMPANION_BYTES = 600 * 2**20
"""Memory of a process that evaluates checkpoints, without its envs: that of a worker."""


@dataclass
class TrainCfg:
    """Checkpoints of a training, and their evaluation while it runs.

    Attributes:
        checkpoint_interval: env steps per env between two checkpoints.
        keep_checkpoints: number of `step_*.pt` beside `last` and `best`.
        evaluation: of the checkpoints, by a process beside the training.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator", "encoder", "data", "experts")
    NEEDS: ClassVar[str] = "learn"
    LOADS_POLICY: ClassVar[bool] = True
    _target_: str = "regimen.stages.train.Train"
    checkpoint_interval: int = 480
    keep_checkpoints: int = 3
    evaluation: AlongsideCfg = field(default_factory=AlongsideCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        if self.checkpoint_interval < 1 or self.keep_checkpoints < 1:
            return ["checkpoint_interval and keep_checkpoints: expected 1 or more, such as 480 and 3."]
        found = self.evaluation.problems(config, self.checkpoint_interval)
        return [f"evaluation.{line}" for line in found]

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the bytes of the processes beside the training, without their envs."""
        return 0 if self.evaluation.every is None else (1 + len(self.evaluation.sims)) * COMPANION_BYTES


class EndOfTraining(Exception):
    """A checkpoint is saved, and the evaluation alongside ends the training with it."""


class Train:
    """Train an agent in a task; resumes from `checkpoints/last.pt`."""

    def __init__(self, cfg: TrainCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Train the agent.

        Raises:
            ConfigError: the agent has no `learn`, or does not use `data`.
            StopRequested, DivergedError: see `TrainingSession.end_iteration`.
        """
        import torch

        from regimen.agents.base import ActorLearnerAgent, DemonstratedAgent, LearningAgent, TaughtAgent
        from regimen.agents.training_session import TrainingSession
        from regimen.config.targets import resolve
        from regimen.display.text_tables import print_tables
        from regimen.envs import open_env
        from regimen.envs.term_tables import term_tables
        from regimen.runs.checkpoint import Checkpoints
        from regimen.stages.alongside.companions import companions_of
        from regimen.system import distributed

        started = time.perf_counter()
        torch.set_num_threads(config.hardware.num_threads())
        agent_class: Any = resolve(config.agent._target_)
        if not issubclass(agent_class, LearningAgent):
            raise ConfigError(f"agent={config.choices.get('agent')} has no `learn`, which stage=train calls.")
        if config.data and not issubclass(agent_class, DemonstratedAgent):
            raise ConfigError(f"data=: agent={config.choices.get('agent')} learns without data. Remove data=.")
        if config.experts and not issubclass(agent_class, TaughtAgent):
            raise ConfigError(f"experts=: agent={config.choices.get('agent')} has no teachers. Remove experts=.")
        config.env.num_envs = distributed.share_of(config.env.num_envs)
        env = open_env(config)
        if run.leads:
            print_tables(term_tables(config.env, env.io))
        if config.hardware.channel is not None and not issubclass(agent_class, ActorLearnerAgent):
            raise ConfigError(f"agent={config.choices.get('agent')} has no `learn_from`. Type hardware=cpu.")
        agent = agent_class(config.agent, env.io, env.num_envs, torch.device(config.hardware.device), config.seed)
        checkpoints = Checkpoints(run, self.cfg.checkpoint_interval, self.cfg.keep_checkpoints)
        with companions_of(run, self.cfg.evaluation.every) as companions:
            record = _Record(checkpoints, config, env, companions)
            session = TrainingSession(run, record, env.num_envs, agent.total_steps)
            if config.data:
                agent.use_data([Path(path) for path in config.data], config.choices.get("task"))
            if config.hardware.channel is not None:
                _learn_from_actors(self.cfg, run, config, env, agent, session, record)
            else:
                if isinstance(agent, TaughtAgent):
                    agent.use_teacher(_teacher(config, env))
                resume = _begin(run, config, env, agent, session)
                with suppress(EndOfTraining):
                    record.end_if_judged()
                    agent.learn(env, session, resume)
                env.close()
            if run.leads:
                _finish(run, session, time.perf_counter() - started, record)


class _Record:
    """Checkpoints with the state of env, session and generators beside the agent's part.

    Attributes:
        actors: of a training by actors, whose envs are theirs: the numbers of their rows take the place of the envs.
        companions: evaluate checkpoints; None without an evaluation alongside, and in all workers but the first.
        stopped: why the evaluation ended the training before its last step; None if it did not.
    """

    def __init__(self, checkpoints: Checkpoints, config: Config, env: VecEnv, companions: Companions | None) -> None:
        self.checkpoints, self.due, self.env = checkpoints, checkpoints.due, env
        self.companions = companions
        self.stopped: str | None = None
        self._may_stop = config.stage.evaluation.every is not None and config.stage.evaluation.stops
        self.actors: LearnerSession | None = None
        self.head = {"agent": asdict(config.agent), "io": env.io.to_dict(), "faults": _faults(config, env)}
        self.head["ground"] = _kinds_of_ground(config)

    def save(self, session: TrainingSession, bundle: PolicyBundle, metric: float | None) -> None:
        from regimen.envs.vec_env import restores
        from regimen.runs.checkpoint import rng_state
        from regimen.system import distributed

        common: StateDict = {"session": session.state_dict(), "rng": rng_state()}
        if self.actors is not None:
            common |= {"actors": self.actors.state_dict()}
        else:
            env = self.env.state_dict()
            common |= {"env": env, "restores_envs": restores(self.env, env)}
        training: StateDict = {"agent": bundle["training"], **common}
        others = distributed.gather_to_first(training)
        head = {**self.head, "samples": session.samples}
        if others:
            training = {**training, "workers": others}
        checkpoint = {**head, "policy": bundle.get("policy"), "training": training}
        companions, step, due = self.companions, session.steps_done, self.due(session.steps_done)
        links = companions.links(step, self.checkpoints.saved) if companions is not None else []
        self.checkpoints.save(step, checkpoint, metric, links)
        if companions is not None:
            companions.watch()
        if due and step < session.total_steps:
            self.end_if_judged()

    def end_if_judged(self) -> None:
        """End the training, in all workers, where its evaluations ask for it.

        Raises:
            EndOfTraining: they do.
        """
        from regimen.system import distributed

        if not self._may_stop:
            return
        self.stopped = self.companions.stop_reason() if self.companions is not None else None
        if distributed.any_worker(self.stopped is not None):
            if self.stopped is not None:
                print(f"the training ends: {self.stopped}", flush=True)
            raise EndOfTraining


def _faults(config: Config, env: VecEnv) -> list[str]:
    """Return the joints with faults during the training; `switched_experts` selects an expert by them."""
    from regimen.envs.fault_estimate.wrapper import fault_joints

    evaluation = getattr(config.env, "evaluation", None)
    return fault_joints(config, env) if evaluation is not None and evaluation.faults else []


def _kinds_of_ground(config: Config) -> list[str]:
    """Return the kinds of uneven ground in the training; a student with several teachers selects them by it."""
    terrain = getattr(config.env, "terrain", None)
    return [] if terrain is None else sorted(set(terrain.column_kinds()))


def _teacher(config: Config, env: VecEnv) -> Policy:
    """Return the teacher of a student, `policy=`, or with `experts=` a policy that is another one on their ground."""
    from regimen.agents.policy_file import load_bundle, load_policy
    from regimen.agents.student.config import teacher_of_kind
    from regimen.agents.student.teachers import GroundTeachers
    from regimen.envs.vec_env import task_below

    first = load_policy(load_bundle(config.policy), env, config.seed)
    if not config.experts:
        return first
    bundles = [load_bundle(path) for path in config.experts]
    task = task_below(env)
    kinds = task.terrain.terrain.kinds
    teacher = teacher_of_kind(list(dict.fromkeys(kinds)), [bundle.get("ground", []) for bundle in bundles])
    of_env = [teacher[kinds[column]] for column in task.terrain.columns.tolist()]
    return GroundTeachers([first, *(load_policy(b, env, config.seed) for b in bundles)], of_env, env.device)


def _begin(run: Run, config: Config, env: VecEnv, agent: Any, session: TrainingSession) -> StateDict | None:
    """Restore the last checkpoint, or load `config.policy`; return the agent's state of a resumed run."""
    from regimen.envs.vec_env import restores
    from regimen.runs import checkpoint

    last = run.checkpoints / "last.pt"
    if last.exists():
        training = _own_part(checkpoint.load(last)["training"])
        resume: StateDict = training["agent"]
        session.load_state_dict(training["session"])
        if restores(env, training["env"]):
            env.load_state_dict(training["env"])
        else:
            resume = _restart(run, env, agent, training)
            session.forget_episodes()
        checkpoint.set_rng_state(training["rng"])
        run.rewind(session.steps_done)
        return resume
    run.rewind(-1)
    _begin_from_inputs(config, env, agent)
    return None


def _learn_from_actors(
    cfg: TrainCfg, run: Run, config: Config, env: VecEnv, agent: Any, session: TrainingSession, record: _Record
) -> None:
    """Train on what actors of this run do; their envs begin new episodes in a resumed run."""
    from regimen.agents.actor_learner.agreement import Agreement
    from regimen.agents.actor_learner.learner_session import learner_session
    from regimen.runs import checkpoint

    last = run.checkpoints / "last.pt"
    resume, last_ids = None, None
    if last.exists():
        training = checkpoint.load(last)["training"]
        resume, last_ids = training["agent"], training["actors"]["last_ids"]
        session.load_state_dict(training["session"])
        checkpoint.set_rng_state(training["rng"])
        run.warn(
            "resumed from all buffers, weights and row numbers of the checkpoint; actors begin new episodes, so the "
            "result is not bit for bit that of an uninterrupted run"
        )
        run.rewind(session.steps_done)
    else:
        run.rewind(-1)
        _begin_from_inputs(config, env, agent)
    agent.prepare(env, session, resume)
    agreement = Agreement.of(config, env.io)
    env.close()  # before the actors open theirs: a server may have one place
    # A checkpoint that is due is written with the next row of the log.
    kept = (cfg.checkpoint_interval + config.agent.log_period) * agreement.num_envs
    with learner_session(run, config, session, agent.row_spec(), agreement, last_ids, kept) as actors:
        record.actors = actors
        with suppress(EndOfTraining):
            record.end_if_judged()
            agent.learn_from(actors)


def _restart(run: Run, env: Any, agent: Any, training: StateDict) -> StateDict:
    """Begin new episodes where the state of the envs cannot be restored; return the agent's state for them.

    Raises:
        CheckpointError: the agent has no `restart`.
    """
    from regimen.agents.base import RestartableAgent
    from regimen.system.errors import CheckpointError

    if not isinstance(agent, RestartableAgent):
        raise CheckpointError(
            f"The envs cannot restore their state, and {type(agent).__name__} has no `restart`, which begins new "
            "episodes. Start a new run from the policy: policy=<run reference>."
        )
    if run.leads:
        run.warn(
            "resumed with new episodes, because the state of the envs cannot be restored: weights, optimisers, "
            "counters and generators continue, the result is not that of an uninterrupted run"
        )
    return agent.restart(training["agent"], env.restart(training["env"]))


def _own_part(training: StateDict) -> StateDict:
    """Return the state of this worker, with the agent's common state of rank 0.

    Raises:
        CheckpointError: the checkpoint has another number of workers.
    """
    from regimen.system import distributed
    from regimen.system.errors import CheckpointError

    others, rank, size = training.get("workers", []), distributed.rank(), distributed.world_size()
    if len(others) + 1 != size:
        raise CheckpointError(
            f"The checkpoint was written by {len(others) + 1} processes, this run has {size}: the states of the envs "
            "cannot be redistributed. Resume with the same number."
        )
    if rank == 0:
        return training
    own: StateDict = others[rank - 1]
    return {**own, "agent": {**training["agent"], **own["agent"]}}


def _begin_from_inputs(config: Config, env: VecEnv, agent: Any) -> None:
    """Load the weights with which a training begins: of an encoder that the agent trains further, and of a policy."""
    from regimen.agents.base import TaughtAgent
    from regimen.runs import checkpoint

    if config.encoder and getattr(config.agent, "images", None):
        agent.use_encoder(checkpoint.load(Path(config.encoder)))
    if config.policy and not isinstance(agent, TaughtAgent):
        _load_weights(Path(config.policy), env, agent)


def _load_weights(path: Path, env: VecEnv, agent: Any) -> None:
    from regimen.agents.base import ExtendableAgent
    from regimen.envs.vec_env import IOSpec
    from regimen.runs import checkpoint

    bundle = checkpoint.load(path)
    io, state = IOSpec.from_dict(bundle["io"]), bundle["policy"]
    io.require_fits(env.io, allow_extra_terms=isinstance(agent, ExtendableAgent))
    columns = io.columns_in(env.io)
    if columns != list(range(env.io.size())):
        state = agent.extend_observations(state, columns)
    agent.load_policy_state(state)


def _finish(run: Run, session: Any, wall_s: float, record: _Record) -> None:
    from regimen.display.figures import judged_curves, learning_curve
    from regimen.runs.checkpoint_header import BEST_JUDGED

    means = {"return": session.mean_return(), "episode_length": session.mean_length()}
    headline = {name: value for name, value in means.items() if value is not None}
    headline["samples"] = float(session.samples)
    samples = session.samples - session.samples_restored
    start = {"first_step_at": session.first_step_at, "first_step_cpu_s": session.first_step_cpu_s}
    result = {"iterations": session.iteration, "samples_per_s": samples / wall_s, **start}
    companions = record.companions
    if companions is not None:
        companions.finish(session.steps_done)
        headline |= companions.headline()
        result["evaluation"] = companions.result(record.stopped)
        if (best := run.checkpoints / BEST_JUDGED).exists():
            run.artifact(best, "checkpoint")
    run.finish(headline, result)
    run.draw("learning_curve.png", lambda path: learning_curve(run.dir / "metrics.jsonl", path))
    if companions is not None:
        run.draw("judged.png", lambda path: judged_curves(companions.curves(), path))
