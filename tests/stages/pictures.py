"""Whether a picture or a film that a stage wrote shows something."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def is_drawn(path: Path) -> bool:
    """Return whether a picture has lines or text: pixels much darker than its background."""
    with Image.open(path) as image:
        low, high = image.convert("L").getextrema()
    return bool(low < 100 < high)


def frames(path: Path) -> int:
    """Return how many frames a film has."""
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(container.streams.video[0]))
