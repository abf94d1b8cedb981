"""One decode of a file: figures of every frame and of a few frames per second, for all scores.

Frames are streamed and only a row of numbers is kept of each, so memory hardly grows with the
length, and scoring another span needs no decoding.

Frames are read as every reader here has them: sRGB, progressive (video/pixels.py, video/fields.py).
Each is downscaled exactly like in PySceneDetect, so that the shots are the same (shots.py).
A few frames per second are sampled for further figures: rotated for display and averaged down to a
longer side of SIDE pixels, so that sharpness and motion are comparable between files of any size.

Here: opening, integrity, the figures. Not here: motion between frames (motion.py), cutting into
shots (shots.py), figures to scores (scores.py).
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import numpy.typing as npt

from minisora.curate.lost import MediaError, Reason
from minisora.curate.motion import MOTION_COLUMNS, Motion
from minisora.video.decode import Clock, Packets, check_end, length_by_header
from minisora.video.open import Container, Refused, clock_may_jump, open_picture, open_video
from minisora.video.pixels import Converter, Pixels, coding_of, display_size

Array = npt.NDArray[Any]
Watch = Callable[[int, float, Pixels], None]  # (number of the frame, seconds, BGR as shown), for sampled frames
Every = Callable[[Pixels], None]  # (BGR as small as PySceneDetect sees it), for every frame

SIDE = 256  # pixels of the longer side of what is looked at
BLACK = 25  # of 255: as dark as FFmpeg's blackdetect calls black, a tenth
CLIPPED = 250  # of 255
BAR = 24.0  # mean of a line of pixels that is part of a black bar at most, as in FFmpeg's cropdetect
_BLOCK = 8  # pixels: the least thing whose change is seen
_LEAST_SIDE = 32  # pixels of the shorter side: optical flow needs them
_BEYOND = 5.0  # seconds after the last span: a fade may go on for four
_MOST_PIXELS = 2**26  # of a frame: a damaged header may ask for any number

FRAME_COLUMNS = (
    *("seconds", "content", "luma", "contrast", "black", "clipped", "change", "peak_change"),
    *("damaged", "interlaced"),
)
SAMPLE_COLUMNS = ("frame", "sharpness", "top", "right", "bottom", "left", *MOTION_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Media:
    """Properties of a file as displayed: height and width after rotation, with square pixels."""

    seconds: float  # until the last frame is over
    fps: float  # as the file says; the mean is `len(signals) / seconds`
    height: int
    width: int
    rotation: int  # degrees counterclockwise, 0, 90, 180 or 270, which the file asks for
    codec: str
    pixel_format: str
    hdr: bool  # PQ or HLG
    colour: str  # primaries/transfer/matrix in words, as the file says
    num_videos: int  # streams of pictures
    num_sounds: int  # streams of sound
    size_bytes: int


@dataclass(frozen=True, eq=False)
class Signals:
    """The figures of T frames, and of the S sampled ones among them.

    frames:  column of FRAME_COLUMNS to (T,) float64, in display order
    samples: column of SAMPLE_COLUMNS to (S,) float64
    hashes:  (S,) uint64, perceptual

    seconds:     after the first frame
    content:     change since the frame before, 0..255, as PySceneDetect's ContentDetector scores it
    luma:        mean brightness, 0..255; contrast: its standard deviation
    black:       share of pixels of BLACK or less; clipped: of CLIPPED or more
    change:      mean change of brightness since the frame before, 0..255; peak_change: of the
        _BLOCK x _BLOCK pixels that changed most
    damaged:     1 if the decoder failed at or before this frame, or concealed an error; else 0
    interlaced:  1 if the file marks the frame as interlaced, else 0; figures are of it deinterlaced
    frame:       number of the sampled frame
    sharpness:   variance of the Laplacian of brightness
    top ... left: width of black bars, in shares of the displayed height or width
    MOTION_COLUMNS: motion since the sample before, as in motion.py
    """

    media: Media
    frames: dict[str, Array]
    samples: dict[str, Array]
    hashes: Array

    def __len__(self) -> int:
        return len(self.frames["seconds"])


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Settings for reading a file.

    until:    seconds after the first frame to read up to; black, frozen and faded frames need a
        little more
    pictures: accept files of one frame
    """

    samples_per_second: float = 4.0  # frames sampled for further figures
    flow_above: float = 0.0  # see motion.py
    until: float = math.inf
    threads: int = 1
    timeout_seconds: float | None = None
    pictures: bool = False


WHOLE = Reading()


def read_signals(
    path: Path, reading: Reading = WHOLE, *, watch: Watch | None = None, every: Every | None = None
) -> Signals:
    """Decode a file once.

    watch: called with each sampled frame in full size
    every: called with each frame, BGR, downscaled as in PySceneDetect

    Raises MediaError if the file has fewer than two frames, ends early or takes too long.
    """
    try:
        if reading.pictures and (picture := open_picture(path)) is not None:
            picture.close()  # what it refuses
        with open_video(path) as (container, stream):
            return _read(path, container, stream, reading, watch, every)
    except Refused as error:
        raise MediaError(cast("Reason", error.reason), str(error)) from error


def _read(
    path: Path,
    container: Container,
    stream: av.VideoStream,
    reading: Reading,
    watch: Watch | None,
    every: Every | None,
) -> Signals:
    stream.thread_type, stream.codec_context.thread_count = "AUTO", reading.threads
    stream.codec_context.options = {"flags2": "+export_mvs", "max_pixels": str(_MOST_PIXELS)}
    clock, packets = Clock(_fps(stream), clock_may_jump(container)), Packets(container, stream)
    measured = _Measured(stream, clock, reading, watch, every)
    first = _measure(path, packets, measured, reading)
    length = clock.end
    if clock.newest > reading.until + _BEYOND:
        length = max(length, length_by_header(container, stream))
    else:
        check_end(path, container, stream, clock.end, packets)
        if clock.newest <= 0 and not reading.pictures:
            raise MediaError("too_short", f"{path} holds one frame only: it is a picture.")
    return measured.signals(_media(path, container, stream, first, length))


def _measure(path: Path, packets: Packets, measured: _Measured, reading: Reading) -> av.VideoFrame:
    """Measure the frames up to `reading.until`; returns the first frame."""
    limit = reading.timeout_seconds
    deadline = None if limit is None else time.monotonic() + limit
    first: av.VideoFrame | None = None
    for frame in packets.frames(tolerant=True):
        if measured.last > reading.until + _BEYOND:
            break
        if deadline is not None and time.monotonic() > deadline:
            raise MediaError("timeout", f"{path} took more than {limit:g} s, for {measured.last:.1f} s of it.")
        first = first or frame
        if (frame.width, frame.height) != (first.width, first.height):  # PySceneDetect leaves them out too
            packets.failures += 1
        else:
            measured.add(frame, damaged=packets.failures > 0, interlaced=packets.interlaced)
            packets.failures = 0
    if first is None:
        raise MediaError("unreadable", f"{path} holds no frame that can be decoded. Try another copy.")
    return first


def _media(path: Path, container: Container, stream: av.VideoStream, first: av.VideoFrame, seconds: float) -> Media:
    rotation = first.rotation % 360
    width, height = display_size(first, stream)
    return Media(
        seconds=seconds,
        fps=_fps(stream),
        height=width if rotation % 180 else height,
        width=height if rotation % 180 else width,
        rotation=rotation,
        codec=stream.codec_context.name,
        pixel_format=first.format.name,
        hdr=coding_of(first).hdr,
        colour=coding_of(first).name,
        num_videos=len(container.streams.video),
        num_sounds=len(container.streams.audio),
        size_bytes=path.stat().st_size,
    )


def _fps(stream: av.VideoStream) -> float:
    return float(stream.guessed_rate or stream.average_rate or 25)


def turned(picture: Array, rotation: int) -> Array:
    """Rotate (H, W, ...) for display. rotation: degrees counterclockwise"""
    return np.ascontiguousarray(np.rot90(picture, round(rotation / 90)))


def perceptual_hash(luma: Array) -> int:
    """Perceptual hash of 64 bits: signs of low frequencies about their median, robust to changes.

    luma: (H, W) uint8

    Source: pHash, as in the package `imagehash`: the lowest 8x8 of a 32x32 cosine transform.
    """
    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8]
    bits = np.packbits((low > np.median(low)).reshape(-1))
    return int.from_bytes(bits.tobytes(), "big")


class _Measured:
    """The figures so far, and the last frames to compare the next one with."""

    def __init__(
        self, stream: av.VideoStream, clock: Clock, reading: Reading, watch: Watch | None, every: Every | None
    ) -> None:
        self.last = 0.0  # seconds: the newest frame's
        self._stream, self._convert = stream, cast("Converter | None", None)
        self._clock, self._samples_per_second = clock, reading.samples_per_second
        self._watch, self._every = watch, every
        self._frames, self._samples, self._hashes = array("d"), array("d"), array("Q")
        self._before: tuple[Array, Array] | None = None  # hue, saturation, value, and brightness of the frame before
        self._next_sample = 0.0
        self._motion = Motion(reading.flow_above)

    def add(self, frame: av.VideoFrame, *, damaged: bool, interlaced: bool) -> None:
        number = len(self._frames) // len(FRAME_COLUMNS)
        self._clock.frame(frame)
        self.last = self._clock.newest
        self._convert = self._convert or Converter(self._stream, frame)
        whole = self._convert.bgr(frame)
        small = _as_scenedetect(whole)
        if self._every is not None:
            self._every(small)
        planes = cv2.cvtColor(small, cv2.COLOR_BGR2HSV)
        luma = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        content = change = peak_change = 0.0
        if self._before is not None:
            content = _content(planes, self._before[0])
            difference = cv2.absdiff(luma, self._before[1])
            change, peak_change = cv2.mean(difference)[0], _peak(difference)
        self._before = planes, luma
        count = np.bincount(luma.reshape(-1), minlength=256)
        levels, pixels = np.arange(256), luma.size
        mean = float(count @ levels) / pixels
        contrast = max(0.0, float(count @ levels**2) / pixels - mean**2) ** 0.5
        black, clipped = float(count[: BLACK + 1].sum()) / pixels, float(count[CLIPPED:].sum()) / pixels
        hurt = float(frame.is_corrupt or damaged)
        figures = (self.last, content, mean, contrast, black, clipped, change, peak_change)
        self._frames.extend((*figures, hurt, float(interlaced)))
        self._motion.listen(frame, self.last)
        if self.last >= self._next_sample - 1e-6:
            self._next_sample = (np.floor(self.last * self._samples_per_second + 1e-6) + 1) / self._samples_per_second
            self._look(number, frame, whole)

    def _look(self, number: int, frame: av.VideoFrame, whole: Pixels) -> None:
        height, width = whole.shape[:2]
        scale = max(SIDE / max(height, width), _LEAST_SIDE / min(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        averaged = cv2.resize(whole, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        luma = turned(cv2.cvtColor(averaged, cv2.COLOR_BGR2GRAY), frame.rotation)
        sharpness = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1].item() ** 2
        bars = np.roll(_bars(whole), -round(frame.rotation / 90))
        motion = self._motion.since_last(luma, self.last)
        self._samples.extend((number, sharpness, *bars, *motion))
        self._hashes.append(perceptual_hash(luma))
        if self._watch is not None:
            self._watch(number, self.last, turned(whole, frame.rotation))

    def signals(self, media: Media) -> Signals:
        frames = np.array(self._frames).reshape(-1, len(FRAME_COLUMNS)).T
        samples = np.array(self._samples).reshape(-1, len(SAMPLE_COLUMNS)).T
        return Signals(
            media,
            dict(zip(FRAME_COLUMNS, frames, strict=True)),
            dict(zip(SAMPLE_COLUMNS, samples, strict=True)),
            np.array(self._hashes, dtype=np.uint64),
        )


def _as_scenedetect(whole: Pixels) -> Pixels:
    """Downscale a frame as PySceneDetect 0.7 does for its detectors (scene_manager.py)."""
    height, width = whole.shape[:2]
    factor = max(height, width) / 256
    if factor <= 1:
        return whole
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return cast(Pixels, cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR))


def _content(hsv: Array, before: Array) -> float:
    """Mean of the changes of hue, saturation and value: PySceneDetect's content_detector.py."""
    pixels = float(hsv.shape[0] * hsv.shape[1])
    hue, saturation, value = (change / pixels for change in cv2.sumElems(cv2.absdiff(hsv, before))[:3])
    return (hue + saturation + value) / 3.0


def _peak(difference: Array) -> float:
    height, width = difference.shape
    size = (max(1, width // _BLOCK), max(1, height // _BLOCK))
    return float(cv2.resize(difference, size, interpolation=cv2.INTER_AREA).max())


def _bars(whole: Pixels) -> tuple[float, float, float, float]:
    """Black bars above, right, below and left, as shares of height or width, seen in green."""
    rows, columns = whole[:, ::4, 1].mean(1), whole[::4, :, 1].mean(0)
    above, below = _leading(rows), _leading(rows[::-1])
    left, right = _leading(columns), _leading(columns[::-1])
    return above, right, below, left


def _leading(means: Array) -> float:
    """Share of lines before the first one outside the bar; 1 if there is none."""
    bright = means > BAR
    return float(bright.argmax()) / len(means) if bright.any() else 1.0
