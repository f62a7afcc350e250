"""Vintix: a transformer that learns a task in context, from histories in which a learner became better at it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.agents.vintix.config import ModelCfg, SamplingCfg, TrainingCfg
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from regimen.agents.base import FitResult, OpenedData
    from regimen.agents.vintix.policy import VintixPolicy
    from regimen.agents.vintix.windows import Task
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint import Checkpoints
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run


@dataclass
class VintixCfg:
    """A transformer that learns in context.

    Attributes:
        model: its size.
        sampling: which windows it learns from.
        training: how.
    """

    DISTRIBUTED: ClassVar[bool] = True
    DATA: ClassVar[str] = ".json"
    LOWER: ClassVar[str] = "agent.training.batch_size or agent.model.context"
    POLICY_FORMAT: ClassVar[str] = "vintix"
    _target_: str = "regimen.agents.vintix.Vintix"
    model: ModelCfg = field(default_factory=ModelCfg)
    sampling: SamplingCfg = field(default_factory=SamplingCfg)
    training: TrainingCfg = field(default_factory=TrainingCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return what is wrong with the figures, one line each."""
        return [*self.model.problems(), *self.sampling.problems(), *self.training.problems()]

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return about what a step of the optimiser takes with float32, whatever the environments.

        These are weights, gradients and two moments, and what the blocks keep of each token for the way back: inputs
        and outputs of two norms and two masks of dropout (hidden); queries, keys and values before and after their
        norms, and attention in blocks and as a whole (inner); the perceptron's inside before and after GELU.
        """
        model, inside = self.model, self.model.feedforward or 4 * self.model.hidden
        weights = model.layers * 2 * model.hidden * (2 * model.inner + inside)
        kept = model.layers * (4 * model.hidden + 7 * model.inner + 2 * inside) + 10 * model.hidden
        return 4 * (4 * weights + self.training.batch_size * model.context * kept)


class Vintix:
    """Trains a policy that learns in context, on learning histories."""

    def __init__(self, cfg: VintixCfg, device: torch.device, seed: int) -> None:
        """Keep the settings; the network is built when the data are known."""
        self.cfg, self.device, self.seed = cfg, device, seed

    @classmethod
    def open_data(cls, config: Config, memory_gb: float) -> OpenedData:
        """Return the histories, and what stands against learning to improve from them.

        Raises:
            DatasetError: see `regimen.agents.vintix.windows.load`.
        """
        from regimen.agents.base import OpenedData
        from regimen.agents.vintix.windows import load
        from regimen.data.histories.card import make
        from regimen.data.histories.reader import open_histories

        paths, cfg = [Path(path) for path in config.data], config.agent
        problems, datasets = [], []
        for path in paths:
            card = make(open_histories(path))
            problems += [f"{card.task_name}: {line}" for line in card.problems()]
            datasets.append({key: getattr(card, key) for key in ("task_name", "mode", "rows", "spearman")})
        tasks = load(paths, cfg.sampling, cfg.model.context, config.seed, int(memory_gb * 2**30))
        windows = {t.name: {"windows": len(t.train), "held_out": len(t.val)} for t in tasks}
        about = {"rows": sum(row["rows"] for row in datasets), "datasets": datasets, "tasks": windows}
        return OpenedData(tasks, about, problems, "for learning in context")

    def fit(self, data: list[Task], run: Run, checkpoints: Checkpoints) -> FitResult:
        """Train; resume a stopped run.

        Args:
            data: tasks with their histories.
            run: receives metrics and a figure.
            checkpoints: receives the network.
        """
        import torch

        from regimen.agents.base import FitResult
        from regimen.agents.vintix.model import VintixNet
        from regimen.agents.vintix.trainer import Training

        odd = self.cfg.model.odd_heads()
        if odd and run.leads:
            run.warn(odd)
        torch.manual_seed(self.seed)
        net = VintixNet({task.group: task.about for task in data}, self.cfg.model).to(self.device)
        store = _VintixCheckpoints(checkpoints, self.cfg, data, net)
        training = Training(net, data, self.cfg.training, run, store, self.seed)
        training.fit()
        if run.leads:
            _draw(run)
        headline = {"loss": training.loss} | ({} if training.val_loss is None else {"val_loss": training.val_loss})
        count = sum(parameter.numel() for parameter in net.parameters())
        steps = {"epochs": self.cfg.training.epochs, "optimizer_steps": training.schedule.total}
        counts = {"parameters": count, "windows": len(training.windows), "held_out_windows": len(training.held_out)}
        return FitResult(headline, {**steps, **counts, "data_share": training.data_share})

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> VintixPolicy:
        """Return the policy of a checkpoint for the group of tasks whose observations and actions are `io`.

        Raises:
            CheckpointError: it learned no such group.
        """
        from regimen.agents.vintix.model import Group, VintixNet
        from regimen.agents.vintix.policy import Scaling, VintixPolicy
        from regimen.config import structured

        cfg: VintixCfg = structured.build(VintixCfg, bundle["agent"])
        groups = bundle["policy"]["groups"]
        name = _group_for(io, groups)
        net = VintixNet({key: Group(**group["about"]) for key, group in groups.items()}, cfg.model)
        net.load_state_dict(bundle["policy"]["network"])
        group = groups[name]
        return VintixPolicy(net.to(device), name, Scaling(group["mean"], group["std"], group["reward_scale"]))


def _group_for(io: IOSpec, groups: dict[str, StateDict]) -> str:
    """Return the name of the group that an environment is of."""
    from regimen.envs.vec_env import IOSpec

    for name, description in groups.items():
        if not IOSpec.from_dict(description["io"]).differences(io):
            return name
    raise CheckpointError(f"This model learned {', '.join(groups)}; none has this environment's observations.")


class _VintixCheckpoints:
    """The `CheckpointStore` of a model, whose network and training state are separate parts.

    `NNNN_epoch.pt` holds the network after that many epochs; `step_*.pt`, `last.pt` and `best.pt` also the optimiser.
    """

    def __init__(self, checkpoints: Checkpoints, cfg: VintixCfg, tasks: list[Task], net: Any) -> None:
        self.checkpoints, self.net = checkpoints, net
        groups = {task.group: _about(task) for task in tasks}
        ios = [group["io"] for group in groups.values()]
        self.head: PolicyBundle = {"agent": asdict(cfg), "io": ios[0], "ios": ios}
        scores = ("random_score", "expert_score", "mode")
        self.tasks = {
            "groups": groups,
            "tasks": {t.name: {"group": t.group} | {n: getattr(t.dataset, n) for n in scores} for t in tasks},
        }

    def load(self) -> StateDict | None:
        """Restore the network of the newest checkpoint and return the rest of it, or None."""
        from regimen.runs import checkpoint

        if not self.checkpoints.last.exists():
            return None
        bundle = checkpoint.load(self.checkpoints.last)
        self.net.load_state_dict(bundle["policy"]["network"])
        training: StateDict = bundle["training"]
        return training

    def save(
        self,
        step: int,
        network: StateDict,
        training: StateDict,
        metric: float | None,
        epoch: int | None = None,
    ) -> None:
        from regimen.runs import checkpoint

        bundle = {**self.head, "policy": {**self.tasks, "network": network}}
        if epoch is not None:
            path = self.checkpoints.folder / f"{epoch:04d}_epoch.pt"
            checkpoint.save(path, {**bundle, "format": checkpoint.FORMAT, "step": step, "metric": metric})
        self.checkpoints.save(step, {**bundle, "training": training}, metric)


def _about(task: Task) -> StateDict:
    """Return the description of a task's group in a checkpoint."""
    scaling = {"mean": task.scaling.mean, "std": task.scaling.std, "reward_scale": task.scaling.reward}
    return {"about": task.about.to_dict(), "io": io_of(task).to_dict(), **scaling}


def io_of(task: Task) -> IOSpec:
    """Return names and sizes of a task's observations and actions; those of an imported dataset have numbers only."""
    from regimen.envs.vec_env import ActionSpec, IOSpec

    if task.dataset.io:
        return IOSpec.from_dict(task.dataset.io)
    count = task.about.action
    action = ActionSpec([f"action_{i}" for i in range(count)], [1.0] * count, [0.0] * count)
    return IOSpec({"policy": {"proprio": task.about.observation}}, action, 0.02)


def _draw(run: Run) -> None:
    from regimen.display.figures import learning_curve

    run.draw("learning_curve.png", lambda path: learning_curve(run.dir / "metrics.jsonl", path))
