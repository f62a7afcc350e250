"""`StudentCfg`: the hyperparameters of a student."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omegaconf import MISSING

from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.config.yaml_io import PlainConfig

ACTIVATIONS = ("elu", "relu", "silu", "tanh")


@dataclass
class LatentCfg:
    """A layer of the teacher that the student predicts.

    Attributes:
        layer: name of the teacher's layer, such as that of a network that encodes the ground.
        size: its width.
        weight: of the mean squared difference of the layers, beside that of the actions.
    """

    layer: str = MISSING
    size: int = MISSING
    weight: float = 1.0


@dataclass
class StudentCfg:
    """Hyperparameters.

    Attributes:
        observations: groups of the task that the student reads; the teacher, `policy=`, reads its own.
        hidden: widths of the hidden layers.
        activation: after each of them: elu, relu, silu or tanh.
        recurrent: width of a GRU before the hidden layers; null: a feed-forward network.
        steps: env steps of each env in the whole training.
        rollout: env steps between two updates; a recurrent network learns over as many steps.
        epochs: passes over a rollout in an update.
        mini_batches: of a pass.
        learning_rate: of Adam.
        grad_norm_clip: largest norm of a gradient.
        latent: layer of the teacher that the student predicts and acts by; null: none.
        teacher_share: share of the envs in which the teacher acts at the beginning; it falls to 0 until half of the
            training (DAgger's beta).
    """

    _target_: str = "regimen.agents.student.Student"
    observations: list[str] = field(default_factory=lambda: ["student"])
    hidden: list[int] = field(default_factory=lambda: [256, 128, 128])
    activation: str = "elu"
    recurrent: int | None = None
    latent: LatentCfg | None = None
    steps: int = 4800
    rollout: int = 24
    epochs: int = 2
    mini_batches: int = 4
    learning_rate: float = 1e-3
    grad_norm_clip: float = 1.0
    teacher_share: float = 0.0

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value, and for a missing teacher."""
        counts = {name: getattr(self, name) for name in ("steps", "rollout", "epochs", "mini_batches")}
        lines = [f"{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
        if not self.learning_rate > 0 or not self.grad_norm_clip > 0:
            lines.append("learning_rate and grad_norm_clip: expected more than 0.")
        if not self.hidden or min(self.hidden) < 1 or (self.recurrent is not None and self.recurrent < 1):
            lines.append(f"hidden={self.hidden} and recurrent={self.recurrent}: expected widths of 1 or more.")
        if self.activation not in ACTIVATIONS:
            lines.append(f"activation={self.activation}: {did_you_mean(self.activation, ACTIVATIONS)}")
        if not 0 <= self.teacher_share <= 1:
            lines.append(f"teacher_share={self.teacher_share:g}: expected 0 to 1.")
        if self.latent is not None and (self.latent.size < 1 or not self.latent.weight > 0):
            lines.append("latent: expected a size of 1 or more and a weight above 0.")
        groups = config["env"].get("observations") or {}
        if not self.observations:
            lines.append("observations=[]: expected at least one group of the task.")
        missing = [group for group in self.observations if groups and group not in groups]
        lines += [f"observations: the task has no group `{name}`. {did_you_mean(name, groups)}" for name in missing]
        stage = str((config.get("stage") or {}).get("_target_"))
        if stage.endswith(".Train") and not config.get("policy"):
            lines.append("needs a teacher: policy=<run reference>, a policy that solves the task.")
        return lines + _expert_problems(self, config)

    def total_steps(self) -> int:
        """Return the env steps per env of the whole training, a whole number of rollouts."""
        return max(1, self.steps // self.rollout) * self.rollout

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of a rollout and of its copy in mini-batches."""
        return 2 * 4 * self.rollout * num_envs * (observation + action + (self.recurrent or 0))


def _expert_problems(cfg: StudentCfg, config: PlainConfig) -> list[str]:
    """Return a line for each reason why further teachers, `experts=`, cannot be used."""
    if not config.get("experts"):
        return []
    lines = []
    if not config["env"].get("terrain"):
        lines.append(
            "experts=: further teachers act on kinds of uneven ground, and env.terrain is null. Remove experts=."
        )
    if cfg.latent is not None:
        lines.append("latent: of one teacher; with experts= set agent.latent=null.")
    return lines


def teacher_of_kind(kinds: Sequence[str], trained_on: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return for each kind of ground the index of its teacher: 0 is `policy=`, the others are `experts=`.

    An expert teaches on the kinds that no other expert was trained on, `policy=` on all others.

    Args:
        kinds: of the task.
        trained_on: kinds of each expert.

    Raises:
        ConfigError: an expert has no kind left.
    """
    teacher = {}
    for kind in kinds:
        able = [index for index, own in enumerate(trained_on, start=1) if kind in own]
        teacher[kind] = able[0] if len(able) == 1 else 0
    for index, own in enumerate(trained_on, start=1):
        if index not in teacher.values():
            raise ConfigError(
                f"experts[{index - 1}] was trained on {', '.join(own) or 'no uneven ground'}: no kind of this task, "
                f"{', '.join(kinds)}, is its alone. Train it with env.terrain.kinds.<kind>=null for the others."
            )
    return teacher
