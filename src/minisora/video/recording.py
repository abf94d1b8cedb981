"""Recordings: videos that stay in their file, read when they are needed.

A long clip does not fit into memory, and little of it is needed at a time: its ends, for a model
to see, and each frame once, to be written again. Frames are resampled in time and fitted while they
are decoded; short clips are decoded once and held, long ones again for each use.

Here: recordings and stretches of them. Not here: videos in memory (clip.py), decoding (decode.py).
"""

from __future__ import annotations

import gc
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minisora.errors import UsageError
from minisora.video.clip import Source
from minisora.video.decode import decode, scan
from minisora.video.frames import Frames, fit
from minisora.video.pixels import Pixels
from minisora.video.read import Probe, commonest_rate, constant_rate, probe, read_frames, resampled
from minisora.video.sound import Sound

_HELD_BYTES = 16 << 20  # of fitted frames: longer clips are read again for each use
_NEAR_BYTES = 4 << 20  # of frames just read, which may be asked for again; two at least, for blending


@dataclass(frozen=True, eq=False)
class Recording:
    """A video in a file, or a stretch of it.

    start, stop: seconds after the first frame of the file
    """

    source: Source
    about: Probe
    start: float
    stop: float

    @classmethod
    def open(cls, source: Source, start: float = 0.0, stop: float = math.inf) -> Recording:
        """Probe a file. Raises UsageError if it cannot be decoded, or ends before `start`."""
        about = probe(source.path)
        if start >= about.seconds:
            raise UsageError(f"{source.path} ends at {about.seconds:.2f} s, before {start:g} s. Start earlier.")
        return cls(source, about, start, min(stop, about.seconds) if stop < math.inf else math.inf)

    @property
    def height(self) -> int:
        return self.about.height

    @property
    def width(self) -> int:
        return self.about.width

    @property
    def fps(self) -> float:
        return self.about.fps

    @property
    def seconds(self) -> float:
        """Duration, as the file says."""
        return min(self.stop, self.about.seconds) - self.start

    @property
    def notes(self) -> tuple[str, ...]:
        return self.about.notes

    @property
    def sound(self) -> tuple[Sound, ...]:
        stop = None if self.stop == math.inf else self.stop
        return (Sound(self.source.path, start=self.start, stop=stop),) if self.about.has_audio else ()

    def read(self, *, size: tuple[int, int] | None = None, fps: float | None = None) -> tuple[Frames, float]:
        """Frames fitted to a size, and their fps.

        size: (height, width); None: that of the file
        fps:  as in `read_frames`

        Raises UsageError if the file cannot be decoded.
        """
        height, width = size or (self.height, self.width)
        each = None if (height, width) == (self.height, self.width) else partial(_fitted, height=height, width=width)
        if self.seconds * (fps or self.fps) * height * width * 3 <= _HELD_BYTES:
            return read_frames(self.source.path, fps=fps, start=self.start, stop=self.stop, each=each)
        times = scan(self.source.path)
        start, stop = self.start, min(self.stop, times.seconds)
        if fps is None:
            slack, lasts = 1 / self.fps / 4, np.diff(times.times, append=times.seconds)
            inside = times.times[(times.times + lasts > start + slack) & (times.times < stop - slack)]
            start = float(inside[0])  # of the frame that is shown there
            relative = (inside - start).tolist()
            fps = constant_rate(relative, self.fps) or commonest_rate(relative)
        slack = min(1 / self.fps, 1 / fps) / 4
        count = max(1, math.ceil((stop - start - slack) * fps - 1e-9))
        return FileFrames(self.source.path, start, fps, count, (height, width)), fps

    def pieces(self) -> Iterator[Tensor]:
        """Yield every frame of the stretch as it is in the file: (1, H, W, 3) uint8."""
        with closing(decode(self.source.path, self.start, "white")) as shown:
            for frame in shown:
                if frame.seconds >= self.stop:
                    return
                if frame.seconds + frame.duration > self.start:
                    yield torch.from_numpy(frame.pixels())[None]


def _fitted(pixels: Pixels, height: int, width: int) -> Pixels:
    frame: Pixels = fit(torch.from_numpy(pixels), height, width)[0].numpy()
    return frame


class FileFrames:
    """Frames of a recording, decoded when they are sliced. Reading on from the last is fast.

    start: seconds after the first frame of the file
    size:  (height, width)
    """

    def __init__(self, path: Path, start: float, fps: float, count: int, size: tuple[int, int]) -> None:
        self._path, self._start, self._fps, self._count, self._size = path, start, fps, count, size
        self._next, self._frames = 0, self._from(0)
        self._near: OrderedDict[int, Pixels] = OrderedDict()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._count, *self._size, 3

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, frames: slice, /) -> Tensor:
        first, stop, step = frames.indices(self._count)
        assert step == 1, step
        if not first < stop:
            return torch.empty(0, *self._size, 3, dtype=torch.uint8)
        return torch.from_numpy(np.stack([self._frame(n) for n in range(first, stop)]))

    def _frame(self, number: int) -> Pixels:
        if number in self._near:
            return self._near[number]
        if number != self._next:
            self._frames.close()
            gc.collect(1)  # PyAV's frames with side data are cycles, of megabytes each
            self._frames, self._next = self._from(number), number
        pixels = next(self._frames, None)
        if pixels is None:  # the packets promise a little more than can be decoded
            if not self._near:
                raise UsageError(f"{self._path} ends earlier than its packets say. Use a stretch of it.")
            pixels = next(reversed(self._near.values()))
        self._next += 1
        self._near[number] = pixels
        while len(self._near) > max(2, _NEAR_BYTES // pixels.nbytes):
            self._near.popitem(last=False)
        return pixels

    def _from(self, number: int) -> Generator[Pixels]:
        start = self._start + number / self._fps
        with closing(decode(self._path, start, "white")) as shown:
            small = (replace(frame, pixels=partial(self._changed, frame.pixels)) for frame in shown)
            yield from resampled(small, start, self._fps)

    def _changed(self, pixels: Callable[[], Pixels]) -> Pixels:
        return _fitted(pixels(), *self._size)
