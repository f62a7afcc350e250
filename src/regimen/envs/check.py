"""The conformance checker: every rule of the `VecEnv` contract, tried on a real environment.

`regimen check-env task=<name>` prints one line per rule; `require_env` is the same for a test.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from regimen.envs.probe import MakeEnv, Probe
from regimen.envs.rules import RULES
from regimen.errors import EnvContractError, RegimenError


@dataclass
class RuleResult:
    """How one rule ended.

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


def check_env(make_env: MakeEnv, num_envs: int = 16, seed: int = 0) -> Iterator[RuleResult]:
    """Try every rule on environments made by `make_env`, one result at a time.

    Args:
        make_env: number of environments -> a new environment.
        num_envs: how many to step together.
        seed: seed of the environments and of the actions.
    """
    probe = Probe(make_env, num_envs, seed)
    for name, rule in RULES.items():
        try:
            yield RuleResult(name, True, rule(probe))
        except RegimenError as error:
            yield RuleResult(name, False, str(error))
        except Exception as error:  # a crash of the environment is a broken rule, with its place
            place = traceback.extract_tb(error.__traceback__)[-1]
            yield RuleResult(name, False, f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")


def require_env(make_env: MakeEnv, num_envs: int = 16, seed: int = 0) -> None:
    """Raise unless the environment keeps every rule: the checker for a test.

    Raises:
        EnvContractError: one line per broken rule.
    """
    broken = [str(result) for result in check_env(make_env, num_envs, seed) if not result.ok]
    if broken:
        raise EnvContractError("The environment breaks its contract:\n  " + "\n  ".join(broken))
