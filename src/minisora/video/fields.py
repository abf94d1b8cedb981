"""Interlaced frames -> progressive ones, by FFmpeg's bwdif.

An interlaced frame holds two moments, one in its even lines and one in its odd. Those of the first
moment stay; the others are made anew from them and from the frames before and after.

Source: bwdif joins yadif and w3fdif (Weston, BBC R&D), see FFmpeg's libavfilter/vf_bwdif.c.

Here: frames as decoded. Not here: their colours (pixels.py); telecine, which is not undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av

_BWDIF = "mode=send_frame:parity=auto:deint=interlaced"  # only marked frames, in the order that is marked


def progressive(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Deinterlace the frames that are marked as interlaced; the others pass untouched.

    As many come out as go in, in their order and at their times; from the first marked one on, each
    comes when the next has gone in. Frames with less than 4 rows of chroma stay as they are.
    """
    graph: av.filter.Graph | None = None
    shape: tuple[object, ...] = ()
    try:
        for frame in frames:
            if graph is not None and shape != _shape(frame):
                yield from _rest(graph)
                graph = None
            if graph is None and frame.interlaced_frame:
                graph, shape = _graph(frame), _shape(frame)
            if graph is None:
                yield frame
            else:
                graph.push(frame)
                yield from _ready(graph)
    except av.FFmpegError:  # what was decoded before the damage comes out first
        if graph is not None:
            yield from _rest(graph)
        raise
    if graph is not None:
        yield from _rest(graph)


def _shape(frame: av.VideoFrame) -> tuple[object, ...]:
    return frame.width, frame.height, frame.format.name, frame.time_base


def _graph(frame: av.VideoFrame) -> av.filter.Graph | None:
    graph = av.filter.Graph()
    graph.threads = 1
    time_base = frame.time_base or Fraction(1, 1000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    try:
        graph.link_nodes(source, graph.add("bwdif", _BWDIF), graph.add("buffersink")).configure()
    except av.ArgumentError:
        return None
    return graph


def _ready(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield cast(av.VideoFrame, graph.pull())
        except (av.BlockingIOError, av.EOFError):
            return


def _rest(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    graph.push(None)
    yield from _ready(graph)
