"""Datasets of episodes in HDF5."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.data.episodes.batches import Sequences
    from regimen.data.episodes.reader import EpisodeFile
    from regimen.data.episodes.splits import split

__all__ = ["EpisodeFile", "Sequences", "split"]
__getattr__ = lazy_exports(
    __name__,
    {
        "EpisodeFile": "regimen.data.episodes.reader",
        "Sequences": "regimen.data.episodes.batches",
        "split": "regimen.data.episodes.splits",
    },
)
