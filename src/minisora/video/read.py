"""Files -> frames, for any video or picture that FFmpeg or Pillow reads.

Display metadata is applied: display matrix and EXIF rotation, pixel aspect, colour matrix and range,
the time of each frame. Transparent pixels are blended with a plain background. Another fps is
sampled by time: each frame of the result is the source's frame shown at its time.

Here: probing, decoding, resampling in time.
Not here: resizing (frames.py), writing (write.py), the type `Video` (clip.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from minisora.errors import UsageError
from minisora.outside import as_path
from minisora.video.files import ffmpeg_name
from minisora.video.pixels import Background, Pixels, display_size, frame_pixels, picture_pixels

_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg renders text files as videos: refused
_MOST_BYTES = 8 << 30  # of pixels in one whole file
_SEEK_FROM_SECONDS = 2.0  # nearer starts are reached by decoding from the first frame


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Properties of a video file as displayed: height and width are those after rotation."""

    seconds: float
    fps: float  # on average, where the rate varies
    height: int
    width: int
    num_frames: int | None  # None if the file does not say
    has_audio: bool
    codec: str
    pixel_format: str


@dataclass(frozen=True)
class _Shown:
    """One frame and its display time, in seconds after the first; pixels on demand."""

    seconds: float
    duration: float
    rate: float  # frames per second of the file, on average
    pixels: Callable[[], Pixels]


def probe(path: str | Path) -> Probe:
    """Read the properties of a video file; its first frame is decoded.

    Raises UsageError if the file is missing, holds no video or cannot be decoded.
    """
    path = as_path(path)
    with _decodable(path):
        if _is_webp(path):
            shown = list(_decode_webp(path, "white"))
            height, width, _ = shown[0].pixels().shape
            seconds = shown[-1].seconds + shown[-1].duration
            return Probe(
                seconds=seconds,
                fps=shown[0].rate,
                height=height,
                width=width,
                num_frames=len(shown),
                has_audio=False,
                codec="webp",
                pixel_format="rgba",
            )
        with _open(path) as (container, stream):
            first = next(_decode_stream(path, container, stream, 0.0, "white"), None)
            if first is None:
                raise UsageError(f"{path} holds no frame: it is damaged or cut short. Try another copy.")
            height, width, _ = first.pixels().shape
            return Probe(
                seconds=_seconds(container, stream),
                fps=first.rate,
                height=height,
                width=width,
                num_frames=stream.frames or None,
                has_audio=bool(container.streams.audio),
                codec=stream.codec_context.name,
                pixel_format=stream.codec_context.pix_fmt or "unknown",
            )


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
    with closing(_decode(path, start, background)) as shown:
        frames = list(islice(_resampled(shown, start, fps), num_frames))
    if len(frames) < num_frames:
        raise UsageError(
            f"{path} ends too early: {num_frames} frames at {fps:g} fps from {start:g} s need "
            f"{start + num_frames / fps:g} s of video, and it holds {len(frames)} of them. "
            "Start earlier or ask for fewer."
        )
    return torch.from_numpy(np.stack(frames))


def read_frames(
    path: str | Path, *, fps: float | None = None, background: Background = "white"
) -> tuple[Tensor, float]:
    """Decode a whole file.

    fps:     of the result. None keeps every frame of a file of constant fps; one of variable fps is
             resampled at its commonest interval
    returns  (T, H, W, 3) uint8 RGB and the frames per second

    Raises UsageError when the file cannot be decoded.
    """
    path = as_path(path)
    if fps is not None:
        if not (fps > 0 and math.isfinite(fps)):
            raise UsageError(f"fps={fps:g} is no rate. Give a positive number.")
        with closing(_decode(path, 0.0, background)) as shown:
            return _stacked(path, _resampled(shown, 0.0, fps)), fps
    times: list[_Shown] = []

    def kept(shown: Iterator[_Shown]) -> Iterator[Pixels]:
        for frame in shown:
            pixels = frame.pixels()
            times.append(replace(frame, pixels=partial(np.asarray, pixels)))  # lets go of the decoder's own copy
            yield pixels

    with closing(_decode(path, 0.0, background)) as shown:
        frames = _stacked(path, kept(shown))
    seconds = [frame.seconds for frame in times]
    rate = _constant_rate(seconds, times[0].rate)
    if rate is None:
        rate = 1 / float(np.median([step for step in np.diff(seconds) if step > 0]))
        frames = _stacked(path, _resampled(iter(times), 0.0, rate))
    return frames, rate


def read_comment(path: str | Path) -> str:
    """Read the comment that `write_video` put into a file; empty if there is none.

    Raises UsageError if the file cannot be read.
    """
    path = as_path(path)
    with _decodable(path):
        if path.suffix.lower() == ".png":
            with Image.open(path) as picture:
                return str(getattr(picture, "text", {}).get("Comment", ""))
        with _open(path) as (container, _):
            tags = {name.lower(): value for name, value in container.metadata.items()}
            return tags.get("comment", "")


def read_image(path: str | Path, *, background: Background = "white") -> Tensor:
    """Decode one picture, with its EXIF rotation applied; of a moving one, the first frame.

    returns  (H, W, 3) uint8 RGB

    Raises UsageError when the file cannot be decoded.
    """
    path = as_path(path)
    with _decodable(path):
        try:
            with Image.open(path) as picture:
                picture.load()
                return torch.from_numpy(picture_pixels(ImageOps.exif_transpose(picture), background))
        except UnidentifiedImageError:
            with closing(_decode(path, 0.0, background)) as shown:
                return torch.from_numpy(next(shown).pixels())


def _decode(path: Path, start: float, background: Background) -> Generator[_Shown]:
    """Decode frames in display order, from the one shown at `start` on; at least one."""
    with _decodable(path):
        if _is_webp(path):
            yield from _decode_webp(path, background)
            return
        with _open(path) as (container, stream):
            none = True
            for shown in _decode_stream(path, container, stream, start, background):
                none = False
                yield shown
            if none:
                raise UsageError(f"{path} holds no frame: it is damaged or cut short. Try another copy.")


def _decode_stream(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    start: float,
    background: Background,
) -> Generator[_Shown]:
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    zero, size, last = None, None, 0.0
    frames = _decoded(container, stream)
    skipping, convert = start > _SEEK_FROM_SECONDS, VideoReformatter()
    try:
        while (frame := next(frames, None)) is not None:
            at = _moment(frame)
            if zero is None:
                zero = at or 0.0
            if skipping:
                skipping = False
                target = zero + start - 1 / rate
                try:
                    container.seek(int(target * av.time_base))  # to the keyframe before
                    frames = _decoded(container, stream)
                    frame = next(frames, None)
                except av.FFmpegError:
                    frame = None
                at = _moment(frame) if frame is not None else None
                if frame is None or at is None or at > target + 1 / rate:  # no index, or a wrong one
                    container.seek(stream.start_time or 0, stream=stream)
                    frames = _decoded(container, stream)
                    continue
            size = size or display_size(frame, stream)
            seconds = at - zero if at is not None else last
            duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / rate
            last = seconds + duration
            yield _Shown(seconds, duration, rate, partial(frame_pixels, frame, size, background, convert))
    except av.FFmpegError as error:
        raise UsageError(
            f"{path} is damaged: decoding stopped {last:.2f} s after its first frame ({error.strerror}). "
            "Use a shorter stretch of it, or another copy."
        ) from error
    expected = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if container.format.name.startswith("mov") and last < expected - max(0.5, 0.1 * expected):
        raise UsageError(f"{path} is cut short: it ends after {last:.2f} s, and should last {expected:.2f} s.")


def _moment(frame: av.VideoFrame) -> float | None:
    """Time stamp in seconds, or None if the frame has none."""
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


def _decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    alpha = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1"
    transparent = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name) if alpha else None
    if transparent is None:
        yield from container.decode(stream)
        return
    decoder = cast(av.VideoCodecContext, av.CodecContext.create(transparent, "r"))  # FFmpeg's own drops the alpha
    for packet in container.demux(stream):
        yield from decoder.decode(packet if packet.size else None)


def _decode_webp(path: Path, background: Background) -> Generator[_Shown]:
    """Decode animated WebP, which FFmpeg does not."""
    with Image.open(path) as picture:
        count, at = getattr(picture, "n_frames", 1), 0.0
        lengths = []
        for i in range(count):
            picture.seek(i)
            picture.load()
            lengths.append(picture.info.get("duration", 0) / 1000 or 0.1)
        rate = count / sum(lengths)
        for i, length in enumerate(lengths):
            picture.seek(i)
            pixels = picture_pixels(picture, background)
            yield _Shown(at, length, rate, partial(np.asarray, pixels))
            at += length


def _stacked(path: Path, frames: Iterator[Pixels]) -> Tensor:
    """Stack frames of one size to (T, H, W, 3). Raises UsageError above _MOST_BYTES."""
    held: list[Pixels] = []
    for pixels in frames:
        held.append(pixels)
        if len(held) * pixels.nbytes > _MOST_BYTES:  # a damaged time stamp may also ask for hours of one frame
            raise UsageError(
                f"{path} is too long to be read whole: its frames take more than {_MOST_BYTES >> 30} GiB of memory. "
                "Read a stretch of it, or cut it first."
            )
    return torch.from_numpy(np.stack(held))


def _constant_rate(seconds: list[float], stated: float) -> float | None:
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


def _resampled(shown: Iterator[_Shown], start: float, fps: float) -> Iterator[Pixels]:
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
    assert held is not None
    pixels = held.pixels()
    while start + count / fps < held.seconds + held.duration - slack:
        yield pixels
        count += 1


def _is_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def _seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration:
        return container.duration / av.time_base
    container.seek(stream.start_time or 0, stream=stream)
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for packet in container.demux(stream)
        if packet.pts is not None
    ]
    return max(ends, default=0.0)


@contextmanager
def _open(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a container and its first video stream that is not the cover picture of a sound file."""
    options = {"protocol_whitelist": "file"}  # a playlist must not make us open addresses
    with av.open(ffmpeg_name(path), options=options, metadata_errors="replace") as container:
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams or container.format.name in _TEXT_ART:
            kinds = ", ".join(sorted({s.type for s in container.streams})) if not streams else "text"
            raise UsageError(f"{path} holds no video (only {kinds or 'an empty container'}). Give a video file.")
        yield container, streams[0]


@contextmanager
def _decodable(path: Path) -> Iterator[None]:
    """Context manager: turn errors of decoders into UsageError."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name one file in it.")
    if not path.exists():
        raise UsageError(f"there is no file {path}. Check the name.")
    if path.is_file() and path.stat().st_size == 0:
        raise UsageError(f"{path} is empty (0 bytes). Try another copy.")
    try:
        yield
    except PermissionError as error:
        raise UsageError(f"{path} may not be read: permission denied.") from error
    except Image.DecompressionBombError as error:
        raise UsageError(f"{path} is too large a picture: {error}.") from error
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UsageError(
            f"{path} cannot be decoded: {reason}. It is damaged, cut short, or no video or picture. Try another copy."
        ) from error


# exceptions of av and Pillow on damaged input
_DAMAGE: tuple[type[Any], ...] = (av.FFmpegError, OSError, ValueError, EOFError, SyntaxError, IndexError, MemoryError)
