"""`Video`: frames and fps in memory, saving and display; `Stream`: a video being generated.

Here: the types that every verb returns. Not here: reading and writing files (read.py, write.py).
"""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from minisora.outside import as_path
from minisora.video.frames import fit
from minisora.video.pixels import Background
from minisora.video.read import read_frames
from minisora.video.sheet import as_tile, evenly, laid_out, tiled
from minisora.video.sound import Sound, has_sound, mixed
from minisora.video.write import check_writable, write_picture, write_stream, write_video

MOST_TILES = 48  # of a contact sheet
_SHOWN_HEIGHT = 256  # pixels: a notebook shows smaller videos enlarged to about this


@dataclass(frozen=True)
class Source:
    """File that frames were read from, and its SHA-256 then."""

    path: Path
    sha256: str


@dataclass(frozen=True, eq=False)
class Video:
    """A video in memory.

    frames:  (T, H, W, 3) uint8 RGB
    fps:     frames per second
    sound:   of files, each from its second on; `save` writes it if the format can hold sound
    source:  the file of exactly these frames, if known
    request: that generated them, as JSON (generate/saved.py); `save` writes it into the file
    """

    frames: Tensor
    fps: float
    sound: tuple[Sound, ...] = ()
    source: Source | None = None
    request: str = ""

    def __post_init__(self) -> None:
        assert self.frames.dtype == torch.uint8 and self.frames.ndim == 4, (self.frames.dtype, self.frames.shape)
        assert self.frames.shape[-1] == 3 and len(self.frames) and self.fps > 0, (self.frames.shape, self.fps)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a whole file. Raises UsageError when it cannot be decoded."""
        return cls(*read_frames(path), _sound_of(as_path(path)))

    @property
    def height(self) -> int:
        return int(self.frames.shape[1])

    @property
    def width(self) -> int:
        return int(self.frames.shape[2])

    @property
    def seconds(self) -> float:
        """Duration; the last frame is shown as long as the others."""
        return len(self.frames) / self.fps

    def save(self, path: str | Path, *, zoom: int = 1, crf: int = 17, keep: bool = False) -> list[str]:
        """Write a file, format by suffix; arguments, result and errors as in `write_video`."""
        mix, notes = mixed(self.sound, self.seconds, Path(path))
        written = write_video(
            path,
            self.frames,
            fps=self.fps,
            zoom=zoom,
            crf=crf,
            comment=self.request,
            mix=mix,
            keep=keep,
        )
        return written + notes

    def read(self, *, size: tuple[int, int] | None = None, fps: float | None = None) -> tuple[Tensor, float]:
        """Frames fitted to a size and resampled; and their fps.

        size: (height, width); None: their own
        fps:  frames per second; None: their own
        """
        at_rate = self if fps is None else self.at_rate(fps)
        return fit(at_rate.frames, *(size or (self.height, self.width)))[0], at_rate.fps

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on how it was read; there are none on frames in memory."""
        return ()

    def pieces(self) -> Iterator[Tensor]:
        """Yield all frames: (n, H, W, 3) uint8."""
        yield self.frames

    def of(self, source: Source) -> Self:
        """Copy with the file that it was read from."""
        return replace(self, source=source)

    def heard(self, source: Video, at: float = 0.0) -> Self:
        """Copy with the sound of another video, whose frames it keeps from `at` seconds on."""
        return replace(self, sound=(*self.sound, *(replace(one, at=one.at + at) for one in source.sound)))

    def reversed(self) -> Self:
        """Copy in reverse order, with its sound reversed too."""
        sound = tuple(one.reversed(self.seconds) for one in self.sound)
        return replace(self, frames=self.frames.flip(0), sound=sound, source=None, request="")

    def at_rate(self, fps: float) -> Self:
        """Resample to the frames shown at 0, 1/fps, ..., as in `read_frames`; the sound stays."""
        if fps == self.fps:
            return self
        slack = min(1 / self.fps, 1 / fps) / 4
        moments = torch.arange(math.ceil((self.seconds - slack) * fps - 1e-9), dtype=torch.float64) / fps
        shown = ((moments + slack) * self.fps + 1e-9).long().clamp(max=len(self.frames) - 1)
        return replace(self, frames=self.frames[shown], fps=fps, source=None, request="")

    def contact_sheet(self, path: str | Path | None = None, *, columns: int = 6, most: int = MOST_TILES) -> Image.Image:
        """Lay out frames on one picture, numbered; written to `path` (a .png) if given.

        most:    frames to show; evenly spaced if the video has more

        Raises UsageError if the file cannot be written.
        """
        return _kept(tiled(self.frames, self.fps, columns=columns, most=most), path)

    def __repr__(self) -> str:
        count, height, width, _ = self.frames.shape
        return f"Video({count} frames of {height}x{width} at {self.fps:g} fps, {self.seconds:.2f} s)"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Display in a notebook: one frame as a picture, several as a player."""
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _repr_html_(self) -> str:
        zoom = max(1, _SHOWN_HEIGHT // self.frames.shape[1])
        suffix = ".png" if len(self.frames) == 1 else ".mp4"
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder) / f"shown{suffix}", zoom=zoom)
            data = base64.b64encode((Path(folder) / f"shown{suffix}").read_bytes()).decode()
        if suffix == ".png":
            return f'<img src="data:image/png;base64,{data}" alt="{escape(repr(self))}">'
        return f'<video controls autoplay loop muted playsinline src="data:video/mp4;base64,{data}"></video>'


@dataclass(eq=False)
class Stream:
    """A video still being generated: pieces of frames are written to a file as they come.

    pieces:     (n, H, W, 3) uint8 RGB each
    num_frames: in all
    sound, request: as in Video
    made:       frames generated so far
    some:       at most MOST_TILES of these, by number, no larger than a tile
    """

    pieces: Iterator[Tensor]
    num_frames: int
    height: int
    width: int
    fps: float
    sound: tuple[Sound, ...] = ()
    request: str = ""
    made: int = 0
    some: dict[int, Tensor] = field(default_factory=dict)

    def save(self, path: str | Path, *, zoom: int = 1, crf: int = 17, keep: bool = True) -> list[str]:
        """Write a file; arguments, result and errors as in `write_video`.

        The place is checked first; if it fails afterwards, `keep` keeps the video elsewhere. Ctrl-C
        keeps the frames so far as a whole file: then `made` is less than `num_frames`.
        Before the first piece it leaves no file, and raises KeyboardInterrupt.
        """
        check_writable(path, num_frames=self.num_frames)
        mix, notes = mixed(self.sound, self.num_frames / self.fps, Path(path))
        written = write_stream(
            path,
            self._until_interrupted(),
            fps=self.fps,
            zoom=zoom,
            crf=crf,
            comment=self.request,
            mix=mix,
            keep=keep,
        )
        return written + notes

    def contact_sheet(self, path: str | Path | None = None, *, columns: int = 6) -> Image.Image:
        """Contact sheet of the frames so far; see `Video.contact_sheet`."""
        return _kept(laid_out(torch.stack(list(self.some.values())), list(self.some), self.fps, columns=columns), path)

    def _until_interrupted(self) -> Iterator[Tensor]:
        try:
            chosen = set(evenly(self.num_frames, MOST_TILES))
            for piece in self.pieces:
                for n in range(len(piece)):
                    if self.made + n in chosen:
                        self.some[self.made + n] = as_tile(piece[n])
                self.made += len(piece)
                yield piece
        except KeyboardInterrupt:
            if not self.made:
                raise


def _kept(sheet: Image.Image, path: str | Path | None) -> Image.Image:
    if path is not None:
        write_picture(path, sheet)
    return sheet


def read_video(path: str | Path, *, fps: float | None = None, background: Background = "white") -> Video:
    """Read a whole file; arguments and errors as in `read_frames`."""
    return Video(*read_frames(path, fps=fps, background=background), _sound_of(as_path(path)))


def _sound_of(path: Path) -> tuple[Sound, ...]:
    return (Sound(path),) if has_sound(path) else ()
