"""Interlaced films: an upright bar that moves, two moments in a frame."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from minisora.video import probe, read_clip, read_frames
from minisora.video.fields import progressive

STEP = 3  # pixels that the bar goes in a field


def moment(number, height=48, width=96):
    picture = np.full((height, width, 3), 40, np.uint8)
    at = 8 + STEP * number % (width - 24)
    picture[:, at : at + 12] = 230
    return picture


def woven(number, first=0):
    """The frame that holds moments 2 n and 2 n + 1. first: 0, the even lines are the earlier"""
    picture = moment(2 * number)
    picture[1 - first :: 2] = moment(2 * number + 1)[1 - first :: 2]
    return picture


def marked(frame, how):
    """The frame behind FFmpeg's setfield: "tff", "bff" or "prog"."""
    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("setfield", how), graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()


def decoded(count, how, *, pixel_format="yuv420p", first=0, height=48):
    """Frames as a decoder gives them. how: number of the frame -> its mark"""
    for number in range(count):
        picture = woven(number, first) if how(number) != "prog" else moment(2 * number)
        frame = av.VideoFrame.from_ndarray(picture[:height], format="rgb24").reformat(format=pixel_format)
        frame.pts, frame.time_base = number * number, Fraction(1, 90)
        yield marked(frame, how(number))


def grey(frame):
    return frame.to_ndarray(format="rgb24")[..., 1].astype(int)


def comb(picture):
    """Mean difference of neighbouring lines."""
    return np.abs(np.diff(np.asarray(picture).astype(int), axis=0)).mean()


@pytest.mark.parametrize(("how", "first"), [("tff", 0), ("bff", 1)])
def test_each_frame_becomes_its_first_moment(how, first):
    frames = list(progressive(decoded(8, lambda n: how, first=first)))
    assert len(frames) == 8
    for number, frame in enumerate(frames[1:-1], 1):
        assert not frame.interlaced_frame and comb(grey(frame)) < 1
        assert np.abs(grey(frame)[8:-8] - moment(2 * number)[8:-8, :, 1]).mean() < 4  # edges are as soft as chroma
    assert comb(woven(4)) > 5


@pytest.mark.parametrize("marks", ["tttttttt", "pppptttt", "ptptptpt", "pppppppp", "pppppppt", "t", "tp"])
def test_frames_that_are_not_marked_pass_untouched(marks):
    names = {"t": "tff", "p": "prog"}
    before = list(decoded(len(marks), lambda n: names[marks[n]]))
    after = list(progressive(iter(before)))
    assert [frame.time for frame in after] == [frame.time for frame in before]
    for one, other, mark in zip(before, after, marks, strict=True):
        assert bytes(one.planes[0]) == bytes(other.planes[0]) or mark == "t"


def test_nothing_waits_where_nothing_is_marked():
    source = decoded(4, lambda n: "prog")
    rest = progressive(source)
    first = next(rest)
    assert next(source).pts == 1 and first.pts == 0


@pytest.mark.parametrize("pixel_format", ["yuv422p10le", "yuv411p", "uyvy422", "nv12", "gray", "rgb24", "yuva420p"])
def test_other_formats(pixel_format):
    frames = list(progressive(decoded(4, lambda n: "tff", pixel_format=pixel_format)))
    assert len(frames) == 4 and comb(grey(frames[2])) < 1


def test_a_size_that_changes_and_one_that_is_too_small():
    frames = [
        *decoded(3, lambda n: "tff"),
        *decoded(3, lambda n: "tff", height=32),
        *decoded(3, lambda n: "tff", height=4),
    ]
    assert [frame.height for frame in progressive(iter(frames))] == [48] * 3 + [32] * 3 + [4] * 3


def test_what_was_decoded_before_damage_comes_first():
    def damaged():
        yield from decoded(3, lambda n: "tff")
        raise av.InvalidDataError(1, "damaged")

    got = []
    with pytest.raises(av.InvalidDataError):
        for frame in progressive(damaged()):
            got.append(frame.pts)
    assert got == [0, 2, 8]  # in halves of the unit


def interlaced_file(path, codec, options, *, count=12, pixel_format="yuv420p", first=0):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 48, pixel_format
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(woven(number, first), format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame = marked(frame, "bff" if first else "tff")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "options", "pixel_format", "first"),
    [
        ("a.mp4", "libx264", {"x264-params": "tff=1", "crf": "5"}, "yuv420p", 0),
        ("a.mp4", "libx264", {"x264-params": "bff=1", "crf": "5"}, "yuv422p10le", 1),
        ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme", "q": "2"}, "yuv422p", 0),
        ("a.mov", "prores_ks", {"flags": "+ildct"}, "yuv422p10le", 0),
    ],
)
def test_an_interlaced_file_is_read_progressive(tmp_path, name, codec, options, pixel_format, first):
    path = interlaced_file(tmp_path / name, codec, options, pixel_format=pixel_format, first=first)
    with av.open(str(path)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    frames, fps = read_frames(path)
    assert (len(frames), fps) == (12, 25)
    assert max(comb(frame) for frame in frames[1:-1].numpy()) < 2
    middle = frames[5, 24, :, 1].int().numpy()
    assert np.abs(middle - moment(10)[24, :, 1]).mean() < 6
    clip = read_clip(path, start=0.2, num_frames=2, fps=25)
    assert np.abs(clip[0].int().numpy() - frames[5].int().numpy()).max() <= 2
    assert probe(path).height == 48


def test_a_progressive_file_is_not_touched(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "bgr0"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(woven(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode(None))
    assert np.array_equal(read_frames(path)[0].numpy(), np.stack([woven(number) for number in range(4)]))
