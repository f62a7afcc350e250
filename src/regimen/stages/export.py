"""Stage `export`: write a policy as one file for a robot, and check it in closed loop outside of this project."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from regimen.stages.base import Stage

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.runs.run import Run


@dataclass
class ExportCfg:
    """Write `policy` to `exported/` of the run: the file, its metadata, its runner, and the result of the closed loop.

    Attributes:
        format: `onnx` or `torchscript`.
        observations: `scaled`: the inputs are observation groups; `raw`: they are readings of sensors.
        check_steps: control steps of the closed loop; 0: none.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator", "encoder")
    LOADS_POLICY: ClassVar[bool] = True
    _target_: str = "regimen.stages.export.Export"
    format: str = "onnx"
    observations: str = "scaled"
    check_steps: int = 1000

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        from regimen.agents.deployment.exporting import require_format
        from regimen.agents.export.terms import has_readings
        from regimen.system.errors import RegimenError

        is_described = has_readings(config["env"])
        lines = [] if config.get("policy") else ["stage=export needs a policy: policy=<run reference>."]
        try:
            require_format(self.format, self.observations)
        except RegimenError as error:
            lines.append(str(error))
        if self.check_steps < 0:
            lines.append(f"check_steps={self.check_steps}: expected steps, 1 or more, or 0 for no closed loop.")
        if self.check_steps > 0 and self.format == "torchscript":
            lines.append(f"check_steps={self.check_steps}: the closed loop runs ONNX. Type stage.check_steps=0.")
        task = config.get("choices", {}).get("task")
        unread = f"the observations of task={task} are not terms of its configuration env.observations"
        if not is_described and self.observations == "raw":
            lines.append(f"observations=raw: {unread}. Type stage.observations=scaled.")
        if not is_described and self.check_steps > 0:
            lines.append(f"check_steps={self.check_steps}: {unread}. Type stage.check_steps=0.")
        return lines

    def num_envs(self, config: PlainConfig) -> int:
        """Return 1: one robot."""
        return 1


class Export(Stage):
    """Export one policy; a run that is stopped starts over, which costs seconds."""

    def __init__(self, cfg: ExportCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Write the files, and compare the exported policy with its checkpoint in closed loop.

        Raises:
            CheckpointError: the policy cannot be exported, or the exported one acts differently.
        """
        from regimen.agents.deployment.closed_loop import check_in_closed_loop
        from regimen.agents.deployment.exporting import (
            SUFFIXES,
            PolicySource,
            export_policy,
            metadata_of,
            summary,
        )
        from regimen.agents.export.metadata import origin
        from regimen.config.structured import to_plain
        from regimen.system.errors import CheckpointError

        checkpoint, plain = Path(str(config.policy)), to_plain(config)
        found = origin(checkpoint)
        source = PolicySource(checkpoint, plain, found[1] if found else None)
        target = run.dir / "exported" / f"{checkpoint.stem}{SUFFIXES[self.cfg.format]}"
        run.progress(note="exporting")
        written = export_policy(source, self.cfg.format, self.cfg.observations, target)
        print("\n".join(summary(written, plain, str(config.policy))))
        files = [written.policy, metadata_of(written.policy), *([written.runner] if written.runner else [])]
        check = written.description.check
        assert check is not None
        headline, result = {"largest_difference": check.largest_difference}, {"check": asdict(check)}
        run.check_stop(0, lambda: None)
        if self.cfg.check_steps > 0:
            run.progress(note="closed loop")
            loop = check_in_closed_loop(source, written.policy, self.cfg.check_steps, config.seed)
            files.append(loop.write(written.policy))
            joint, gap = loop.worst
            if not loop.agrees:
                raise CheckpointError(
                    f"{written.policy} was run in closed loop, and differs from {checkpoint} by {gap:.1e} at {joint}, "
                    f"more than {loop.tolerance:g}. See {files[-1].name} beside it."
                )
            print(f"  closed loop of {loop.steps:,} steps: largest difference {gap:.1e}, of {joint}")
            headline = {"closed_loop_difference": gap, "falls": float(loop.falls)}
            result |= {"closed_loop": asdict(loop)}
        for path in files:
            run.artifact(path, "policy")
        names = [str(path.relative_to(run.dir)) for path in files]
        run.finish(headline, {"files": names, "observations": self.cfg.observations, **result})
