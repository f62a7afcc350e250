"""An image encoder, trained on recorded episodes; frozen, it turns the pictures of a task into features."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from regimen.agents.base import FitResult, OpenedData
from regimen.agents.image_encoder import report
from regimen.agents.image_encoder.config import INVERSE_DYNAMICS, PRIVILEGED, ImageEncoderCfg
from regimen.agents.image_encoder.frames import EpisodeFrames
from regimen.agents.image_encoder.model import Augmentation, EncoderNet, TargetHeads, checksum
from regimen.agents.training_session import free_bytes, require_finite
from regimen.config import structured
from regimen.data.episodes.reader import open_all
from regimen.envs.encoded_images.description import EncoderDescription
from regimen.runs import checkpoint
from regimen.system.errors import DatasetError, DivergedError, PreflightError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.agents.image_encoder.frames import FrameBatch
    from regimen.config.schema import Config
    from regimen.envs.vec_env import IOSpec, Obs
    from regimen.runs.checkpoint import Checkpoints
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run

JUDGED_AT_ONCE = 256
"""Frames of a batch that measures the error."""

GIB = 2**30


@dataclass(frozen=True)
class EncoderData:
    """What an encoder learns from.

    Attributes:
        frames: of the episodes.
        task: that was recorded; None if unknown.
    """

    frames: EpisodeFrames
    task: str | None


class ImageEncoder:
    """Trains an image encoder."""

    def __init__(self, cfg: ImageEncoderCfg, device: torch.device, seed: int) -> None:
        """Keep the settings; `fit` builds the networks."""
        self.cfg, self.device, self.seed = cfg, device, seed

    @classmethod
    def open_data(cls, config: Config, memory_gb: float) -> OpenedData:
        """Return the episodes of `config.data`.

        Args:
            config: names the files.
            memory_gb: limit for the pictures in memory, in GiB.

        Raises:
            DatasetError: the files have no pictures, do not belong together, or lack a target.
            PreflightError: the pictures do not fit into the free memory.
        """
        cfg: ImageEncoderCfg = config.agent
        files = open_all([Path(path) for path in config.data])
        try:
            io, task = files[0].io, files[0].attributes.task or None
            cameras = list(io.images) if cfg.cameras is None else list(cfg.cameras)
            for file in files:
                _require_pictures(file.path, file.io, cameras, io)
                if (other := file.attributes.task or None) != task:
                    raise DatasetError(f"{files[0].path} is of task={task}, {file.path} of task={other}: use one task.")
            if PRIVILEGED in cfg.targets and PRIVILEGED not in io.observations:
                raise DatasetError(
                    f"{files[0].path} has no group `{PRIVILEGED}`, which only a simulator records. Type "
                    f"agent.targets=[{INVERSE_DYNAMICS}], which needs no labels."
                )
            paths = [file.path for file in files]
        finally:
            for file in files:
                file.close()
        groups = ["policy", PRIVILEGED] if PRIVILEGED in cfg.targets else ["policy"]
        following = INVERSE_DYNAMICS in cfg.targets
        limit = int(memory_gb * GIB)
        frames = EpisodeFrames(paths, cameras, groups, following, cfg.validation, limit, config.seed)
        held, free = frames.pool_bytes, free_bytes(torch.device("cpu"))
        print(f"pictures: {frames.bytes / GIB:.2f} GiB, at most {held / GIB:.2f} GiB in memory", flush=True)
        if held > free:
            raise PreflightError(
                f"The pictures take {held / GIB:.2f} GiB of memory, {free / GIB:.2f} GiB are free. Type "
                f"stage.memory_gb={0.8 * free / GIB:.2g}: the rest is read again in every epoch."
            )
        counts = {"train": frames.count(frames.train), "validation": frames.count(frames.validation)}
        episodes = {"train": len(frames.train), "validation": len(frames.validation)}
        about = {"frames": counts, "episodes": episodes, "picture_bytes": frames.bytes, "bytes_in_memory": held}
        return OpenedData(EncoderData(frames, task), about, [], "for training an image encoder")

    def fit(self, data: EncoderData, run: Run, checkpoints: Checkpoints) -> FitResult:
        """Train, measure the errors on the validation episodes, and draw; resume a stopped run.

        Args:
            data: as opened.
            run: receives metrics and figures.
            checkpoints: receives the encoder.

        Raises:
            DivergedError: the loss or a weight is not finite.
        """
        training = _Training(self.cfg, data, run, checkpoints, self.device, self.seed)
        history = training.fit()
        errors = report.target_errors(data.frames.io, *training.judge())
        data.frames.close()
        report.print_errors(errors)
        run.draw("learning_curve.png", lambda path: report.draw(path, history))
        result: dict[str, object] = {"errors": [asdict(error) for error in errors], "epochs": len(history)}
        result["parameters"] = sum(weights.numel() for weights in training.net.parameters())
        return FitResult(report.headline(errors, min(row["val_loss"] for row in history)), result)

    @classmethod
    def load_encoder(cls, bundle: PolicyBundle, device: torch.device) -> FrozenPictureEncoder:
        """Return the encoder of a checkpoint.

        Raises:
            CheckpointError: it is of something else.
            PreflightError: it needs the extra `encoders`.
        """
        description = EncoderDescription.of(bundle)
        cfg: ImageEncoderCfg = structured.build(ImageEncoderCfg, bundle["agent"])
        net = EncoderNet(cfg, description.images).to(device)
        net.load_state_dict(bundle["encoder"]["network"])
        return FrozenPictureEncoder(net, description)


class FrozenPictureEncoder:
    """An encoder whose weights do not change. See `FrozenEncoder`.

    Attributes:
        description: of what it reads and returns.
    """

    def __init__(self, net: EncoderNet, description: EncoderDescription) -> None:
        """Take the network."""
        self._net, self.description = net.requires_grad_(False).eval(), description

    @torch.no_grad()
    def encode(self, images: Obs) -> torch.Tensor:
        """Return the features (N, F) of images (N, H, W, 3) uint8."""
        features: torch.Tensor = self._net(images)
        return features


class _Training:
    """Trains the networks.

    Attributes:
        net: the encoder.
        history: one row per epoch: `epoch`, `loss`, `val_loss`.
    """

    def __init__(
        self,
        cfg: ImageEncoderCfg,
        data: EncoderData,
        run: Run,
        checkpoints: Checkpoints,
        device: torch.device,
        seed: int,
    ) -> None:
        self.cfg, self.data, self.run, self.checkpoints, self.seed = cfg, data, run, checkpoints, seed
        self.frames, self.device, io = data.frames, device, data.frames.io
        images = {name: io.images[name] for name in self.frames.cameras}
        sizes = {name: io.size(PRIVILEGED) if name == PRIVILEGED else io.num_actions for name in cfg.targets}
        torch.manual_seed(seed)
        self.net = EncoderNet(cfg, images).to(device)
        self.heads = TargetHeads(cfg, cfg.features * len(images), io.size("policy"), sizes).to(device)
        weights = [*self.net.parameters(), *self.heads.parameters()]
        self.optimiser = torch.optim.Adam([w for w in weights if w.requires_grad], lr=cfg.learning_rate)
        self.history: list[dict[str, float]] = []
        self._epoch = self._batch = self._step = 0
        self._sums = [0.0, 0.0]
        self._clock: tuple[int, float] | None = None

    def fit(self) -> list[dict[str, float]]:
        """Train to the end, from the last checkpoint if there is one, and load the best weights; return the history."""
        last = self.checkpoints.last
        if last.exists():
            self._restore(checkpoint.load(last))
        while self._epoch < self.cfg.epochs:
            self._run_epoch()
        best = checkpoint.load(self.checkpoints.best)
        self.net.load_state_dict(best["encoder"]["network"])
        self.heads.load_state_dict(best["training"]["heads"])
        return self.history

    def _run_epoch(self) -> None:
        rng = np.random.default_rng((self.seed, self._epoch))
        for group in self.optimiser.param_groups:
            group["lr"] = self.cfg.learning_rate * 0.5 * (1.0 + math.cos(math.pi * self._epoch / self.cfg.epochs))
        self.net.train()
        for batch in self.frames.epoch(self.frames.train, self.cfg.batch_size, rng, skip=self._batch):
            self._learn(batch)
            self._batch, self._step = self._batch + 1, self._step + 1
            self._show_progress()
            self.run.check_stop(self._step, lambda: self._save(None))
        guesses, targets = self.judge()
        val_loss = sum(float(functional.mse_loss(guesses[name], targets[name])) for name in targets)
        require_finite(self.net.state_dict(), "image encoder")
        row = {"epoch": self._epoch + 1, "loss": self._sums[0] / self._sums[1], "val_loss": val_loss}
        self.history.append(row)
        self._epoch, self._batch, self._sums = self._epoch + 1, 0, [0.0, 0.0]
        self.run.log(self._step, {f"Train/{name}": value for name, value in row.items() if name != "epoch"})
        self._save(-val_loss)
        self.run.check_stop(self._step, lambda: None)

    def _learn(self, batch: FrameBatch) -> None:
        change = Augmentation(self.cfg.augmentation, len(batch), self.frames.cameras)
        following = None if batch.following is None else change.apply(batch.following)
        guesses = self._predict(change.apply(batch.pictures), following, batch.vectors["policy"])
        targets = self._targets(batch)
        loss = sum(
            (functional.mse_loss(guesses[name], targets[name]) for name in guesses), torch.zeros((), device=self.device)
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise DivergedError(f"`loss` became {value} in epoch {self._epoch + 1}, batch {self._batch + 1}.")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self._sums[0] += value * len(batch)
        self._sums[1] += len(batch)

    def _predict(self, pictures: Obs, following: Obs | None, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        features, after = (
            None if stack is None else self.net({name: values.to(self.device) for name, values in stack.items()})
            for stack in (pictures, following)
        )
        guesses: dict[str, torch.Tensor] = self.heads(features, after, vectors.to(self.device))
        return guesses

    def _targets(self, batch: FrameBatch) -> dict[str, torch.Tensor]:
        action = batch.action.clamp(-1.0, 1.0)
        targets = {name: batch.vectors[PRIVILEGED] if name == PRIVILEGED else action for name in self.cfg.targets}
        return {name: values.to(self.device) for name, values in targets.items()}

    @torch.no_grad()
    def judge(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return predictions and true values of the validation frames, each target -> (V, d)."""
        self.net.eval()
        guesses: dict[str, list[torch.Tensor]] = {name: [] for name in self.cfg.targets}
        targets: dict[str, list[torch.Tensor]] = {name: [] for name in self.cfg.targets}
        for batch in self.frames.epoch(self.frames.validation, JUDGED_AT_ONCE):
            predicted = self._predict(batch.pictures, batch.following, batch.vectors["policy"])
            for name, values in self._targets(batch).items():
                guesses[name].append(predicted[name].cpu())
                targets[name].append(values.cpu())
        joined = [{name: torch.cat(rows) for name, rows in stacks.items()} for stacks in (guesses, targets)]
        return joined[0], joined[1]

    def _show_progress(self) -> None:
        each = self.frames.batches(self.frames.train, self.cfg.batch_size)
        total = each * self.cfg.epochs
        self._clock = self._clock or (self._step, time.perf_counter())
        rate = (self._step - self._clock[0]) / max(time.perf_counter() - self._clock[1], 1e-9)
        note = f"epoch {self._epoch + 1} of {self.cfg.epochs}"
        eta = max(0, total - self._step) / rate if rate > 0 else None
        self.run.progress(iteration=min(self._step, total), iterations=total, eta_s=eta, note=note)

    def _save(self, metric: float | None) -> None:
        io, weights = self.frames.io, dict(self.net.state_dict())
        features = dict.fromkeys(self.net.images, self.cfg.features)
        described = EncoderDescription(self.net.images, features, self.data.task, checksum(weights))
        training = {
            "heads": self.heads.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": checkpoint.rng_state(),
            "place": [self._epoch, self._batch],
            "sums": list(self._sums),
            "history": [dict(row) for row in self.history],
        }
        encoder = {**described.to_dict(), "network": weights}
        head = {"agent": asdict(self.cfg), "io": io.to_dict()}
        self.checkpoints.save(self._step, {**head, "encoder": encoder, "training": training}, metric)

    def _restore(self, saved: StateDict) -> None:
        training = saved["training"]
        self.net.load_state_dict(saved["encoder"]["network"])
        self.heads.load_state_dict(training["heads"])
        self.optimiser.load_state_dict(training["optimiser"])
        self._epoch, self._batch = training["place"]
        self._step, self._sums = saved["step"], list(training["sums"])
        self.history = [dict(row) for row in training["history"]]
        checkpoint.set_rng_state(training["rng"])


def _require_pictures(path: Path, io: IOSpec, cameras: Sequence[str], first: IOSpec) -> None:
    """Raise unless a file has the pictures of `cameras`, in the sizes of the first file."""
    if not cameras or not io.images:
        raise DatasetError(
            f"{path} has no pictures. Record some: stage=collect policy=scripted env.images={{size: 64}} "
            "stage.episodes=100."
        )
    for name in cameras:
        if name not in io.images:
            raise DatasetError(f"{path}: agent.cameras={name}: no such pictures. {did_you_mean(name, io.images)}")
        if io.images[name] != first.images[name]:
            raise DatasetError(f"{path}: {name} is {io.images[name]}, in the first file {first.images[name]}.")
