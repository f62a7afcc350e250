"""Check before the start of the events `randomize`: quantities, words, ranges, and whether the simulator can."""

from __future__ import annotations

from collections.abc import Iterator

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.envs.sims.quantities import DISTRIBUTIONS, OPERATIONS, QUANTITIES
from regimen.orchestration.preflight_report import PreflightContext
from regimen.system.errors import did_you_mean

WORDS = {"quantity": QUANTITIES, "operation": OPERATIONS, "distribution": DISTRIBUTIONS}


def check_randomization(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem for each unknown word, range without a logarithm, and simulator that cannot."""
    for name, event in (composed.plain["env"].get("events") or {}).items():
        if not isinstance(event, dict) or event.get("func") != "randomize":
            continue
        params, path = event.get("params") or {}, f"env.events.{name}.params"
        for key, words in WORDS.items():
            word = params.get(key)
            if word is not None and word not in words:
                yield Problem(f"{path}.{key}", f"`{path}.{key}={word}`: {did_you_mean(str(word), words)}")
        between = params.get("between")
        if params.get("distribution") == "log_uniform" and isinstance(between, list) and between and between[0] <= 0:
            yield Problem(f"{path}.between", f"`{path}.between={between}`: log_uniform needs values above 0.")
        if not getattr(composed.config.sim, "RANDOMIZES", False):
            what = f"sim={composed.choices['sim']} cannot change {params.get('quantity')} of single robots"
            yield Problem(f"env.events.{name}", f"{what}: choose sim=mujoco, or env.events.{name}=null.")
