"""Datasets of learning histories."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.data.histories.reader import open_histories

__all__ = ["open_histories"]
__getattr__ = lazy_exports(__name__, {"open_histories": "regimen.data.histories.reader"})
