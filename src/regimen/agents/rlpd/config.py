"""Configuration of RLPD; names are those of HIL-SERL's TrainConfig and of the RLPD paper."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.data.frame_store import frames_bytes
from regimen.data.transition_buffer import buffer_bytes
from regimen.envs.controls.config import ControlsCfg
from regimen.envs.stall import PATIENCE, PROGRESS_M
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig, PlainSection

_COUNTS = (
    *("max_steps", "log_period", "training_starts", "replay_buffer_capacity", "batch_size", "utd", "cta_ratio"),
    *("ensemble_size", "subset"),
)
_SHARES = ("gamma", "tau")
INTERVENERS = (SCRIPTED, HUMAN) = ("scripted", "human")
_NOT_NEGATIVE = ("actor_lr", "critic_lr", "alpha_lr", "gripper_penalty", "random_steps")


@dataclass
class DemonstrationsCfg:
    """Demonstrations that the task's scripted expert gives at the start of a run without `data=`.

    Attributes:
        episodes: successful ones to record; 0 for a training without demonstrations.
        noise: standard deviation of the noise on the expert's actions.
    """

    episodes: int = 25
    noise: float = 0.1


@dataclass
class InterventionsCfg:
    """Interventions of the task's scripted expert, or of a human, during the training.

    Attributes:
        enabled: whether anything takes over at all.
        by: `scripted`, the expert of the task by the rules below, or `human`, by `controls`, in a window and in
            real time.
        patience: steps without progress after which it takes over.
        progress_m: distance to the goal, in m, by which the best of the episode must fall to count as progress.
        hold: steps for which it then acts.
        guard_hold: steps for which it acts where the task is about to fail, see `DemonstratedTask.failing`, at once and
            without patience; 0 for never.
        noise: standard deviation of the noise on its actions.
        controls: keyboard or gamepad of `by=human`; it has no use for the other values.
    """

    enabled: bool = True
    by: str = "scripted"
    patience: int = PATIENCE
    progress_m: float = PROGRESS_M
    hold: int = 15
    guard_hold: int = 3
    noise: float = 0.1
    controls: ControlsCfg = field(default_factory=ControlsCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value, and for each reason why no human can intervene."""
        lines = [] if self.by in INTERVENERS else [f"interventions.by={self.by}: {did_you_mean(self.by, INTERVENERS)}"]
        if self.enabled and self.by == HUMAN:
            lines += self._human_problems(config)
        lines += [
            f"interventions.{name}={getattr(self, name)}: expected 1 or more."
            for name in ("patience", "hold")
            if getattr(self, name) < 1
        ]
        return lines + [
            f"interventions.{name}={getattr(self, name):g}: expected 0 or more."
            for name in ("progress_m", "guard_hold", "noise")
            if getattr(self, name) < 0
        ]

    def _human_problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each reason why this machine offers a human no window of one env."""
        stage, hardware = config["choices"]["stage"], config.get("hardware") or {}
        actors = hardware.get("actors") or 0
        lines: list[str] = []
        if stage not in ("train", "actor"):
            return lines
        if config["env"].get("num_envs", 1) != 1:
            lines.append("interventions.by=human: a human acts in one env. Type env.num_envs=1.")
        if actors > 1:
            lines.append("interventions.by=human: a human acts in one window. Type hardware.actors=1.")
        if hardware.get("scheduler"):
            lines.append("interventions.by=human: a run on a scheduler has no window. Type hardware=cpu.")
        if (hardware.get("channel") or {}).get("transport") == "ray":
            lines.append("interventions.by=human: an actor of Ray has no window. Type hardware.channel.transport=http.")
        elsewhere = stage == "train" and hardware.get("channel") is not None and actors == 0
        return lines if lines or elsewhere else [f"interventions.{line}" for line in self.controls.problems()]


@dataclass
class PixelsCfg:
    """Encoder of `images`, trained with the critics.

    Attributes:
        channels: widths of the three convolutions of each camera.
        features: of each camera.
        proprioception: features of the groups of vectors together.
        shift: pixels by which a picture is moved at most along each side in each update; 0 for no augmentation.
    """

    channels: list[int] = field(default_factory=lambda: [16, 32, 32])
    features: int = 32
    proprioception: int = 64
    shift: int = 4

    def problems(self) -> list[str]:
        """Return one line for each invalid value."""
        lines = []
        if len(self.channels) != 3 or min(self.channels) < 1:
            lines.append(f"pixels.channels={self.channels}: expected three widths, such as [16, 32, 32].")
        for name, least in (("features", 1), ("proprioception", 1), ("shift", 0)):
            if (value := getattr(self, name)) < least:
                lines.append(f"pixels.{name}={value}: expected {least} or more.")
        return lines


@dataclass
class RlpdCfg:
    """Hyperparameters.

    Attributes:
        max_steps: env steps of each env; what is more than whole log periods is left out.
        log_period: env steps between two rows of the log; checkpoints and stops wait for one.
        observations: observation groups that actor and critics read; null: all groups of vectors of the task.
        images: images that actor and critics read as well, by an encoder that is trained with the critics; null: none.
            With `encoder=` its networks are those of that encoder at first.
        pixels: this encoder.
        random_steps: env steps with uniform random actions at the beginning.
        training_starts: transitions in the buffer before the first update.
        replay_buffer_capacity: transitions kept of those of the training, and as many of its interventions beside the
            demonstrations, which are all kept.
        batch_size: transitions of one update, half of them demonstrations where there are any.
        utd: updates of the critics for each transition.
        cta_ratio: updates of the critics for one of actor and temperature.
        gamma: discount of one env step.
        tau: share of the critics in each step of their target networks.
        actor_lr, critic_lr, alpha_lr: learning rates of Adam; alpha_lr=0 keeps the temperature.
        hidden: widths of the hidden layers of actor and critics.
        ensemble_size: critics E.
        subset: critics, drawn at random in each update, whose smallest value is the target.
        alpha_init: temperature at first.
        target_entropy: entropy that the temperature holds, in nats; null: minus half the number of actions.
        backup_entropy: whether the target contains the entropy of the action that follows.
        gripper_penalty: subtracted from the reward of each step whose command turns the gripper: one beyond 0.5 in the
            direction other than the last such command's. An episode begins closed.
        demonstrations: recorded at the start, if `data=` is not given.
        interventions: of the scripted expert or a human.
    """

    ACTORS: ClassVar[bool] = True
    DATA: ClassVar[str] = ".h5"
    IMAGES: ClassVar[bool] = True
    LOWER: ClassVar[str] = "agent.replay_buffer_capacity"
    POLICY_FORMAT: ClassVar[str] = "rlpd"
    _target_: str = "regimen.agents.rlpd.Rlpd"
    max_steps: int = 4000
    log_period: int = 50
    observations: list[str] | None = None
    images: list[str] | None = None
    pixels: PixelsCfg = field(default_factory=PixelsCfg)
    random_steps: int = 0
    training_starts: int = 100
    replay_buffer_capacity: int = 200_000
    batch_size: int = 128
    utd: int = 4
    cta_ratio: int = 2
    gamma: float = 0.97
    tau: float = 0.005
    actor_lr: float = 3e-4
    critic_lr: float = 3e-4
    alpha_lr: float = 3e-4
    hidden: list[int] = field(default_factory=lambda: [128, 128])
    ensemble_size: int = 10
    subset: int = 2
    alpha_init: float = 0.01
    target_entropy: float | None = -3.5
    backup_entropy: bool = False
    gripper_penalty: float = 0.0
    demonstrations: DemonstrationsCfg = field(default_factory=DemonstrationsCfg)
    interventions: InterventionsCfg = field(default_factory=InterventionsCfg)

    def total_steps(self) -> int:
        """Return the env steps per env of the whole training, a whole number of log periods."""
        return self.max_steps // self.log_period * self.log_period

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the buffers and of the minibatches of one env step."""
        rows = num_envs * self.utd * self.batch_size
        return buffer_bytes(2 * self.replay_buffer_capacity + 2 * rows, observation, action)

    def pixel_bytes(self, num_envs: int, frame: int) -> int:
        """Return the approximate memory of the images in the buffers while a checkpoint is saved; see `AgentCfg`.

        Interventions stay after the buffer of the training has dropped them.
        """
        steps = self.total_steps() * num_envs
        kept = min(self.replay_buffer_capacity, steps)
        return frames_bytes(kept if kept == steps else 2 * kept, frame)

    def encoder_problems(self, made_by: PlainSection) -> list[str]:
        """Return one line for each difference of the encoder of `encoder=` from `pixels`; see `AgentCfg`."""
        if (backbone := made_by.get("backbone")) != "cnn":
            return [f"its backbone is {backbone}, the images of this agent are read by cnn. Remove encoder=."]
        pairs = {name: (made_by.get(name), getattr(self.pixels, name)) for name in ("channels", "features")}
        return [
            f"its {name} are {other}. Type agent.pixels.{name}={other}."
            for name, (other, own) in pairs.items()
            if other != own
        ]

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        lines = [
            *self._lines(_COUNTS, lambda value: value >= 1, "expected 1 or more."),
            *self._lines(_SHARES, lambda value: 0 < value <= 1, "expected more than 0, and at most 1."),
            *self._lines(_NOT_NEGATIVE, lambda value: value >= 0, "expected 0 or more."),
            *self._lines(("alpha_init",), lambda value: value > 0, "expected more than 0."),
            *self._lines(("hidden",), lambda value: value and min(value) >= 1, "expected widths of 1 or more."),
            *self._lines(("batch_size",), lambda value: value >= 2, "expected 2 or more: half are demonstrations."),
            *self._lines(("observations",), lambda value: value is None or value, "expected null or a group."),
            *self._lines(("images",), lambda value: value is None or value, "expected null or an image."),
        ]
        if twice := sorted({name for name in self.images or () if (self.images or []).count(name) > 1}):
            lines.append(f"images={self.images}: {', '.join(twice)} is named more than once. Name it once.")
        if self.max_steps < self.log_period:
            lines.append(f"max_steps={self.max_steps}: fewer than log_period={self.log_period}.")
        if self.subset > self.ensemble_size:
            lines.append(f"subset={self.subset}: there are ensemble_size={self.ensemble_size} critics.")
        if self.training_starts > self.replay_buffer_capacity:
            held = f"the buffer holds replay_buffer_capacity={self.replay_buffer_capacity}"
            lines.append(f"training_starts={self.training_starts}: {held}.")
        if self.demonstrations.episodes < 0 or self.demonstrations.noise < 0:
            lines.append("demonstrations: expected episodes and noise of 0 or more.")
        if config["choices"]["stage"] == "train":
            lines += self._task_problems(config["env"], bool(config.get("data")))
        return lines + self.interventions.problems(config) + self.pixels.problems()

    def _lines(self, names: tuple[str, ...], good: Callable[[Any], bool], expected: str) -> list[str]:
        given = {name: getattr(self, name) for name in names}
        return [f"{name}={value}: {expected}" for name, value in given.items() if not good(value)]

    def _task_problems(self, env: PlainSection, has_data: bool) -> list[str]:
        """Return a line for each unknown group, and for each use of an expert that the task does not have.

        Args:
            env: the plain task; its groups may be known only at run time.
            has_data: whether recorded demonstrations are given.
        """
        from regimen.config import static_types

        offered = env.get("observations") or static_types.class_variable(env, "GROUPS") or ()
        unknown = [group for group in self.observations or () if offered and group not in offered]
        lines = [f"observations={group}: no such group. {did_you_mean(group, offered)}" for group in unknown]
        if _has_expert(str(env.get("_target_"))):
            return lines
        if self.demonstrations.episodes > 0 and not has_data:
            lines.append(
                f"demonstrations.episodes={self.demonstrations.episodes}: the task has no scripted expert. Type "
                "data=[<run of stage=collect>], or agent.demonstrations.episodes=0."
            )
        if self.interventions.enabled and self.interventions.by != HUMAN:
            lines.append(
                "interventions.enabled=true: the task has no scripted expert. Type agent.interventions.enabled=false, "
                "or agent.interventions.by=human."
            )
        return lines


def _has_expert(task: str) -> bool:
    """Return whether the class of a task, `pkg.mod.Class`, has a scripted expert; its module is not imported."""
    from regimen.config import static_types

    with suppress(ConfigError):
        return "scripted_expert" in static_types.methods(task)
    return False
