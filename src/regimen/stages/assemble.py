"""The stage that makes one policy of several, without learning: what it leaves is used like any trained policy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


@dataclass
class AssembleCfg:
    """Put `policy` and `experts` together; the agent says how."""

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "experts", "estimator")
    NEEDS: ClassVar[str] = "assemble"
    _target_: str = "regimen.stages.assemble.Assemble"

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is missing, one line each."""
        needed = {"policy": "policy=<run reference>", "experts": "experts=[<run reference>,…]"}
        return [f"stage=assemble needs {text}." for key, text in needed.items() if not config.get(key)]

    def num_envs(self, config: dict[str, Any]) -> int:
        """Return 1: the environment only says what a policy is offered."""
        return 1


class Assemble:
    """Assembles one policy; see `AssembleCfg`."""

    def __init__(self, cfg: AssembleCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Write `checkpoints/last.pt`, loaded and tried for one step.

        Raises:
            ConfigError: if the agent cannot be assembled.
        """
        from regimen.agents.policy_file import load_bundle, load_policy
        from regimen.config.targets import resolve
        from regimen.envs import open_env
        from regimen.runs import checkpoint

        agent = resolve(config.agent._target_)
        if not hasattr(agent, "assemble"):
            raise ConfigError(f"agent={config.choices.get('agent')} has no `assemble`. Choose agent=switched_experts.")
        config.env.num_envs = 1
        env = open_env(config)
        parts = [load_bundle(path) for path in (config.policy, *config.experts)]
        policy = agent.assemble(parts[0], parts[1:], env.io)
        bundle = {"agent": asdict(config.agent), "io": env.io.to_dict(), "policy": policy, "samples": 0}
        load_policy(bundle, env, config.seed).act(env.reset(seed=config.seed), None)
        checkpoint.Checkpoints(run, interval=1).save(0, bundle)
        env.close()
        run.finish({"experts": float(len(config.experts))}, {"policies": [config.policy, *config.experts]})
