"""Encoded frames and sound -> a file: mp4, webm, Matroska, gif.

Here: muxing. Not here: encoding (write.py), the temporary file (files.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt

from minisora.video.files import ffmpeg_name
from minisora.video.spool import Spool

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Part = tuple[av.VideoStream | av.AudioStream, Spool]  # by which packets were encoded, and these


@dataclass(frozen=True)
class Container:
    """A file to put together.

    kind:    FFmpeg's name of the format
    options: of that format
    """

    path: Path
    kind: str
    options: Mapping[str, str]
    comment: str


def mux(into: Container, parts: Sequence[Part]) -> None:
    """Write a container of encoded streams, packets of all of them in order of time."""
    with av.open(ffmpeg_name(into.path), "w", format=into.kind, container_options=dict(into.options)) as target:
        target.metadata["comment"] = into.comment
        streams = [_copied(target.add_stream_from_template(stream), spool) for stream, spool in parts]
        for packet in heapq.merge(*streams, key=_time):
            target.mux(packet)


def _copied(stream: av.VideoStream | av.AudioStream, spool: Spool) -> Iterator[av.Packet[Any]]:
    for packet in spool.packets():
        packet.stream = stream
        yield packet


def _time(packet: av.Packet[Any]) -> float:
    assert packet.dts is not None and packet.time_base is not None, packet
    return float(packet.dts * packet.time_base)


def mux_gif(path: Path, pictures: Callable[[], Iterator[Pixels]], fps: Fraction, comment: str) -> None:
    """Write a gif of one palette for all frames, with ordered dithering, so still parts stay still.

    pictures: gives all frames each time it is called
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
