"""A recurrent model of a user for rsl_rl, for tests of the export."""

from __future__ import annotations

from typing import Any

from rsl_rl.models import RNNModel


class OwnRecurrent(RNNModel):
    """It does something of its own after each step."""

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        return 0.5 * super().forward(*arguments, **keywords)
