"""Settings of the transformer, of the windows it is trained on, and of its training; plain Python, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from regimen.system.host import instructions

PRECISIONS = ("auto", "fp32", "bf16")


def sixteen_bits(device: str) -> str | None:
    """Return why 16 bits are slower on a device of this machine, and the setting to use instead; else None."""
    if device.startswith("cuda") or "avx512_bf16" in instructions():
        return None
    return (
        "use_fp16=true: this processor does not compute with 16 bits (avx512_bf16), so that they are slower than "
        "float32. Take it away, or set hardware.device=cuda."
    )


@dataclass
class ModelCfg:
    """Size of the transformer; the defaults are those of `standard`.

    Attributes:
        context: tokens in the context; one token is one environment step.
        layers: blocks.
        heads: of attention.
        hidden: width of a token; (hidden - reward) / 2 for the observation and as much for the previous action.
        reward: width of the previous reward in a token.
        head_dim: width of a head; null: hidden / heads, rounded down, so that 514 with 8 heads has 64.
        feedforward: width inside a block's perceptron; null: 4 * hidden.
        dropout: share of units switched off in training.
        mask_rewards: train without rewards, for comparison.
        stochastic: learn the standard deviation of continuous actions and sample them, as discrete ones always are:
            the mean action of the learners does not explore.
    """

    context: int = 2048
    layers: int = 12
    heads: int = 8
    hidden: int = 514
    reward: int = 2
    head_dim: int | None = None
    feedforward: int | None = None
    dropout: float = 0.0
    mask_rewards: bool = False
    stochastic: bool = False

    @property
    def width(self) -> int:
        """Width of a head."""
        return self.head_dim or self.hidden // self.heads

    @property
    def inner(self) -> int:
        """Width of attention, all heads together; it need not be that of a token."""
        return self.heads * self.width

    @property
    def embedding(self) -> int:
        """Width of the observation, and of the previous action, in a token."""
        return (self.hidden - self.reward) // 2

    def odd_heads(self) -> str | None:
        """Return a line that says how a hidden width is shared by heads that do not divide it, else None."""
        if self.inner == self.hidden:
            return None
        return (
            f"model.hidden={self.hidden} is no multiple of model.heads={self.heads}: each head has {self.width} "
            f"channels, so that attention is {self.inner} wide inside tokens of {self.hidden}."
        )

    def problems(self) -> list[str]:
        """Return one line for each invalid value."""
        names = ("context", "layers", "heads", "hidden", "reward", "head_dim", "feedforward")
        sizes = {name: getattr(self, name) for name in names}
        lines = [f"model.{n}={v}: expected 1 or more." for n, v in sizes.items() if v is not None and v < 1]
        if not lines and ((self.hidden - self.reward) % 2 or self.embedding < 1):
            lines.append(
                f"model.hidden={self.hidden}: expected model.reward={self.reward} and an even rest, half of it for the "
                f"observation and half for the action, such as {2 * max(1, self.embedding) + self.reward}."
            )
        if not lines and self.width < 1:
            lines.append(f"model.heads={self.heads}: expected no more than model.hidden={self.hidden}.")
        if not 0.0 <= self.dropout < 1.0:
            lines.append(f"model.dropout={self.dropout}: expected 0 or more, and less than 1.")
        return lines


@dataclass
class SamplingCfg:
    """Selection of the training windows.

    Attributes:
        trajectory_sparsity: rows between the begins of two windows.
        episode_sparsity: every n-th complete episode is kept, so that progress needs fewer rows; null: the value
            of the dataset.
        last_frac: share of each history, from its end, that is used; little of it is expert distillation.
        held_out: share of the histories used for validation only; at least one where not 0.
    """

    trajectory_sparsity: int = 257
    episode_sparsity: int | None = None
    last_frac: float = 1.0
    held_out: float = 0.1

    def problems(self) -> list[str]:
        """Return one line for each invalid value."""
        counts = {n: getattr(self, n) for n in ("trajectory_sparsity", "episode_sparsity")}
        lines = [f"sampling.{n}={v}: expected 1 or more." for n, v in counts.items() if v is not None and v < 1]
        if not 0.0 < self.last_frac <= 1.0:
            lines.append(f"sampling.last_frac={self.last_frac}: expected more than 0, at most 1.")
        if not 0.0 <= self.held_out < 1.0:
            lines.append(f"sampling.held_out={self.held_out}: expected 0 or more, and less than 1.")
        return lines


@dataclass
class TrainingCfg:
    """Hyperparameters of the training.

    Attributes:
        epochs: every epoch reads each window once.
        batch_size: windows side by side, in each process.
        accumulation: batches behind one step of the optimiser.
        learning_rate: the highest, reached after the warm-up.
        min_learning_rate: that of the last step, reached along half a cosine.
        warmup_ratio: share of all steps in which the rate rises linearly.
        betas: of AdamW.
        weight_decay: of AdamW, on the weights of linear layers only.
        grad_norm_clip: bound on the norm of the gradient.
        precision: `auto`: bf16 on CUDA, fp32 on a CPU; or `fp32`, `bf16`.
        save_every: epochs between two `NNNN_epoch.pt`; the last one is always kept.
        log_interval: optimiser steps between two rows of metrics.
    """

    epochs: int = 150
    batch_size: int = 16
    accumulation: int = 2
    learning_rate: float = 3e-4
    min_learning_rate: float = 0.0
    warmup_ratio: float = 0.005
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    grad_norm_clip: float = 1.0
    precision: str = "auto"
    save_every: int = 10
    log_interval: int = 10

    def problems(self) -> list[str]:
        """Return one line for each invalid value."""
        counts = {n: getattr(self, n) for n in ("epochs", "batch_size", "accumulation", "save_every", "log_interval")}
        lines = [f"training.{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
        if not 0.0 <= self.min_learning_rate <= self.learning_rate or self.learning_rate <= 0:
            lines.append("training.learning_rate: expected more than 0; training.min_learning_rate: no more than it.")
        if not 0.0 <= self.warmup_ratio < 1.0:
            lines.append(f"training.warmup_ratio={self.warmup_ratio}: expected 0 or more, and less than 1.")
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            lines.append(f"training.betas={list(self.betas)}: expected two numbers from 0 to below 1.")
        if self.weight_decay < 0 or self.grad_norm_clip <= 0:
            lines.append("training.weight_decay: expected 0 or more; training.grad_norm_clip: more than 0.")
        if self.precision not in PRECISIONS:
            lines.append(f"training.precision={self.precision}: expected {', '.join(PRECISIONS)}.")
        return lines
