"""Configuration of `stage=in_context`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from regimen.agents.vintix.config import sixteen_bits
from regimen.envs.mass_randomization import MassRangeCfg

BASELINES = ("masked", "demonstrator", "random")


@dataclass
class InContextCfg:
    """Let `policy` live through several episodes from an empty context, and `experts` and baselines beside it.

    Attributes:
        episodes: episodes in a row in each environment.
        envs: environments, each with a context of its own; decides `env.num_envs`.
        baselines: shown beside it: `masked`, the same policy told a reward of 0 for whatever it does; `demonstrator`,
            the task's `optimal_action` where no expert is given that was trained otherwise; `random`.
        use_cache: whether keys and values of earlier steps are kept, instead of computed again at each step.
        use_fp16: whether the model computes with 16 bits, on CUDA or a processor that has bfloat16.
        mask_rewards: whether `policy` itself is told a reward of 0 for whatever it does.
        domain_randomization: masses of the robots, one for each environment, such as outside the range of training.
        bootstrap: resamples behind each 95 % interval.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "experts")
    _target_: str = "regimen.stages.in_context.InContext"
    episodes: int = 20
    envs: int = 64
    baselines: list[str] = field(default_factory=lambda: list(BASELINES))
    use_cache: bool = True
    use_fp16: bool = False
    mask_rewards: bool = False
    domain_randomization: MassRangeCfg = field(default_factory=MassRangeCfg)
    bootstrap: int = 2000

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with this stage on the run's plain `config`, one line each."""
        lines = [] if config.get("policy") else ["stage=in_context needs a policy: policy=<run of agent=vintix>."]
        if self.episodes < 2:
            lines.append(f"episodes={self.episodes}: expected 2 or more, so that there is something to learn from.")
        lines += [f"{n}={getattr(self, n)}: expected 1 or more." for n in ("envs", "bootstrap") if getattr(self, n) < 1]
        unknown = [name for name in self.baselines if name not in BASELINES]
        if unknown:
            lines.append(f"baselines={self.baselines}: expected some of {', '.join(BASELINES)}.")
        hardware = config["hardware"]
        if self.use_fp16 and hardware["scheduler"] != "slurm":
            lines += filter(None, [sixteen_bits(str(hardware["device"]))])
        return lines + self.domain_randomization.problems(config["env"])

    def num_envs(self, config: dict[str, Any]) -> int:
        """Return how many environments this stage opens, whatever the run's env.num_envs."""
        return self.envs
