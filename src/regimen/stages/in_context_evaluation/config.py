"""Configuration of `stage=in_context`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from regimen.agents.vintix.config import sixteen_bits
from regimen.envs.mass_randomization import MassRangeCfg

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

BASELINES = ("masked", "demonstrator", "random")


@dataclass
class InContextCfg:
    """Evaluate `policy` over several episodes from an empty context, beside `experts` and baselines.

    Attributes:
        episodes: consecutive episodes in each env.
        envs: number of envs, each with its own context; sets `env.num_envs`.
        baselines: `masked`: the same policy with all observed rewards set to 0; `demonstrator`: the task's
            `optimal_action`, if no demonstrator is among `experts`; `random`: uniform actions.
        use_cache: whether keys and values of earlier steps are cached instead of recomputed at each step.
        use_fp16: whether the model computes with 16 bits, on CUDA or a CPU with bfloat16.
        mask_rewards: whether all rewards that `policy` observes are set to 0.
        domain_randomization: masses of the robots, one value per env, such as outside the training range.
        bootstrap: resamples of each 95 % interval.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "experts")
    LOADS_POLICY: ClassVar[bool] = True
    _target_: str = "regimen.stages.in_context.InContext"
    episodes: int = 20
    envs: int = 64
    baselines: list[str] = field(default_factory=lambda: list(BASELINES))
    use_cache: bool = True
    use_fp16: bool = False
    mask_rewards: bool = False
    domain_randomization: MassRangeCfg = field(default_factory=MassRangeCfg)
    bootstrap: int = 2000

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        lines = [] if config.get("policy") else ["stage=in_context needs a policy: policy=<run of agent=vintix>."]
        if self.episodes < 2:
            lines.append(f"episodes={self.episodes}: expected 2 or more.")
        lines += [f"{n}={getattr(self, n)}: expected 1 or more." for n in ("envs", "bootstrap") if getattr(self, n) < 1]
        unknown = [name for name in self.baselines if name not in BASELINES]
        if unknown:
            lines.append(f"baselines={self.baselines}: expected some of {', '.join(BASELINES)}.")
        hardware = config["hardware"]
        if self.use_fp16 and hardware["scheduler"] != "slurm":
            lines += filter(None, [sixteen_bits(str(hardware["device"]))])
        return lines + self.domain_randomization.problems(config["env"])

    def num_envs(self, config: PlainConfig) -> int:
        """Return the number of envs that this stage opens, regardless of env.num_envs."""
        return self.envs
