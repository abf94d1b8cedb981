"""Frames: shapes, resizing, cropping, resampling in time, and the two scales of values.

Here: what counts as frames, resizing, cropping, nearest frames at another fps, uint8 0..255 <->
float -1..1, sizes as people write them and as suit a model. Not here: files (read.py, write.py).
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from minisora.errors import UsageError
from minisora.video.files import cannot_write


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Shape of a video: number of frames, size and fps."""

    num_frames: int
    height: int  # pixels
    width: int
    fps: float

    @property
    def seconds(self) -> float:
        """Time from the first frame to the last."""
        return (self.num_frames - 1) / self.fps


_PIECE_BYTES = 4 << 20  # of frames that are read at a time
_RUN_BYTES = 512 << 20  # of frames on the disk, to be read backwards


class Frames(Protocol):
    """(T, H, W, 3) uint8: a tensor, or frames that are read when they are sliced (recording.py).

    Masks over time are (T, H, W) bool.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, frames: slice, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Computed:
    """Frames that are computed when they are sliced. read: frames first..stop"""

    shape: tuple[int, ...]
    read: Callable[[int, int], Tensor]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: slice, /) -> Tensor:
        first, stop, step = frames.indices(len(self))
        assert step == 1, step
        return self.read(first, stop)


def derived(frames: Frames, size: tuple[int, int], change: Callable[[Tensor], Tensor]) -> Frames:
    """Change frames, each by itself: a tensor now, others when they are sliced.

    change: (n, H, W, 3) -> (n, *size, 3), or (n, H, W) -> (n, *size)
    """
    if isinstance(frames, Tensor):
        return change(frames)
    return Computed((len(frames), *size, *frames.shape[3:]), lambda first, stop: change(frames[first:stop]))


def padded(frames: Frames, more: int) -> Frames:
    """Repeat the last frame `more` times at the end."""
    count = len(frames)

    def read(first: int, stop: int) -> Tensor:
        some = frames[min(first, count - 1) : min(stop, count)]
        return torch.cat([some, some[-1:].expand(max(0, stop - first - len(some)), *some.shape[1:])])

    whole = Computed((count + more, *frames.shape[1:]), read)
    return whole[:] if isinstance(frames, Tensor) else whole


def blended(frames: Frames, times: int, count: int) -> Frames:
    """Frames at a multiple of the fps, blended linearly from those before and after.

    count: of the result, at most times * (T - 1) + 1
    """

    def read(first: int, stop: int) -> Tensor:
        at = torch.arange(first, stop) / times
        before = at.long().clamp(max=len(frames) - 2)
        some = frames[int(before[0]) : int(before[-1]) + 2].float()
        here = before - before[0]
        return torch.lerp(some[here], some[here + 1], (at - before).view(-1, 1, 1, 1)).round().to(torch.uint8)

    whole = Computed((count, *frames.shape[1:]), read)
    return whole[:] if isinstance(frames, Tensor) else whole


def single(frames: Frames, number: int) -> Frames:
    """One frame, as (1, H, W, 3)."""
    if isinstance(frames, Tensor):
        return frames[number : number + 1]
    return Computed((1, *frames.shape[1:]), lambda first, stop: frames[number + first : number + stop])


def in_pieces(frames: Frames) -> Iterator[Tensor]:
    """Yield frames a few at a time; a tensor as a whole."""
    if isinstance(frames, Tensor):
        yield frames
        return
    size = _at_once(frames)
    for first in range(0, len(frames), size):
        yield frames[first : first + size]


def backwards(frames: Frames) -> Iterator[Tensor]:
    """Yield frames from the last to the first, a few at a time.

    Decoding goes forwards only, so a run of frames at a time waits on the disk.

    Raises UsageError if the disk is full.
    """
    if isinstance(frames, Tensor):
        yield frames.flip(0)
        return
    size, shape = _at_once(frames), frames.shape[1:]
    each = math.prod(shape)
    run = max(size, _RUN_BYTES // each)
    for stop in range(len(frames), 0, -run):
        start = max(0, stop - run)
        with tempfile.TemporaryFile() as kept:
            try:
                for first in range(start, stop, size):
                    kept.write(frames[first : min(first + size, stop)].numpy().tobytes())
                kept.flush()
            except OSError as error:
                raise cannot_write(Path(tempfile.gettempdir()), error) from error
            for last in range(stop, start, -size):
                first = max(start, last - size)
                kept.seek((first - start) * each)
                read = torch.frombuffer(bytearray(kept.read((last - first) * each)), dtype=torch.uint8)
                yield read.reshape(last - first, *shape).flip(0)


def _at_once(frames: Frames) -> int:
    return max(1, _PIECE_BYTES // math.prod(frames.shape[1:]))


def to_float(frames: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert uint8 0..255 to float -1..1; any shape."""
    assert frames.dtype == torch.uint8, frames.dtype
    return frames.to(dtype) / 127.5 - 1


def to_uint8(frames: Tensor) -> Tensor:
    """Convert float -1..1 to uint8 0..255, rounded and clipped; any shape."""
    assert frames.is_floating_point(), frames.dtype
    return ((frames.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def at_fps(frames: Tensor, fps: float, wanted: float, num_frames: int) -> Tensor:
    """Resample to another fps by nearest frames; a clip that ends early repeats its last frame.

    frames:  (T, ...) at `fps` frames per second
    returns  (num_frames, ...) at `wanted` frames per second
    """
    moments = torch.arange(num_frames) / wanted
    return frames[(moments * fps).round().long().clamp(max=len(frames) - 1)]


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize by an antialiased bicubic filter, which widens with the reduction, as in Pillow.

    frames:  (..., H, W, C) uint8, or float of any range
    returns  (..., height, width, C) of the same type; floats may overshoot at sharp edges
    """
    *lead, source_height, source_width, channels = frames.shape
    if (source_height, source_width) == (height, width):
        return frames
    assert height > 0 and width > 0, (height, width)
    planes = frames.reshape(-1, source_height, source_width, channels).permute(0, 3, 1, 2)
    native = frames.dtype == torch.uint8 and frames.device.type == "cpu"  # other devices have no uint8 kernel
    planes = planes if native else planes.float()
    planes = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    if not native and frames.dtype == torch.uint8:
        planes = planes.round().clamp(0, 255)
    return planes.permute(0, 2, 3, 1).to(frames.dtype).reshape(*lead, height, width, channels).contiguous()


def fit(frames: Tensor, height: int, width: int) -> tuple[Tensor, str]:
    """Scale the frames to cover a size, then crop the middle.

    frames:  (..., H, W, C) uint8 or float
    returns  (..., height, width, C) and a line that describes the change; empty if there is none
    """
    source_height, source_width = frames.shape[-3:-1]
    if (source_height, source_width) == (height, width):
        return frames, ""
    scale = max(height / source_height, width / source_width)
    scaled_height, scaled_width = max(height, round(source_height * scale)), max(width, round(source_width * scale))
    top, left = (scaled_height - height) // 2, (scaled_width - width) // 2
    scaled = resize(frames, scaled_height, scaled_width)
    notes = []
    if (scaled_height, scaled_width) != (source_height, source_width):
        notes.append(f"scaled from {source_height}x{source_width} to {scaled_height}x{scaled_width} (rows x columns)")
    if top or left or (scaled_height, scaled_width) != (height, width):
        lost = 1 - height * width / (scaled_height * scaled_width)
        notes.append(f"cropped to the middle {height}x{width} ({lost:.0%} of the picture is cut away)")
    return scaled[..., top : top + height, left : left + width, :].contiguous(), ", ".join(notes)


def size_of(text: str) -> tuple[int, int] | None:
    """Parse "128x96", 128 wide and 96 high, to (height, width); None for other text."""
    match = re.fullmatch(r"(\d{1,9})[xX×](\d{1,9})", text.strip())
    if match is None or not all(int(side) for side in match.groups()):
        return None
    return int(match[2]), int(match[1])


def fit_size(source_height: int, source_width: int, *, area: int, multiple: int) -> tuple[int, int]:
    """Size of about `area` pixels with the aspect nearest to the source's.

    area:     pixels of one frame that the model was trained on
    multiple: both sides are multiples of this many pixels
    returns   (height, width)
    """
    if source_height <= 0 or source_width <= 0:
        raise UsageError(f"a frame of {source_height}x{source_width} pixels has no area. Give a positive size.")
    aspect = source_width / source_height
    ideal = math.sqrt(area / aspect)

    def misfit(height: int) -> tuple[float, int, int]:
        width = max(multiple, round(height * aspect / multiple) * multiple)
        return abs(math.log(width / height / aspect)) + abs(math.log(width * height / area)), height, width

    below = max(multiple, math.floor(ideal / multiple) * multiple)
    _, height, width = min(misfit(below), misfit(below + multiple))
    return height, width
