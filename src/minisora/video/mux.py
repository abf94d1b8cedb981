"""Encoded frames and sound -> a container: mp4, webm, Matroska, gif.

Here: putting together what is encoded. Not here: encoding frames (write.py), sound as samples
(sound.py), the temporary file (files.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

from minisora.video.files import ffmpeg_name
from minisora.video.sound import RATE, Track

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
_BLOCK = 48_000  # samples handed to the encoder at a time


@dataclass(frozen=True)
class Container:
    """A file to put together.

    kind:    FFmpeg's name of the format
    options: of that format
    sound:   codec of its sound
    """

    path: Path
    kind: str
    options: Mapping[str, str]
    sound: str
    comment: str


def mux(into: Container, video: av.VideoStream, packets: Iterable[av.Packet[Any]], track: Track | None) -> None:
    """Write a container of encoded frames and, if given, of sound, which is encoded here.

    video: stream that the packets were encoded by
    track: (2, n) samples at RATE
    """
    with av.open(ffmpeg_name(into.path), "w", format=into.kind, container_options=dict(into.options)) as target:
        target.metadata["comment"] = into.comment
        shown = target.add_stream_from_template(video)
        sound = None if track is None else _Heard(target, into.sound, track)
        for packet in packets:
            if sound is not None and packet.dts is not None and packet.time_base is not None:
                sound.mux(until=float(packet.dts * packet.time_base))
            packet.stream = shown
            target.mux(packet)
        if sound is not None:
            sound.mux(until=math.inf)


class _Heard:
    """A track on its way into a container, a block at a time, so that it lies next to the frames."""

    def __init__(self, target: av.container.OutputContainer, codec: str, track: Track) -> None:
        self._target, self._track, self._start = target, track, 0
        self._stream = cast(av.AudioStream, target.add_stream(codec, rate=RATE, layout="stereo"))

    def mux(self, until: float) -> None:
        """Encode the blocks that begin before a second; all that is left if that is infinite."""
        while self._start < min(self._track.shape[1], until * RATE):
            block = np.ascontiguousarray(self._track[:, self._start : self._start + _BLOCK])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, self._start
            self._target.mux(self._stream.encode(frame))
            self._start += _BLOCK
        if until == math.inf:
            self._target.mux(self._stream.encode(None))


def mux_gif(path: Path, pictures: Callable[[], Iterator[Pixels]], fps: Fraction, comment: str) -> None:
    """Write a gif of one palette for all frames, with ordered dithering: still parts do not flicker.

    pictures: gives all frames, each time that it is called
    """
    first = next(pictures())
    height, width, _ = first.shape
    with av.open(ffmpeg_name(path), "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
        stream.codec_context.time_base = Fraction(1, 100)
        for number, frame in enumerate(_with_palette(pictures, height, width, fps)):
            frame.pts, frame.time_base = round(number * 100 / fps), Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _put_comment(path, comment)


def _with_palette(
    pictures: Callable[[], Iterator[Pixels]], height: int, width: int, fps: Fraction
) -> Iterator[av.VideoFrame]:
    """Choose the palette from all frames, then map them to it, one in memory at a time."""

    def frames() -> Iterator[av.VideoFrame]:
        for number, picture in enumerate(pictures()):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, 1 / fps
            yield frame

    rgb, base, graph = av.VideoFormat("rgb24"), 1 / fps, av.filter.Graph()
    source = graph.add_buffer(height=height, width=width, format=rgb, time_base=base)
    choose, sink = graph.add("palettegen", "reserve_transparent=0"), graph.add("buffersink")
    source.link_to(choose)
    choose.link_to(sink)
    graph.configure()
    (palette,) = _filtered(source, sink, frames())
    palette.pts, palette.time_base = 0, base
    graph = av.filter.Graph()
    source = graph.add_buffer(height=height, width=width, format=rgb, time_base=base)
    colours = graph.add_buffer(height=palette.height, width=palette.width, format=palette.format, time_base=base)
    use, sink = graph.add("paletteuse", "dither=bayer:bayer_scale=4"), graph.add("buffersink")
    source.link_to(use, 0, 0)
    colours.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    colours.push(palette)
    colours.push(None)
    yield from _filtered(source, sink, frames())


def _filtered(
    source: av.filter.context.FilterContext, sink: av.filter.context.FilterContext, frames: Iterable[av.VideoFrame]
) -> Iterator[av.VideoFrame]:
    """Push frames through a graph and pull each that is ready, so that none wait inside."""
    for frame in chain(frames, [None]):
        source.push(frame)
        while True:
            try:
                yield cast(av.VideoFrame, sink.pull())
            except av.error.BlockingIOError:
                break
            except av.error.EOFError:
                return


def _put_comment(path: Path, comment: str) -> None:
    """Insert a comment (GIF89a, section 24) after the colours, where a reader meets it first."""
    data, text = path.read_bytes(), comment.encode()
    flags = data[10]  # of the logical screen, section 18
    start = 13 + (3 << (1 + (flags & 7)) if flags & 0x80 else 0)
    blocks = [text[n : n + 255] for n in range(0, len(text), 255)]
    extension = b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    path.write_bytes(data[:start] + extension + data[start:])
