"""A ring of the agent's past transitions, which keep the discriminator fit for earlier policies."""

from __future__ import annotations

import torch


class ReplayRing:
    """The last `size` rows.

    Attributes:
        rows: (size, d); those beyond `count` are empty.
        count: rows that are filled.
        next: index that the next row is written to.
    """

    def __init__(self, size: int, width: int, device: torch.device | str) -> None:
        """Begin empty.

        Args:
            size: number of rows.
            width: d.
            device: of the rows.
        """
        self.rows = torch.zeros(size, width, device=device)
        self.count = self.next = 0

    def add(self, rows: torch.Tensor) -> None:
        """Write rows (n, d) over the oldest ones; of more than `size`, the last."""
        size = len(self.rows)
        rows = rows[-size:]
        places = (self.next + torch.arange(len(rows), device=rows.device)) % size
        self.rows[places] = rows
        self.next = (self.next + len(rows)) % size
        self.count = min(size, self.count + len(rows))

    @property
    def is_full(self) -> bool:
        """Whether every row is filled."""
        return self.count == len(self.rows)

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Return n rows (n, d), drawn with replacement."""
        places = torch.randint(self.count, (n,), generator=generator, device=self.rows.device)
        return self.rows[places]
