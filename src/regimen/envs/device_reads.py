"""Reads of a control step from the device of an environment: ids of the envs concerned, and checks for finite values.

On a CPU a read costs nothing, and each question is answered at once. On a GPU each read waits until the device has done
all that was started before it, and the device then waits for the host. There a control step has one read: it answers
which envs are done, which draw new commands and which have an event due, and it brings the checks for finite values
that were made since the last one. A value that is not finite is then reported in the same control step or in the next
one, by the message and the step number that a CPU reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from regimen.envs.finite import all_finite

if TYPE_CHECKING:
    from regimen.system.errors import DivergedError


def read_is_free(device: torch.device) -> bool:
    """Return whether the host reads a value of the device without a wait: true for the CPU alone."""
    return device.type == "cpu"


@dataclass
class _Check:
    """A check that waits for the next read.

    Attributes:
        values: that must be finite; kept until the read, for the message.
        sum: (), not finite where one of them may be so.
        error: returns the error.
    """

    values: torch.Tensor
    sum: torch.Tensor
    error: Callable[[], DivergedError]


class DeviceReads:
    """The reads of one environment.

    Attributes:
        immediate: whether each question is answered at once.
        restarts: how often the envs were set to another state; answers from before do not hold any more.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin without a check; `device` is that of the tensors."""
        self.immediate = read_is_free(device)
        self.restarts = 0
        self._checks: list[_Check] = []

    def require_finite(
        self, values: torch.Tensor, error: Callable[[], DivergedError], rows: torch.Tensor | None = None
    ) -> None:
        """Raise if values are not finite: at once, or at the next read.

        Args:
            values: (N, ...).
            error: returns the error; called where a value is not finite, with `values` as they are then.
            rows: (N,) bool, the rows that count; by default all.

        Raises:
            DivergedError: as `error` returns it.
        """
        if not values.is_floating_point():
            return
        if not self.immediate:
            counted = values if rows is None else values.masked_fill(~rows.view(-1, *[1] * (values.dim() - 1)), 0.0)
            self._checks.append(_Check(counted, counted.sum().float(), error))
        elif not all_finite(values) and (rows is None or not all_finite(values[rows])):
            raise error()

    def ids(self, *masks: torch.Tensor) -> list[torch.Tensor]:
        """Return the indices (n,) int64 where each mask (N,) bool is true, ascending; read all of them at once.

        Raises:
            DivergedError: of the first check since the last read that failed.
        """
        if self.immediate:
            return [mask.nonzero().squeeze(1) for mask in masks]
        counts = self._read([torch.stack(masks).sum(1)] if masks else [])
        return [torch.nonzero_static(mask, size=n).squeeze(1) for mask, n in zip(masks, counts, strict=True)]

    def raise_pending(self) -> None:
        """Read the checks that wait.

        Raises:
            DivergedError: of the first one that failed.
        """
        if self._checks:
            self._read([])

    def restart(self) -> None:
        """Drop the checks that wait: the envs are set to another state."""
        self.restarts += 1
        self._checks.clear()

    def _read(self, counts: Sequence[torch.Tensor]) -> list[int]:
        """Return counts [(k,)]; raise the error of the first check that failed."""
        checks, self._checks = self._checks, []
        spoilt = [~torch.stack([check.sum for check in checks]).isfinite()] if checks else []
        numbers: list[int] = torch.cat([*(mask.long() for mask in spoilt), *counts]).tolist()
        for check, bad in zip(checks, numbers, strict=False):
            if bad and not all_finite(check.values):
                raise check.error()
        return numbers[len(checks) :]

    def scalars(self, names: Sequence[str], values: torch.Tensor) -> dict[str, float]:
        """Return a log of `values` (k,) by name: numbers, or () tensors where a read would wait; see `StepInfo`."""
        if self.immediate:
            return dict(zip(names, values.tolist(), strict=True))
        tensors: dict[str, float] = dict(zip(names, values.unbind(), strict=True))  # type: ignore[arg-type]
        return tensors
