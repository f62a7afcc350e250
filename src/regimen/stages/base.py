"""The contract of a stage: what a run does, and what the launcher reads of it before the start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


class Stage(Protocol):
    """What a run does: `train`, `evaluate`, or a class of your own, named by `_target_` in `conf/stage/<name>.yaml`.

    The dataclass `XCfg` in the module of the stage `X` types its settings. The launcher reads it without importing the
    module, so its fields are plain; it may also define:

    | name | meaning | without it |
    |---|---|---|
    | `TAKES: ClassVar[tuple[str, ...]]` | inputs it reads: `policy`, `estimator`, `encoder`, `data`, … | all |
    | `NEEDS: ClassVar[str]` | method of the agent that the stage calls, such as `learn` | none |
    | `LOADS_POLICY: ClassVar[bool]` | whether `policy` is a checkpoint or an exported policy, checked first | no |
    | `DEMONSTRATORS: ClassVar[tuple[str, ...]]` | words that may stand for a policy, such as `scripted` | none |
    | `DISTRIBUTED: ClassVar[bool]` | whether several workers may run the stage together | no |
    | `problems(config)` | lines that say what is wrong with the settings on the run's plain configuration | nothing |
    | `num_envs(config)` | number of environments that the stage opens | `env.num_envs` |
    | `memory_bytes(num_envs, observation, action)` | bytes beside the environments; widths of the vectors | 0 |
    """

    def __init__(self, cfg: Any) -> None:
        """Keep the settings, an instance of the dataclass."""
        ...

    def __call__(self, run: Run, config: Config) -> None:
        """Do the work, and declare it done with `run.finish(headline, result)`: a run without that call has failed.

        Call `run.check_stop(step, save)` often enough that a signal can stop the work, and `run.progress(...)` to show
        how far it is.

        Args:
            run: directory, metrics and artifacts of the run.
            config: its frozen configuration.
        """
        ...
