"""The contract of agents and policies: what an agent offers to the stages, and what a policy offers to a rollout.

An agent is a class `X` named by `_target_` of its YAML, configured by the dataclass `XCfg` of the same module. It
implements the protocols of what it can do, and nothing else:

| protocol | stage | members |
|---|---|---|
| `LearningAgent` | train | `learn` |
| `Agent` | train | `total_steps`, `learn`, `load_policy_state`, `load_policy` |
| `DemonstratedAgent` | train with `data=` | `use_data` |
| `ActorLearnerAgent` | train with actors of its own, actor | `prepare`, `row_spec`, `learn_from`, `act` |
| `TaughtAgent` | train with `policy=` as its teacher | `use_teacher` |
| `ExtendableAgent` | train from the policy of another run | `extend_observations` |
| `OfflineAgent` | distill | `open_data`, `fit` |
| `EstimatorAgent` | any with `estimator=` | `load_estimator` |
| `EncoderAgent` | any with `encoder=` | `load_encoder` |
| `AssembledAgent` | assemble | `assemble` |

`AgentCfg` lists what its dataclass may declare. A policy is a `Policy`; one that can be exported is a
`FeedForwardPolicy` or a `RecurrentPolicy`, one with named layers a `LatentPolicy`, one that learns in context an
`InContextPolicy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from torch import nn

    from regimen.agents.actor_learner.actor_session import ActorSession
    from regimen.agents.actor_learner.channel import RowSpec
    from regimen.agents.actor_learner.learner_session import LearnerSession
    from regimen.agents.training_session import TrainingSession
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig, PlainSection
    from regimen.envs.encoded_images.wrapper import FrozenEncoder
    from regimen.envs.fault_estimate.estimator import Estimator
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv
    from regimen.runs.checkpoint import Checkpoints
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run


class Policy(Protocol):
    """A trained policy. It is stateless: its recurrent state is an argument and a return value."""

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the action (N, A) for the observations of each group, and the next state.

        Args:
            obs: observation group -> (N, d) float32, or an image (N, H, W, C) uint8.
            state: state after the previous step; None at the first.
        """
        ...

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        """Return `state` with the rows of the envs `env_ids` (n,), whose episode ended, set back."""
        ...


@runtime_checkable
class FeedForwardPolicy(Policy, Protocol):
    """A policy whose action depends on the present observation alone; `regimen export` writes it to a file."""

    def feed_forward(self) -> tuple[nn.Module, list[str]]:
        """Return the network, and the observation groups that are its arguments, one tensor (N, d) each, in order.

        The network returns the action (N, A) of `act`: normaliser, squashing and scale are part of it.

        Raises:
            CheckpointError: the network is recurrent.
        """
        ...


@dataclass(frozen=True)
class RecurrentNetwork:
    """A network with a state that is all zeros where an episode begins.

    Attributes:
        module: one tensor (N, d) for each group, then each part of the state -> the action (N, A) of `act`, then each
            part of the next state.
        groups: observation groups, in the order of the arguments.
        state: name of a part of the state -> its shape in one env; (N, *shape) as an argument.
    """

    module: nn.Module
    groups: list[str]
    state: dict[str, list[int]]


@runtime_checkable
class RecurrentPolicy(Policy, Protocol):
    """A policy that carries a state through an episode; `regimen export` writes it to a file."""

    def recurrent(self) -> RecurrentNetwork | None:
        """Return the network of one step, None of a policy without state, which is then a `FeedForwardPolicy`.

        Raises:
            CheckpointError: the network has a form that cannot be written with its state.
        """
        ...


@runtime_checkable
class LatentPolicy(Policy, Protocol):
    """A policy with named layers; a student predicts one that encodes what the student does not see."""

    def latent(self, obs: Obs, layer: str) -> torch.Tensor:
        """Return the output (N, k) of a layer.

        Args:
            obs: as for `act`.
            layer: its name.

        Raises:
            ConfigError: naming the layers that there are.
        """
        ...


@runtime_checkable
class InContextPolicy(Policy, Protocol):
    """A policy that learns while it acts: its `reset` marks that an episode begins, and keeps the context.

    `stage=in_context` sets two attributes before the first step: `use_cache`, whether results of earlier steps are
    cached instead of computed again at each step, and `use_fp16`, whether 16 bits are used where the device has them.
    """

    def observe(self, state: Any, reward: torch.Tensor) -> Any:
        """Return `state` extended by the unscaled reward (N,) of the last action.

        It is called after every `act`, between `env.step` and `reset`.
        """
        ...


@runtime_checkable
class LearningAgent(Protocol):
    """What `stage=train` requires of the class of an agent before it opens the environment."""

    def learn(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Train until `session.steps_done` is `total_steps`.

        Args:
            env: to be reset and staggered by the agent, or restored if `resume` is given.
            session: `step` is called after every env step, `end_iteration` after every update.
            resume: the `training` part of the last checkpoint; None to begin.

        Raises:
            DivergedError: naming the tensor, loss or joint that is not finite.
        """
        ...


class Agent(LearningAgent, Protocol):
    """An agent that `stage=train` trains in an environment. The constructor is `X(cfg, io, num_envs, device, seed)`.

    Its arguments are the typed `agent` section, the `IOSpec` of the task, N, the torch device of the networks, and the
    seed of weights and draws.
    """

    @property
    def total_steps(self) -> int:
        """Env steps of each env in the whole training."""
        ...

    def load_policy_state(self, state: StateDict) -> None:
        """Initialise the policy by the `policy` part of the checkpoint of another run (`policy=<run>`).

        Raises:
            CheckpointError: the networks have another architecture.
        """
        ...

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> Policy:
        """Return the policy of a checkpoint.

        Args:
            bundle: the checkpoint: `agent` (plain section), `io`, `policy`.
            io: observations and actions of the policy.
            device: of the observations that `act` is called with.
        """
        ...


@runtime_checkable
class RestartableAgent(Protocol):
    """An agent whose training can be resumed with new episodes, where the env cannot restore its state."""

    def restart(self, state: StateDict, obs: Obs) -> StateDict:
        """Return the `training` part of a checkpoint for envs that begin new episodes.

        Args:
            state: the `training` part, as `learn` gets it.
            obs: first observations of the new episodes, group -> (N, d).
        """
        ...


@runtime_checkable
class ActorLearnerAgent(Protocol):
    """An agent that learns in one process from what others do.

    Its dataclass declares `ACTORS`, and has `log_period`: env steps between two calls of `end_iteration`, at most.
    """

    def prepare(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Get ready to learn.

        Args:
            env: new, closed afterwards.
            session: receives progress and warnings.
            resume: the `training` part of the last checkpoint; None to begin.
        """
        ...

    def row_spec(self) -> RowSpec:
        """Return the columns of a row that an actor sends."""
        ...

    def learn_from(self, actors: LearnerSession) -> None:
        """Train until `total_steps`, counted in rows of N envs.

        Args:
            actors: rows and figures arrive there, and weights are published there.
        """
        ...

    def act(self, env: VecEnv, session: ActorSession) -> None:
        """Step `env` with the newest weights, and send what happens, until `session.running` is false.

        Args:
            env: new, in another process than the learner's.
            session: to the learner.
        """
        ...


@runtime_checkable
class TaughtAgent(Protocol):
    """An agent that learns from the policy that `policy=` names, and does not begin with its weights."""

    def use_teacher(self, policy: Policy) -> None:
        """Take the teacher, of the same task; called before `learn`, in a resumed run as well."""
        ...


@runtime_checkable
class ExtendableAgent(Protocol):
    """An agent that can start from a policy with fewer observations than its task has."""

    def extend_observations(self, state: StateDict, columns: list[int]) -> StateDict:
        """Return the `policy` part of a checkpoint for this agent's observations; new columns have no effect at first.

        Args:
            state: the `policy` part.
            columns: for each observation column of that policy, its index in this agent's group `policy`.
        """
        ...


@runtime_checkable
class OfflineAgent(Protocol):
    """An agent that `stage=distill` trains on recorded data. The constructor is `X(cfg, device, seed)`."""

    @classmethod
    def open_data(cls, config: Config, memory_gb: float) -> OpenedData:
        """Return the datasets `config.data`, and the quality checks that they failed.

        Args:
            config: the whole configuration.
            memory_gb: limit for the data in memory, in GiB.

        Raises:
            DatasetError: the datasets do not belong together or cannot be read.
        """
        ...

    def fit(self, data: Any, run: Run, checkpoints: Checkpoints) -> FitResult:
        """Train on `OpenedData.data`, from the last checkpoint of `checkpoints` if there is one.

        Args:
            data: as opened.
            run: receives metrics, progress and figures; `check_stop` ends the training on a signal.
            checkpoints: receives the networks.
        """
        ...


@runtime_checkable
class DemonstratedAgent(Protocol):
    """An agent that `stage=train` may give recorded episodes beside the environment; its dataclass declares `DATA`."""

    def use_data(self, paths: Sequence[Path], task: str | None) -> None:
        """Take the files of `data=`; `learn` reads them when it begins, a resumed one does not.

        Args:
            paths: files, or folders of them.
            task: name of the task of the training, which the data should be of; None if it has none.
        """
        ...


class EstimatorAgent(Protocol):
    """An agent whose checkpoint is a fault estimator, usable as `estimator=<run>`."""

    @classmethod
    def load_estimator(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> Estimator:
        """Return the estimator of a checkpoint.

        Args:
            bundle: the checkpoint.
            io: observations of the environment.
            device: of the observations.

        Raises:
            IOMismatchError: naming what differs.
            CheckpointError: it is no estimator.
        """
        ...


class EncoderAgent(Protocol):
    """An agent whose checkpoint is an image encoder, usable as `encoder=<run>`."""

    @classmethod
    def load_encoder(cls, bundle: PolicyBundle, device: torch.device) -> FrozenEncoder:
        """Return the encoder of a checkpoint.

        Args:
            bundle: the checkpoint.
            device: of the images.

        Raises:
            CheckpointError: it is no encoder.
        """
        ...


@runtime_checkable
class AssembledAgent(Protocol):
    """An agent whose policy `stage=assemble` combines from trained ones."""

    @staticmethod
    def assemble(healthy: PolicyBundle, experts: Sequence[PolicyBundle], io: IOSpec) -> StateDict:
        """Return the `policy` part of the new checkpoint.

        Args:
            healthy: checkpoint of `policy=`.
            experts: checkpoints of `experts=`.
            io: observations and actions of the task.

        Raises:
            ConfigError: the policies do not complement each other.
            IOMismatchError: one of them reads what the task lacks.
        """
        ...


class AgentCfg(Protocol):
    """What the dataclass `XCfg` may declare beside its fields, which are the keys of the YAML. All of it is optional.

    The launcher reads the dataclass from source, so it must not need torch. A field of type `dict` may be checked
    against a library by its metadata:

    * `{"library": ["pkg.mod:Class", …], "extra": [keys]}`: its keys are the fields of these dataclasses, and `extra`;
    * `{"built": {"package": "pkg", "supplied": [names]}}`: it constructs the class of `package` that its key
      `class_name` names; `supplied` are arguments that the agent adds. `target` in place of `package` names one fixed
      class, `extra` further keys, and `sections` the same description for the dictionaries inside it.

    Attributes:
        DATA: kind of dataset that `fit` or `use_data` takes: `.h5` for episodes, `.json` for learning histories.
        DISTRIBUTED: whether several processes may train one agent.
        ACTORS: whether it learns from actors that are processes of their own (`hardware=actor_learner`).
        POLICY_FORMAT: name of the layout of its policies. A training starts from a policy of another agent only if both
            declare the same one; without it nothing is compared.
        WATCHES: whether the agent is evaluated while a policy acts, as a failure detector is.
        LOWER: settings to lower where the memory does not suffice, for an agent whose memory depends on more than N.
        IMPORT_BYTES: main memory of the modules of its library; without it `memory_check.LIBRARY_BYTES` is assumed.
        MOVED: key that the agent does not have -> where that is set.
        IMAGES: whether the agent reads images; without it a task that gives images (`env.images`) is refused. One with
            a key `images` reads those that it names there.
    """

    DATA: ClassVar[str]
    DISTRIBUTED: ClassVar[bool]
    ACTORS: ClassVar[bool]
    POLICY_FORMAT: ClassVar[str]
    WATCHES: ClassVar[bool]
    LOWER: ClassVar[str]
    IMPORT_BYTES: ClassVar[int]
    MOVED: ClassVar[dict[str, str]]
    IMAGES: ClassVar[bool]

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value, before the run starts; `config` is the whole plain configuration."""
        ...

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the bytes of rollouts or replay, on the agent's device, with N envs, d observations and A actions."""
        ...

    def network_bytes(self, num_envs: int, observation: int, action: int, on_gpu: bool) -> int:
        """Return the bytes of networks, optimiser and what an update keeps of a minibatch, on the agent's device.

        Args:
            num_envs: N.
            observation: d.
            action: A.
            on_gpu: whether the device is a GPU, where an update may be larger.
        """
        ...

    def pixel_bytes(self, num_envs: int, frame: int) -> int:
        """Return the bytes of the images that an agent keeps, with N envs and `frame` bytes of images in each step."""
        ...

    def encoder_problems(self, made_by: PlainSection) -> list[str]:
        """Return one line for each setting in which the agent's own encoder differs from that of `encoder=`.

        Args:
            made_by: plain settings of the agent that trained that one.
        """
        ...


@dataclass(frozen=True)
class OpenedData:
    """Datasets opened by the classmethod `open_data(config, memory_gb)` of an agent that learns from data.

    Attributes:
        data: argument of the agent's `fit`.
        about: summary for result.json.
        problems: failed quality checks, one line each.
        purpose: ends the message `These data are not fit …`, such as `for training a detector`.
    """

    data: Any
    about: dict[str, object]
    problems: list[str]
    purpose: str


@dataclass(frozen=True)
class FitResult:
    """Result of the `fit` of an agent that learns from data.

    Attributes:
        headline: name -> value, for lists of runs.
        result: content of result.json.
    """

    headline: dict[str, float]
    result: dict[str, object]
