"""Stage `assemble`: combine several policies into one, without training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run


@dataclass
class AssembleCfg:
    """Combine `policy` and `experts` by the agent's `assemble`."""

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "experts", "estimator")
    NEEDS: ClassVar[str] = "assemble"
    LOADS_POLICY: ClassVar[bool] = True
    _target_: str = "regimen.stages.assemble.Assemble"

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the missing inputs, one line each."""
        needed = {"policy": "policy=<run reference>", "experts": "experts=[<run reference>,…]"}
        return [f"stage=assemble needs {text}." for key, text in needed.items() if not config.get(key)]

    def num_envs(self, config: PlainConfig) -> int:
        """Return 1: the env only gives names and sizes of observations and actions."""
        return 1


class Assemble:
    """Assemble one policy; see `AssembleCfg`."""

    def __init__(self, cfg: AssembleCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Write `checkpoints/last.pt`, after a test of the policy for one step.

        Raises:
            ConfigError: the agent has no `assemble`.
        """
        from regimen.agents.base import AssembledAgent
        from regimen.agents.policy_file import load_bundle, load_policy
        from regimen.config.targets import resolve
        from regimen.envs import open_env
        from regimen.runs import checkpoint

        agent = resolve(config.agent._target_)
        if not issubclass(agent, AssembledAgent):
            raise ConfigError(f"agent={config.choices.get('agent')} has no `assemble`. Choose agent=switched_experts.")
        config.env.num_envs = 1
        env = open_env(config)
        parts = [load_bundle(path) for path in (config.policy, *config.experts)]
        policy = agent.assemble(parts[0], parts[1:], env.io)
        bundle: PolicyBundle = {"agent": asdict(config.agent), "io": env.io.to_dict(), "policy": policy, "samples": 0}
        load_policy(bundle, env, config.seed).act(env.reset(seed=config.seed), None)
        checkpoint.Checkpoints(run, interval=1).save(0, bundle)
        env.close()
        run.finish({"experts": float(len(config.experts))}, {"policies": [config.policy, *config.experts]})
