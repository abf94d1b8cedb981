"""Decoding: the frames of a file in display order, each with the time at which it is shown.

Times count from the first frame. Where the clock of a file begins anew, as in recordings joined
byte by byte, the frames after it follow those before: nothing is lost, and nothing waits.

Here: packets, the clock, seeking, the end of a file.
Not here: opening (open.py), pixels (pixels.py), resampling in time (read.py).
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from minisora.errors import UsageError
from minisora.video.fields import progressive
from minisora.video.open import Container, Refused, clock_may_jump, open_picture, open_video
from minisora.video.pictures import in_hdr, picture_pixels
from minisora.video.pixels import Background, Converter, Pixels

STILL_FPS = 25.0  # of a picture that is read as a video, as FFmpeg has it
_SEEK_FROM_SECONDS = 2.0  # nearer starts are reached by decoding from the first frame
_LEAST_BACK = 0.2  # seconds, and three frames: a smaller step back is a time stamp gone wrong
_MOST_AHEAD = 10.0  # seconds: a longer gap of a broadcast is a clock that was set (ffmpeg's dts_delta_threshold)
_TELL_LENGTH = ("mov", "matroska", "avi", "flv")  # formats whose header says how long they are
_IN_DECODING_ORDER = ("avi", "asf", "mxf")  # formats that tell no time of display, or not all of them
_TAIL = 1 << 20  # bytes after the last packet that are searched for another file's beginning
_HEAD = 14  # bytes that tell a format and its version, and in MXF that it is a beginning


@dataclass(frozen=True)
class Shown:
    """One frame and its time, in seconds after the first of the file; pixels on demand.

    rate: frames per second of the file, on average
    """

    seconds: float
    duration: float
    rate: float
    pixels: Callable[[], Pixels]


class Clock:
    """Display times of frames in order: seconds after the first, and duration.

    may_jump: treat a gap of more than 10 s as a clock that was set; one that runs back always is
    rate:     frames per second, for frames without a duration
    zero:     of the file's own clock; None: that of the first frame
    """

    def __init__(self, rate: float, may_jump: bool, zero: float | None = None) -> None:
        self._rate, self._most_ahead = rate, _MOST_AHEAD if may_jump else float("inf")
        self._zero = zero
        self.newest = self.end = 0.0  # seconds: the last time shown, and until its frame is over
        self.jumps = 0

    def __call__(self, at: float | None, duration: float | None) -> tuple[float, float]:
        """Seconds and duration of the next frame. at: by the file's own clock, None if unknown"""
        if self._zero is None:
            self._zero = at or 0.0
        elif at is not None and not self._follows(at - self._zero):
            self._zero, self.jumps = at - self.end, self.jumps + 1
        seconds = self.end if at is None else at - self._zero
        lasts = duration or 1 / self._rate
        self.newest, self.end = max(self.newest, seconds), max(self.end, seconds + lasts)
        return seconds, lasts

    def _follows(self, at: float) -> bool:
        return self.newest - max(_LEAST_BACK, 3 / self._rate) <= at <= self.end + self._most_ahead

    def frame(self, frame: av.VideoFrame) -> tuple[float, float]:
        """Seconds and duration of the next decoded frame."""
        at = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        return self(at, float(frame.duration * frame.time_base) if frame.duration and frame.time_base else None)


class Packets:
    """Packets of a file in order; those of one stream are decoded.

    failures:   packets before the last frame that could not be decoded; to be set back to 0
    interlaced: True if the last frame was, by its mark in the file
    end:        seconds until the packets of all streams are over, from where the file begins
    last_byte:  of the packets so far; 0 if the file does not tell
    """

    def __init__(self, container: Container, stream: av.VideoStream) -> None:
        self._container, self._stream = container, stream
        self._begin = (container.start_time or 0) / av.time_base
        self._counts = container.format.name in _IN_DECODING_ORDER
        self.failures, self.interlaced, self.end, self.last_byte = 0, False, 0.0, 0

    def frames(self, *, tolerant: bool = False) -> Iterator[av.VideoFrame]:
        """Decode in display order, progressive.

        tolerant: count packets that fail, rather than raise
        """
        marks: deque[tuple[int, bool]] = deque()  # of decoded frames that are still to come
        for frame in progressive(self._decoded(tolerant, marks)):
            failures, self.interlaced = marks.popleft()
            self.failures += failures
            yield frame

    def _decoded(self, tolerant: bool, marks: deque[tuple[int, bool]]) -> Iterator[av.VideoFrame]:
        packets, decode, failures = self._container.demux(), _decoder(self._stream), 0
        self._last: tuple[int, int] | None = None  # times of display and of decoding of the last frame
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError):  # what follows cannot be found; the length will tell
                if not tolerant:
                    raise
                packet = None
            if packet is None:
                return
            if packet.pts is not None and packet.time_base is not None:
                end = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
                self.end = max(self.end, end - self._begin)
            self.last_byte = max(self.last_byte, (packet.pos or 0) + packet.size)
            if packet.stream != self._stream:
                continue
            try:
                frames = decode(packet)
            except EOFError:
                continue
            except (av.FFmpegError, ValueError):
                if not tolerant:
                    raise
                failures += 1
                continue
            for frame in frames:
                self._date(frame)
                marks.append((failures, frame.interlaced_frame))
                failures = 0
                yield frame

    def _date(self, frame: av.VideoFrame) -> None:
        """Date a frame's display if only decoding is dated, as FFmpeg's `guess_correct_pts`."""
        shown, decoded = frame.pts, frame.dts
        if shown is not None:
            if self._last is not None and shown <= self._last[0]:  # in display order
                self._counts |= decoded is None or decoded > self._last[1]
            self._last = shown, shown if decoded is None else decoded
        if self._counts:
            frame.pts = decoded  # of the packet that made the decoder release this frame


def _decoder(stream: av.VideoStream) -> Callable[[av.Packet[Any]], list[av.VideoFrame]]:
    """Decoder of a stream's packets: libvpx for VP8 and VP9 with alpha, which others drop."""
    alpha = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1"
    transparent = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name) if alpha else None
    if transparent is None:
        return lambda packet: packet.decode()
    decoder = cast(av.VideoCodecContext, av.CodecContext.create(transparent, "r"))
    return lambda packet: decoder.decode(packet if packet.size else None)


def decode(path: Path, start: float, background: Background) -> Generator[Shown]:
    """Decode frames in display order, from the one shown at `start` on; at least one.

    Raises UsageError for what cannot be decoded, Refused for what is no video or picture.
    """
    with decodable(path):
        if (frames := stills(path, background)) is not None:
            yield from frames
            return
        with open_video(path) as (container, stream):
            none = True
            for shown in _decode_stream(path, container, stream, start, background):
                none = False
                yield shown
            if none:
                raise Refused("unreadable", f"{path} holds no frame: it is damaged or cut short. Try another copy.")


def file_rate(stream: av.VideoStream) -> float:
    """Frames per second of a stream, on average."""
    return float(stream.average_rate or stream.guessed_rate or 25)


def _decode_stream(
    path: Path, container: Container, stream: av.VideoStream, start: float, background: Background
) -> Generator[Shown]:
    rate = file_rate(stream)
    clock, packets = Clock(rate, clock_may_jump(container)), Packets(container, stream)
    try:
        frames = packets.frames()
        first = next(frames, None)
        convert = None if first is None else Converter(stream, first, background)
        if first is not None and start > _SEEK_FROM_SECONDS and not (clock_may_jump(container) and scan(path).jumps):
            clock.frame(first)
            frames = _sought(packets, container, stream, first, start)
            first = next(frames, None)
        while first is not None and convert is not None:
            seconds, lasts = clock.frame(first)
            yield Shown(seconds, lasts, rate, partial(convert, first))
            first = next(frames, None)
    except av.FFmpegError as error:
        raise Refused(
            "unreadable",
            f"{path} is damaged: decoding stopped {clock.end:.2f} s after its first frame ({error.strerror}). "
            "Use a shorter stretch of it, or another copy.",
        ) from error
    check_end(path, container, stream, clock.end, packets)


def _sought(
    packets: Packets, container: Container, stream: av.VideoStream, first: av.VideoFrame, start: float
) -> Iterator[av.VideoFrame]:
    """Frames from the keyframe before `start` on; from the first if the file has no index."""

    def at(frame: av.VideoFrame | None) -> float | None:
        return None if frame is None or frame.pts is None else float(frame.pts * cast(float, frame.time_base))

    zero, rate = at(first) or 0.0, file_rate(stream)
    target, frame = zero + start - 1 / rate, None
    try:
        container.seek(int(target * av.time_base))
        frames = packets.frames()
        frame = next(frames, None)
    except av.FFmpegError:
        frame = None
    reached = at(frame)
    if frame is None or reached is None or not zero <= reached <= target + 1 / rate:  # no index, or a wrong one
        container.seek(stream.start_time or 0, stream=stream)
        yield from packets.frames()
        return
    yield frame
    yield from frames


def check_end(path: Path, container: Container, stream: av.VideoStream, lasted: float, packets: Packets) -> None:
    """Raise Refused if a file that was decoded to its end says of itself that it goes on.

    lasted: seconds until its last frame is over
    """
    if container.format.name.startswith(_TELL_LENGTH):
        expected = length_by_header(container, stream)
        if not (stream.duration and stream.time_base):
            lasted = max(lasted, packets.end)
        if lasted < expected - max(0.5, 0.1 * expected):
            raise Refused(
                "truncated", f"{path} is cut short: it ends after {lasted:.2f} s, and should last {expected:.2f} s."
            )
    if packets.last_byte and _begins_again(path, packets.last_byte):
        raise Refused("several", f"{path} holds several recordings, joined byte by byte. Give them one by one.")


def _begins_again(path: Path, stop: int) -> bool:
    """True if the first bytes of a file stand again after `stop`, behind its last packet."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(stop)
        return head in file.read(_TAIL)


def length_by_header(container: Container, stream: av.VideoStream) -> float:
    """Seconds of the stream as the header says, or of the whole file; 0 if it says nothing."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    seconds, begin = (container.duration or 0) / av.time_base, (container.start_time or 0) / av.time_base
    counts_from_zero = container.format.name.startswith("matroska") and 0 < begin < seconds
    return seconds - begin if counts_from_zero else seconds


@dataclass(frozen=True, eq=False)
class Scan:
    """Result of reading all packets of a stream.

    times:   seconds at which each is shown, after the first, in order
    seconds: until the last is over
    jumps:   how often the clock begins anew
    """

    times: npt.NDArray[np.float64]
    seconds: float
    jumps: int


def scan(path: Path) -> Scan:
    """Read the packets of a file's video without decoding them."""
    status = path.stat()
    return _scan(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _scan(path: Path, size: int, modified: int) -> Scan:
    with open_video(path) as (container, stream):
        rate = file_rate(stream)
        clock, pieces = Clock(rate, clock_may_jump(container)), [array("d")]
        ends, lasts = [0.0], 1 / rate
        for packet in container.demux(stream):
            if not packet.size:
                continue
            decoded = _seconds(packet.dts if packet.dts is not None else packet.pts, packet)
            lasts = _seconds(packet.duration, packet) or 1 / rate
            in_order, _ = clock(decoded, lasts)
            if clock.jumps == len(pieces):
                pieces.append(array("d"))
                ends.append(0.0)
            shown = _seconds(packet.pts, packet)
            at = shown if shown is not None else decoded if decoded is not None else in_order
            pieces[-1].append(at)
            ends[-1] = max(ends[-1], at + lasts)
    times, end = list[npt.NDArray[np.float64]](), 0.0
    for piece, stop in zip(pieces, ends, strict=True):
        sorted_times = np.sort(np.array(piece))
        if len(sorted_times):
            times.append(end + sorted_times - sorted_times[0])
            end += float(stop - sorted_times[0])
    return Scan(np.concatenate(times) if times else np.zeros(0), end, len(pieces) - 1)


def _seconds(moment: int | None, packet: av.Packet[Any]) -> float | None:
    return None if moment is None or packet.time_base is None else float(moment * packet.time_base)


def is_joined(path: Path, container: Container) -> bool:
    """True if a Matroska file goes on after its segment, whose header tells of that alone."""
    if not container.format.name.startswith("matroska"):
        return False
    with path.open("rb") as file:
        for _ in range(2):  # the EBML header, then the segment (RFC 8794, 4 and 5)
            kind = file.read(1)
            file.read(_width(kind) - 1)
            length = file.read(1)
            width = _width(length)
            value = int.from_bytes(bytes([length[0] & (0xFF >> width)]) + file.read(width - 1), "big")
            if value == (1 << 7 * width) - 1:  # unknown
                return False
            file.seek(value, 1)
        return file.tell() < path.stat().st_size


def _width(first: bytes) -> int:
    """Bytes of a number of variable size, from its first byte."""
    if not first or not first[0]:
        raise struct.error("no EBML")
    return 9 - first[0].bit_length()


def stills(path: Path, background: Background) -> Iterator[Shown] | None:
    """Frames of a picture, or of an animated WebP, which FFmpeg does not decode; else None."""
    picture = open_picture(path)
    if picture is None:
        return None
    if path.suffix.lower() in (".mjpeg", ".mjpg"):  # pictures one after another
        picture.close()
        return None
    count = getattr(picture, "n_frames", 1)
    if picture.format == "WEBP" and count > 1:
        return _webp(picture, background)
    with picture:
        if (
            in_hdr(picture)
            or picture.format == "GIF"
            or (count > 1 and picture.format not in ("MPO", "ICO", "ICNS", "PSD"))
        ):
            return None
        pixels = still_pixels(picture, background)
    return iter([Shown(0.0, 1 / STILL_FPS, STILL_FPS, partial(np.asarray, pixels))])


def still_pixels(picture: Image.Image, background: Background) -> Pixels:
    """(H, W, 3) of an opened picture, its EXIF rotation applied; the first frame of several."""
    picture.load()
    return picture_pixels(picture, background)


def _webp(picture: Image.Image, background: Background) -> Iterator[Shown]:
    with picture:
        count, at, lengths = picture.n_frames, 0.0, list[float]()  # type: ignore[attr-defined]
        for i in range(count):
            picture.seek(i)
            picture.load()
            lengths.append(picture.info.get("duration", 0) / 1000 or 0.1)
        rate = count / sum(lengths)
        for i, length in enumerate(lengths):
            picture.seek(i)
            pixels = picture_pixels(picture, background)
            yield Shown(at, length, rate, partial(np.asarray, pixels))
            at += length


@contextmanager
def decodable(path: Path) -> Iterator[None]:
    """Context manager: turn errors of decoders into UsageError."""
    try:
        yield
    except PermissionError as error:
        raise UsageError(f"{path} may not be read: permission denied.") from error
    except Image.DecompressionBombError as error:
        raise UsageError(f"{path} is too large a picture: {error}.") from error
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UsageError(
            f"{path} cannot be decoded: {reason}. It is damaged, cut short, or no video or picture. Try another copy."
        ) from error


# exceptions of av and Pillow on damaged input
DAMAGE: tuple[type[Exception], ...] = (
    *(av.FFmpegError, OSError, ValueError, EOFError, SyntaxError, LookupError, MemoryError, ArithmeticError),
    *(RuntimeError, TypeError, struct.error, zlib.error),
)
