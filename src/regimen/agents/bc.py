"""Behaviour cloning: a deterministic policy that repeats the actions of demonstrations, by least squares."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from regimen.agents.base import FitResult, OpenedData
from regimen.agents.rlpd import demonstrations
from regimen.agents.rlpd.networks import Pass, Perceptron, Weights
from regimen.agents.rlpd.policy import MeanAction, MeanPolicy
from regimen.runs import checkpoint
from regimen.system.errors import DivergedError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint import Checkpoints
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run


@dataclass
class BcCfg:
    """Hyperparameters.

    Attributes:
        observations: observation groups that the policy reads; null: all groups of vectors in the data.
        hidden: widths of the hidden layers.
        steps: updates.
        batch_size: transitions of an update.
        learning_rate: of Adam.
        noise: standard deviation of the noise on observations, as a share of that of each value in the data.
        log_period: updates between two rows of the log, and between two checkpoints.
    """

    DATA: ClassVar[str] = ".h5"
    POLICY_FORMAT: ClassVar[str] = "bc"
    _target_: str = "regimen.agents.bc.Bc"
    observations: list[str] | None = None
    hidden: list[int] = field(default_factory=lambda: [128, 128])
    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 1e-3
    noise: float = 0.0
    log_period: int = 100

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each invalid value."""
        counts = {name: getattr(self, name) for name in ("steps", "batch_size", "log_period")}
        lines = [f"{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
        if self.learning_rate <= 0 or self.noise < 0:
            lines.append("learning_rate: expected more than 0; noise: expected 0 or more.")
        if not self.hidden or min(self.hidden) < 1:
            lines.append(f"hidden={self.hidden}: expected widths of 1 or more.")
        return lines


@dataclass(frozen=True)
class ClonedData:
    """What is cloned.

    Attributes:
        given: successful episodes.
        io: observations and actions.
        groups: observation groups that are read.
    """

    given: demonstrations.Demonstrations
    io: IOSpec
    groups: list[str]


class Bc:
    """Clones demonstrations."""

    def __init__(self, cfg: BcCfg, device: torch.device, seed: int) -> None:
        """Keep the settings; the network is built when the data are known."""
        self.cfg, self.device, self.seed = cfg, device, seed

    @classmethod
    def open_data(cls, config: Config, memory_gb: float) -> OpenedData:
        """Return the successful episodes of `config.data`.

        Raises:
            DatasetError: there is none, or a group is missing.
        """
        io, groups = demonstrations.description([Path(path) for path in config.data], config.agent.observations)
        given = demonstrations.read([Path(path) for path in config.data], io, groups)
        about: dict[str, object] = {"episodes": len(given.lengths), "transitions": len(given.transitions)}
        return OpenedData(ClonedData(given, io, groups), about, [], "for cloning")

    def fit(self, data: ClonedData, run: Run, checkpoints: Checkpoints) -> FitResult:
        """Train; resume a stopped run.

        Args:
            data: as opened.
            run: receives metrics.
            checkpoints: receives the policy.

        Raises:
            DivergedError: the loss is not finite.
        """
        torch.set_num_threads(1)
        torch.manual_seed(self.seed)
        cfg, steps = self.cfg, data.given.transitions
        obs = torch.cat([steps.obs[group] for group in data.groups], dim=1).to(self.device)
        wanted, spread = steps.action.clamp(-1.0, 1.0).to(self.device), obs.std(0) * cfg.noise
        shape = Perceptron(obs.shape[1], tuple(cfg.hidden), wanted.shape[1])
        actor = Weights(shape, shape.initial(1, self.device, output_scale=0.01))
        optimiser = torch.optim.Adam([actor.values], lr=cfg.learning_rate, fused=True)
        forward, done, loss = Pass(shape, 1, cfg.batch_size, self.device), 0, math.nan
        head: PolicyBundle = {"agent": asdict(cfg), "io": data.io.to_dict()}
        if checkpoints.last.exists():
            saved = checkpoint.load(checkpoints.last)["training"]
            with torch.no_grad():
                actor.values.copy_(saved["actor"])
            optimiser.load_state_dict(saved["optimiser"])
            done, loss = saved["done"], saved["loss"]
            checkpoint.set_rng_state(saved["rng"])

        def save() -> None:
            weights = actor.values.detach()
            training = {"actor": weights, "optimiser": optimiser.state_dict(), "done": done, "loss": loss}
            policy = {"actor": weights, "groups": data.groups}
            training["rng"] = checkpoint.rng_state()
            checkpoints.save(done, {**head, "policy": policy, "training": training}, None)

        while done < cfg.steps:
            index = torch.randint(len(obs), (cfg.batch_size,), device=self.device)
            inputs = obs[index] + spread * torch.randn(cfg.batch_size, len(spread), device=self.device)
            action = torch.tanh(forward.forward(actor.layers, inputs)[0])
            error = action - wanted[index]
            slope = 2.0 / error.numel() * error * (1.0 - action.square())
            forward.backward(actor.layers, slope[None], actor.gradients)
            optimiser.step()
            done += 1
            if done % cfg.log_period == 0 or done == cfg.steps:
                loss = float(error.square().mean())
                if not math.isfinite(loss):
                    raise DivergedError(f"`loss` became {loss} in update {done}.")
                run.log(done, {"loss": loss})
                run.progress(iteration=done, iterations=cfg.steps, note=None)
                save()
                run.check_stop(done, lambda: None)
        return FitResult({"loss": loss}, {"updates": done, "transitions": len(obs)})

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> MeanPolicy:
        """Return the policy of a checkpoint."""
        groups, hidden = list(bundle["policy"]["groups"]), tuple(bundle["agent"]["hidden"])
        shape = Perceptron(sum(io.size(group) for group in groups), hidden, io.num_actions)
        return MeanPolicy(MeanAction(shape, bundle["policy"]["actor"], io.num_actions).to(device), groups)
