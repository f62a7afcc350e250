"""The conformance checker: every rule of the `VecEnv` contract, tried on a real environment.

`regimen check-env task=<name>` prints one line per rule; `require_env` is the same for a test.
"""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regimen.display.text_tables import print_tables
from regimen.envs import open_env
from regimen.envs.conformance.rollouts import MakeEnv, Probe
from regimen.envs.conformance.rules import RULES
from regimen.envs.term_tables import term_tables
from regimen.system.errors import EnvContractError, RegimenError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv


@dataclass
class RuleResult:
    """Result of one rule.

    Attributes:
        rule: its name.
        ok: whether the environment keeps it.
        seen: what was observed.
    """

    rule: str
    ok: bool
    seen: str

    def __str__(self) -> str:
        return f"{'ok    ' if self.ok else 'FAILED'}  {self.rule:<18} {self.seen}"


def check_env(
    make_env: MakeEnv,
    num_envs: int = 16,
    seed: int = 0,
    command: str | None = None,
    grid: list[list[float]] | None = None,
    declared: str | None = None,
) -> Iterator[RuleResult]:
    """Try every rule on environments made by `make_env`, one result at a time.

    Args:
        make_env: number of environments -> a new environment.
        num_envs: how many to step together.
        seed: seed of the environments and of the actions.
        command: name of the command that `stage=evaluate` holds; without one that rule has nothing to try.
        grid: values of the command.
        declared: determinism class of the simulator, see `regimen.config.determinism`; None: `bit`.
    """
    probe = Probe(make_env, num_envs, seed, command, grid or [], declared or "bit")
    told: dict[str, str] = {}  # message -> the rule that has it: an env that does not open breaks all with the same
    for name in RULES:
        result = _tried(name, probe)
        first = name if result.ok else told.setdefault(result.seen, name)
        yield result if first == name else RuleResult(name, False, f"as `{first}`")


def check_rule(name: str, make_env: MakeEnv, num_envs: int = 16, seed: int = 0) -> RuleResult:
    """Try one rule. Arguments as for `check_env`.

    Args:
        name: of the rule.
        make_env: number of environments -> a new environment.
        num_envs: how many to step together.
        seed: seed of the environments and of the actions.
    """
    return _tried(name, Probe(make_env, num_envs, seed, None, []))


def _tried(name: str, probe: Probe) -> RuleResult:
    """Return the result of a rule; an exception is a broken rule."""
    try:
        return RuleResult(name, True, RULES[name](probe))
    except RegimenError as error:
        return RuleResult(name, False, str(error))
    except Exception as error:  # a crash of the environment is a broken rule, with its place
        place = traceback.extract_tb(error.__traceback__)[-1]
        return RuleResult(name, False, f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")


def require_env(
    make_env: MakeEnv,
    num_envs: int = 16,
    seed: int = 0,
    command: str | None = None,
    grid: list[list[float]] | None = None,
    declared: str | None = None,
) -> None:
    """Raise unless the environment keeps every rule: the checker for a test. Arguments as for `check_env`.

    Raises:
        EnvContractError: one line per broken rule.
    """
    broken = [str(result) for result in check_env(make_env, num_envs, seed, command, grid, declared) if not result.ok]
    if broken:
        raise EnvContractError("The environment breaks its contract:\n  " + "\n  ".join(broken))


def describe(config: Config) -> None:
    """Print the step time, the episode length and the active terms of the configured task, opened with one env."""
    env = factory(config)(1)
    try:
        seconds = env.max_episode_length * env.step_dt
        print(f"step {env.step_dt * 1e3:g} ms, episodes of {env.max_episode_length} steps ({seconds:g} s)\n")
        print_tables(term_tables(config.env, env.io))
    finally:
        env.close()


def factory(config: Config) -> MakeEnv:
    """Return what opens the configured environment in any size."""

    def make(num_envs: int) -> VecEnv:
        sized = copy.deepcopy(config)
        sized.env.num_envs = num_envs
        return open_env(sized)

    return make
