"""A figure that an early checkpoint cannot have ends no evaluation alongside; one that no checkpoint has is refused."""

from __future__ import annotations

import pytest

from helpers.messages import raises_naming
from regimen.display.intervals import Figure
from regimen.runs.judgements import ALL, Judgement
from regimen.stages.alongside.companion import require_figure
from regimen.system.errors import ConfigError


def judged(*names: str) -> Judgement:
    return Judgement(10, "mujoco", "", {f"{ALL}/{name}": Figure(0.0, 0.0, 0.1) for name in names})


@pytest.mark.parametrize("metric", ["success_time_s", "terminated", "success", "timed_out"])
def test_a_checkpoint_without_a_success_may_lack_what_only_a_success_or_a_failure_has(metric: str) -> None:
    require_figure(judged("return", "survival", "success", "timed_out"), metric)


@pytest.mark.parametrize(
    ("measured", "metric", "near"),
    [
        (["return", "success"], "sucess", "success"),
        (["return", "success"], "success_time", "success_time_s"),
        (["return", "survival"], "success_time_s", "return"),
        (["return", "survival"], "terminated", "return"),
    ],
)
def test_a_figure_that_no_checkpoint_has_is_refused(measured: list[str], metric: str, near: str) -> None:
    with raises_naming(ConfigError, f"`{metric}`", near):
        require_figure(judged(*measured), metric)
