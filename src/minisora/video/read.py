"""Files -> frames, for any video or picture that FFmpeg or Pillow reads.

Display metadata is applied: display matrix and EXIF rotation, pixel aspect, colour matrix and
range, the time of each frame. Transparent pixels are blended with a plain background. Another fps
is sampled by time: each frame of the result is the source's frame shown at its time.

Here: probing, frames in memory, resampling in time.
Not here: decoding (decode.py), frames that stay in their file (recording.py), resizing (frames.py),
writing (write.py), the type `Video` (clip.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from minisora.errors import UsageError
from minisora.outside import as_path
from minisora.video.decode import (
    Packets,
    Shown,
    decodable,
    decode,
    file_rate,
    is_joined,
    length_by_header,
    scan,
    still_pixels,
    stills,
)
from minisora.video.open import (
    Container,
    Refused,
    VideoStream,
    clock_may_jump,
    open_container,
    open_picture,
    open_video,
)
from minisora.video.pictures import in_hdr
from minisora.video.pixels import Background, Converter, Pixels, notes_on

_MOST_BYTES = 8 << 30  # of pixels in one whole file
_SCANNED_BYTES = 256 << 20  # of a file: smaller ones are read for their length, whatever their header says
Each = Callable[[Pixels], Pixels]  # applied to every frame as it is decoded: (H, W, 3) -> (h, w, 3)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Properties of a video file as displayed: height and width are those after rotation.

    notes: for the user, on what is read otherwise than the file means it
    """

    seconds: float
    fps: float  # on average, where the rate varies
    height: int
    width: int
    num_frames: int | None  # None if the file does not say
    has_audio: bool
    codec: str
    pixel_format: str
    notes: tuple[str, ...] = ()


def probe(path: str | Path) -> Probe:
    """Read the properties of a video file; its first frame is decoded.

    Raises UsageError if the file is missing, holds no video or cannot be decoded.
    """
    path = as_path(path)
    with decodable(path):
        if (shown := stills(path, "white")) is not None:
            return _probe_stills(list(shown), path)
        with open_video(path) as (container, stream):
            packets = Packets(container, stream)
            first = next(packets.frames(), None)
            if first is None:
                raise Refused("unreadable", f"{path} holds no frame: it is damaged or cut short. Try another copy.")
            height, width, _ = Converter(stream, first)(first).shape
            seconds, count = _length(path, container, stream)
            return Probe(
                seconds=seconds,
                fps=file_rate(stream),
                height=height,
                width=width,
                num_frames=count or None,
                has_audio=bool(container.streams.audio),
                codec=stream.codec_context.name,
                pixel_format=stream.codec_context.pix_fmt or "unknown",
                notes=notes_on(stream, first, interlaced=packets.interlaced),
            )


def _probe_stills(shown: Sequence[Shown], path: Path) -> Probe:
    height, width, _ = shown[0].pixels().shape
    return Probe(
        seconds=shown[-1].seconds + shown[-1].duration,
        fps=shown[0].rate,
        height=height,
        width=width,
        num_frames=len(shown),
        has_audio=False,
        codec=path.suffix.lower().removeprefix("."),
        pixel_format="rgba",
    )


def _length(path: Path, container: Container, stream: VideoStream) -> tuple[float, int]:
    """Seconds of a stream and its number of frames, 0 if unknown; by packets if no header tells."""
    seconds = length_by_header(container, stream)
    doubtful = path.stat().st_size <= _SCANNED_BYTES and not container.format.name.startswith("mov")
    if seconds and not (doubtful or clock_may_jump(container) or is_joined(path, container)):
        return seconds, stream.frames
    found = scan(path)
    return found.seconds, len(found.times)


def read_clip(
    path: str | Path, *, start: float, num_frames: int, fps: float, background: Background = "white"
) -> Tensor:
    """Decode one clip, resampled in time.

    start:      seconds after the first frame of the file
    fps:        frames per second of the result, whatever the file has
    background: colour under transparent pixels
    returns     (T, H, W, C) uint8 RGB in 0..255, with T = num_frames

    Raises UsageError when the file cannot be decoded or ends too early.
    """
    path = as_path(path)
    if not (start >= 0 and num_frames > 0 and fps > 0 and math.isfinite(start + fps)):
        raise UsageError(
            f"start={start:g}, num_frames={num_frames}, fps={fps:g} name no clip: "
            "start must be 0 or more, the other two positive."
        )
    with closing(decode(path, start, background)) as shown:
        frames = list(islice(resampled(shown, start, fps), num_frames))
    if len(frames) < num_frames:
        raise UsageError(
            f"{path} ends too early: {num_frames} frames at {fps:g} fps from {start:g} s need "
            f"{start + num_frames / fps:g} s of video, and it holds {len(frames)} of them. "
            "Start earlier or ask for fewer."
        )
    return torch.from_numpy(np.stack(frames))


def read_frames(
    path: str | Path,
    *,
    fps: float | None = None,
    start: float = 0.0,
    stop: float = math.inf,
    background: Background = "white",
    each: Each | None = None,
) -> tuple[Tensor, float]:
    """Decode a file, or a stretch of it.

    fps:         of the result. None keeps every frame of a file of constant fps; one of variable
                 fps is resampled at its commonest interval
    start, stop: seconds after the first frame of the file
    each:        applied to every frame as it is decoded
    returns      (T, H, W, 3) uint8 RGB and the frames per second

    Raises UsageError when the file cannot be decoded, or ends before `start`.
    """
    path = as_path(path)
    if fps is not None and not (fps > 0 and math.isfinite(fps)):
        raise UsageError(f"fps={fps:g} is no rate. Give a positive number.")
    with closing(decode(path, start, background)) as decoded:
        shown = _within(decoded, start, stop)
        if each is not None:
            shown = (replace(frame, pixels=partial(_changed, frame, each)) for frame in shown)
        if fps is not None:
            return _stacked(path, resampled(shown, start, fps), start), fps
        times: list[Shown] = []
        frames = _stacked(path, _kept(shown, times), start)
    seconds = [frame.seconds - times[0].seconds for frame in times]
    rate = constant_rate(seconds, times[0].rate)
    if rate is None:
        rate = commonest_rate(seconds)
        frames = _stacked(path, resampled(iter(times), times[0].seconds, rate), start)
    return frames, rate


def _changed(frame: Shown, each: Each) -> Pixels:
    return each(frame.pixels())


def _kept(shown: Iterator[Shown], times: list[Shown]) -> Iterator[Pixels]:
    """Pixels of frames, which are added to `times` without the decoder's own copy."""
    for frame in shown:
        pixels = frame.pixels()
        times.append(replace(frame, pixels=partial(np.asarray, pixels)))
        yield pixels


def _within(shown: Iterator[Shown], start: float, stop: float) -> Iterator[Shown]:
    """Frames that are shown between two moments; the last of them until `stop` at most."""
    for frame in shown:
        slack = 1 / frame.rate / 4
        if frame.seconds >= stop - slack:
            return
        if frame.seconds + frame.duration > start + slack:
            yield replace(frame, duration=min(frame.duration, stop - frame.seconds))


def read_comment(path: str | Path) -> str:
    """Read the comment that minisora put into a video or a picture; empty if there is none.

    Raises UsageError if the file cannot be read.
    """
    path = as_path(path)
    with decodable(path):
        if path.suffix.lower() in (".png", ".jpg", ".webp") and path.is_file():
            with Image.open(path) as picture:
                return _comment(picture)
        with open_container(path) as container:
            tags = {name.lower(): value for name, value in container.metadata.items()}
            return tags.get("comment", "")


def _comment(picture: Image.Image) -> str:
    """Comment of a PNG or a JPEG, description of a WebP."""
    found = getattr(picture, "text", {}).get("Comment") or picture.info.get("comment")
    found = found or picture.getexif().get(ExifTags.Base.ImageDescription, "")
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)


def read_image(path: str | Path, *, background: Background = "white") -> Tensor:
    """Decode one picture, with its EXIF rotation applied; of a moving one, the first frame.

    returns  (H, W, 3) uint8 RGB

    Raises UsageError when the file cannot be decoded.
    """
    path = as_path(path)
    with decodable(path):
        if (picture := open_picture(path)) is not None:
            with picture:
                if not in_hdr(picture):
                    return torch.from_numpy(still_pixels(picture, background))
        with closing(decode(path, 0.0, background)) as shown:
            return torch.from_numpy(next(shown).pixels())


def _stacked(path: Path, frames: Iterator[Pixels], start: float) -> Tensor:
    """Stack frames of one size: (T, H, W, 3). Raises UsageError for none and above _MOST_BYTES."""
    held: list[Pixels] = []
    for pixels in frames:
        held.append(pixels)
        if len(held) * pixels.nbytes > _MOST_BYTES:  # a damaged time stamp may also ask for hours of one frame
            raise UsageError(
                f"{path} is too long to be read whole: its frames take more than {_MOST_BYTES >> 30} GiB of memory. "
                "Read a stretch of it, or cut it first."
            )
    if not held:
        raise UsageError(f"{path} ends before {start:g} s. Start earlier.")
    return torch.from_numpy(np.stack(held))


def constant_rate(seconds: Sequence[float], stated: float) -> float | None:
    """Constant fps that matches every frame's time; None if the fps varies.

    seconds: display time of each frame
    stated:  fps in the file's header, preferred if it matches
    """
    if max(seconds) <= 0:
        return stated
    measured = (len(seconds) - 1) / max(seconds)
    whole = float(max(1, round(measured)))
    for rate, slack in (
        (stated, 0.002),  # Matroska rounds times to 1 ms
        (whole, 0.006),  # gif rounds them to 10 ms
        (stated, 0.25 / stated),
        (measured, 0.25 / measured),
    ):
        if all(abs(at - i / rate) < slack for i, at in enumerate(seconds)):
            return rate
    return None


def commonest_rate(seconds: Sequence[float]) -> float:
    """Frames per second of the commonest interval between frames."""
    return 1 / float(np.median([step for step in np.diff(seconds) if step > 0]))


def resampled(shown: Iterator[Shown], start: float, fps: float) -> Iterator[Pixels]:
    """Yield the frame shown at start, start + 1/fps, ... until the video ends.

    Tolerance: a quarter of a frame, as containers round times (Matroska to 1 ms).
    """
    held, count, slack = None, 0, 0.0
    for frame in shown:
        slack = min(1 / frame.rate, 1 / fps) / 4
        if held is not None and start + count / fps < frame.seconds - slack:
            pixels = held.pixels()
            while start + count / fps < frame.seconds - slack:
                yield pixels
                count += 1
        held = frame
    if held is None:
        return
    pixels = held.pixels()
    while start + count / fps < held.seconds + held.duration - slack:
        yield pixels
        count += 1
