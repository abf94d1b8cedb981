"""One decode of a file: figures of every frame and of a few frames a second, from which every score is made.

Frames stream by. What stays of one is a row of numbers, so memory does not grow with the length but for these, and a
span that is asked for later costs no decoding.

Every frame is made as small as PySceneDetect makes it, by the same arithmetic, so that the shots are the same
(shots.py). A few frames a second are looked at more closely: turned as they are shown, averaged down to a longer side
of SIDE pixels, whatever size the file has, so that sharpness and motion mean the same for all.

Here: opening, integrity, the figures. Not here: motion between frames (motion.py), cutting into shots (shots.py),
figures to scores (scores.py).
"""

from __future__ import annotations

import math
import time
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import numpy.typing as npt

from minisora.curate.lost import MediaError
from minisora.curate.motion import MOTION_COLUMNS, Motion
from minisora.errors import UsageError
from minisora.video.fields import progressive
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
_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg draws text files as videos; nobody here means that
_TELLS_LENGTH = ("mov", "matroska", "avi", "flv")  # containers whose header says how long they are
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
    colour: str  # primaries/transfer/matrix as the file says, in words
    num_videos: int  # streams of pictures
    num_sounds: int  # streams of sound
    size_bytes: int


@dataclass(frozen=True, eq=False)
class Signals:
    """The figures of T frames, and of the S of them that were looked at more closely.

    frames:  column of FRAME_COLUMNS to (T,) float64, in the order of showing
    samples: column of SAMPLE_COLUMNS to (S,) float64
    hashes:  (S,) uint64, perceptual

    seconds:     after the first frame
    content:     change since the frame before, 0..255, as PySceneDetect's ContentDetector scores it
    luma:        mean brightness, 0..255; contrast: its standard deviation
    black:       share of pixels of BLACK or less; clipped: of CLIPPED or more
    change:      mean change of brightness since the frame before, 0..255; peak_change: of the _BLOCK x _BLOCK
                 pixels that changed most
    damaged:     1 where the decoder failed at this frame or before it, or patched it, else 0
    interlaced:  1 where the file says that a frame holds two moments, else 0; the figures are of the first
    frame:       number of the sampled frame
    sharpness:   variance of the Laplacian of brightness
    top ... left: width of black bars, in shares of the height or width as shown
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

    until:    seconds after the first frame; a little more is read, as the marks of frames look ahead, and no further
    pictures: one frame is enough
    """

    samples_per_second: float = 4.0  # frames that are looked at closely
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

    watch: is shown each sampled frame, in full size
    every: is shown each frame, BGR, as small as PySceneDetect sees it

    Raises MediaError where the file gives no two frames, ends early or takes too long.
    """
    with _opened(path) as (container, stream):
        stream.thread_type, stream.codec_context.thread_count = "AUTO", reading.threads
        stream.codec_context.options = {"flags2": "+export_mvs", "max_pixels": str(_MOST_PIXELS)}
        packets, measured = _Packets(container, stream), _Measured(stream, reading, watch, every)
        first = _measure(path, packets, measured, reading)
        length = measured.end
        if measured.last > reading.until + _BEYOND:
            length = max(length, _length_by_header(container, stream))
        else:
            _check_length(path, container, stream, measured, packets.end)
            if measured.last <= 0 and not reading.pictures:
                raise MediaError("too_short", f"{path} holds one frame only: it is a picture.")
        return measured.signals(_media(path, container, stream, first, length))


def _measure(path: Path, packets: _Packets, measured: _Measured, reading: Reading) -> av.VideoFrame:
    """Measure frame after frame, as far as is asked for. Returns the first."""
    limit = reading.timeout_seconds
    deadline = None if limit is None else time.monotonic() + limit
    first: av.VideoFrame | None = None
    for frame, failures, interlaced in packets.frames():
        if measured.last > reading.until + _BEYOND:
            break
        if deadline is not None and time.monotonic() > deadline:
            raise MediaError("timeout", f"{path} took more than {limit:g} s, for {measured.last:.1f} s of it.")
        first = first or frame
        if (frame.width, frame.height) != (first.width, first.height):  # PySceneDetect leaves them out too
            measured.failures += 1
        else:
            try:
                measured.add(frame, failures, interlaced)
            except UsageError as error:  # of colours that are not read here
                raise MediaError("unreadable", str(error)) from error
    if first is None:
        raise MediaError("unreadable", f"{path} holds no frame that can be decoded. Try another copy.")
    return first


def _media(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, first: av.VideoFrame, seconds: float
) -> Media:
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
    """(H, W, ...) as it is shown. rotation: degrees counterclockwise"""
    return np.ascontiguousarray(np.rot90(picture, round(rotation / 90)))


def perceptual_hash(luma: Array) -> int:
    """64 bits that change little where the picture does: signs of its low frequencies about their median.

    luma: (H, W) uint8. Source: pHash, as in the package `imagehash`: the 8x8 lowest of a 32x32 cosine transform.
    """
    small = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8]
    bits = np.packbits((low > np.median(low)).reshape(-1))
    return int.from_bytes(bits.tobytes(), "big")


class _Measured:
    """The figures as they come in, and what the next frame is compared with."""

    def __init__(self, stream: av.VideoStream, reading: Reading, watch: Watch | None, every: Every | None) -> None:
        self.failures = 0  # since the last good frame
        self.last = self.end = 0.0  # seconds: the newest frame's, and until it is over
        self._stream, self._rate, self._samples_per_second = stream, _fps(stream), reading.samples_per_second
        self._watch, self._every = watch, every
        self._zero: float | None = None
        self._frames, self._samples, self._hashes = array("d"), array("d"), array("Q")
        self._before: tuple[Array, Array] | None = None  # hue, saturation, value, and brightness of the frame before
        self._next_sample = 0.0
        self._motion = Motion(reading.flow_above)
        self._convert: Converter | None = None

    def add(self, frame: av.VideoFrame, failures: int, interlaced: bool) -> None:
        at = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        if self._zero is None:
            self._zero = at or 0.0
        number = len(self._frames) // len(FRAME_COLUMNS)
        self.last = max(self.last, self.end if at is None else at - self._zero)
        length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / self._rate
        self.end = self.last + length
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
        damaged = float(frame.is_corrupt or failures + self.failures > 0)
        self.failures = 0
        figures = (self.last, content, mean, contrast, black, clipped, change, peak_change)
        self._frames.extend((*figures, damaged, float(interlaced)))
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
    """As scene_manager.py of PySceneDetect 0.7 scales a frame before its detectors see it."""
    height, width = whole.shape[:2]
    factor = max(height, width) / 256
    if factor <= 1:
        return whole
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return cast(Pixels, cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR))


def _content(hsv: Array, before: Array) -> float:
    """Mean of the mean changes of hue, saturation and value, as content_detector.py of PySceneDetect adds them up."""
    pixels = float(hsv.shape[0] * hsv.shape[1])
    hue, saturation, value = (change / pixels for change in cv2.sumElems(cv2.absdiff(hsv, before))[:3])
    return (hue + saturation + value) / 3.0


def _peak(difference: Array) -> float:
    height, width = difference.shape
    size = (max(1, width // _BLOCK), max(1, height // _BLOCK))
    return float(cv2.resize(difference, size, interpolation=cv2.INTER_AREA).max())


def _bars(whole: Pixels) -> tuple[float, float, float, float]:
    """Black bars above, right, below and left, in shares of the height or width; green stands for brightness."""
    rows, columns = whole[:, ::4, 1].mean(1), whole[::4, :, 1].mean(0)
    above, below = _leading(rows), _leading(rows[::-1])
    left, right = _leading(columns), _leading(columns[::-1])
    return above, right, below, left


def _leading(means: Array) -> float:
    """The share of lines before the first that is no bar; 1 where all are."""
    bright = means > BAR
    return float(bright.argmax()) / len(means) if bright.any() else 1.0


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its first video stream that is not the cover picture of a sound file."""
    if not path.is_file():
        raise MediaError("missing", f"there is no file {path}.")
    if path.stat().st_size == 0:
        raise MediaError("empty", f"{path} is empty (0 bytes). Try another copy.")
    try:
        options = {"protocol_whitelist": "file"}  # a playlist must not make us open addresses
        container = av.open(str(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError("unreadable", f"{path} cannot be opened: {reason}. It is damaged or no video.") from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams or container.format.name in _TEXT_ART:
            raise MediaError("no_video", f"{path} holds no video. Give a video file.")
        if streams[0].codec_context is None:
            raise MediaError("unreadable", f"{path} is coded in a way that nothing here can decode, or it is damaged.")
        yield container, streams[0]


class _Packets:
    """The packets of a file in order; only video is decoded, other streams only give their end."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self._container, self._stream = container, stream
        self.end = 0.0  # seconds: until the packets of any stream are over, from where the file says that it begins

    def frames(self) -> Generator[tuple[av.VideoFrame, int, bool], None, None]:
        """In the order of showing, each with the number of packets that could not be decoded before it.

        The last: whether the file says that it is interlaced. It no longer is.
        """
        marks: deque[tuple[int, bool]] = deque()

        def as_stored() -> Iterator[av.VideoFrame]:
            for frame, failures in self._decoded():
                marks.append((failures, frame.interlaced_frame))
                yield frame

        for frame in progressive(as_stored()):
            yield frame, *marks.popleft()

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, int]]:
        failures, begin = 0, (self._container.start_time or 0) / av.time_base
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError):  # what follows cannot be found; if it is missed, the length will tell
                packet = None
            if packet is None:
                return
            if packet.pts is not None and packet.time_base is not None:
                self.end = max(self.end, (packet.pts + (packet.duration or 0)) * float(packet.time_base) - begin)
            if packet.stream != self._stream:
                continue
            try:
                frames = packet.decode()
            except EOFError:
                continue
            except (av.FFmpegError, ValueError):
                failures += 1
                continue
            for frame in frames:
                assert isinstance(frame, av.VideoFrame)
                yield frame, failures
                failures = 0


def _length_by_header(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Seconds of the pictures, as the header says, or of the whole; 0 where it says nothing."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _check_length(
    path: Path, container: av.container.InputContainer, stream: av.VideoStream, measured: _Measured, end: float
) -> None:
    """end: seconds until the packets of any stream are over, for the length of a file that says no stream's."""
    if container.format.name.startswith(_TELLS_LENGTH):
        lasts, expected = measured.end, _length_by_header(container, stream)
        if not (stream.duration and stream.time_base):
            lasts = max(lasts, end)
        if lasts < expected - max(0.5, 0.1 * expected):
            raise MediaError("truncated", f"{path} ends after {lasts:.2f} s, and should last {expected:.2f} s.")
