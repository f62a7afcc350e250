"""Video files: MP4 (H.264), and small GIFs for a README."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


BAR = 40
"""Height of a caption in px."""


class VideoWriter:
    """Write an MP4 (H.264, yuv420p) frame by frame; the file appears under its name once it is complete.

    Attributes:
        path: the file.
        frames: number of frames written.
        encoded_bytes: size of the video so far; the encoder holds back a few frames.
    """

    def __init__(self, path: Path, fps: float = 25.0, key_frames: int | None = None) -> None:
        """Prepare to write; nothing is opened before the first frame.

        Args:
            path: the file.
            fps: frames a second.
            key_frames: frames from one that is stored whole to the next, few where single frames are read; None leaves
                it to the encoder.
        """
        self.path = Path(path)
        self.frames = self.encoded_bytes = 0
        self._part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self._rate = Fraction(fps).limit_denominator(1000)
        self._options = {"crf": "21", "preset": "veryfast"} | ({} if key_frames is None else {"g": str(key_frames)})
        self._container: Any = None
        self._stream: Any = None

    def add(self, frame: np.ndarray) -> None:
        """Append a picture (H, W, 3) uint8; an odd last row or column is left out, as H.264 demands."""
        import av

        height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
        if self._container is None:
            self._open(width, height)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
        packets = self._stream.encode(picture)
        self.encoded_bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)
        self.frames += 1

    def _open(self, width: int, height: int) -> None:
        import av

        self._container = av.open(str(self._part), "w", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=self._rate, options=self._options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"

    def close(self) -> None:
        """Complete the file; without a frame there is none. A second call does nothing."""
        if self._container is None:
            return
        self._container.mux(self._stream.encode())
        self._abandon()
        self._part.replace(self.path)

    def _abandon(self) -> None:
        self._container.close()
        self._container = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif self._container is not None:
            self._abandon()
            self._part.unlink(missing_ok=True)


def write_gif(frames: Sequence[np.ndarray], path: Path, fps: float = 12.5, width: int = 320, colors: int = 64) -> None:
    """Write an endless GIF with one palette for all frames.

    Args:
        frames: pictures (H, W, 3) uint8.
        path: the file.
        fps: frames a second; a GIF counts in hundredths of a second.
        width: of the GIF, px; the height follows.
        colors: size of the palette.
    """
    from PIL.Image import Dither

    if not frames:
        raise ValueError("a GIF needs at least one frame")
    pictures = [_scaled(frame, width) for frame in frames]
    palette = pictures[len(pictures) // 2].quantize(colors)
    indexed = [picture.quantize(palette=palette, dither=Dither.NONE) for picture in pictures]
    duration_ms = round(100 / fps) * 10
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=duration_ms, loop=0, optimize=True)


def _scaled(frame: np.ndarray, width: int) -> Image:
    from PIL import Image

    picture = Image.fromarray(frame)
    return picture.resize((width, round(frame.shape[0] * width / frame.shape[1])), Image.Resampling.LANCZOS)


def captioned(frame: np.ndarray, text: str, background: str = "white") -> np.ndarray:
    """Return `frame` (H, W, 3) with a line of text below, (H + BAR, W, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = frame.shape[:2]
    image = Image.new("RGB", (width, height + BAR), background)
    image.paste(Image.fromarray(frame), (0, 0))
    ImageDraw.Draw(image).text((8, height + 7), text, fill="black", font=ImageFont.load_default(size=21))
    return np.asarray(image)
