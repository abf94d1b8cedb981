"""Every format that a folder's videos may have: all frames, each at its time, in both readers."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from minisora.curate.signals import read_signals
from minisora.folders import VIDEOS
from minisora.video import read_clip, read_video

COUNT, RATE = 40, 25
CODECS = {
    **{".webm": "libvpx-vp9", ".ogv": "libvpx", ".flv": "flv", ".gif": "gif", ".mjpeg": "mjpeg", ".mjpg": "mjpeg"},
    **{".mpg": "mpeg2video", ".mpeg": "mpeg1video", ".vob": "mpeg2video", ".mxf": "mpeg2video", ".swf": "flv"},
    **{".wmv": "wmv2", ".asf": "wmv2", ".3gp": "h263", ".3g2": "h263", ".rm": "rv10", ".rmvb": "rv10"},
    ".y4m": "wrapped_avframe",
}
MUXERS = {".m2ts": "mpegts", ".mts": "mpegts", ".m4v": "mp4", ".rmvb": "rm", ".ogv": "ogg", ".mjpg": "mjpeg"}
FORMS = {"gif": "rgb8", "mjpeg": "yuvj420p"}
OUT_OF_ORDER = [
    *((name, "libx264") for name in ("a.avi", "a.wmv", "a.mxf", "a.mp4", "a.mkv", "a.ts", "a.flv", "a.mov")),
    *((name, "mpeg4") for name in ("a.avi", "a.mp4", "a.mkv", "a.nut")),
    *((name, "mpeg2video") for name in ("a.avi", "a.mxf", "a.wmv", "a.mpg", "a.ts", "a.mkv")),
    *((name, "mpeg1video") for name in ("a.avi", "a.mpg")),
]


def counting(path: Path, codec: str, options: dict[str, str]) -> Path:
    """A video whose frame n has n dark columns, of 3 pixels each, to the left of bright ones."""
    with av.open(str(path), "w", format=MUXERS.get(path.suffix)) as container:
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 176, 144, FORMS.get(codec, "yuv420p")
        stream.bit_rate = 4_000_000
        for number in range(COUNT):
            pixels = np.full((144, 176, 3), 220, np.uint8)
            pixels[:, : 3 * number] = 20
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def numbers(frames) -> list[int]:
    """Number of each frame; wide pixels make H.263 wider than it was written."""
    dark = (frames.numpy()[:, 72, :, 1] < 120).sum(1)
    return [round(176 * int(count) / frames.shape[2] / 3) for count in dark]


@pytest.mark.parametrize("suffix", VIDEOS)
def test_every_suffix_that_counts_as_a_video_is_read(tmp_path, suffix):
    path = counting(tmp_path / f"a{suffix}", CODECS.get(suffix, "libx264"), {})
    video = read_video(path)
    assert numbers(video.frames) == list(range(COUNT)) and abs(video.fps - RATE) < 0.01
    assert len(read_signals(path).frames["seconds"]) == COUNT


@pytest.mark.parametrize(("name", "codec"), OUT_OF_ORDER)
def test_frames_that_are_coded_out_of_order_are_shown_in_order(tmp_path, name, codec):
    """AVI, ASF and some MXF tell when to decode a frame, not when to show it."""
    path = counting(tmp_path / name, codec, {"bf": "2", "g": "20"})
    with av.open(str(path)) as container:
        assert sum(frame.pict_type == 3 for frame in container.decode(video=0)) > COUNT // 4  # of B
    video = read_video(path)
    assert numbers(video.frames) == list(range(COUNT)) and abs(video.fps - RATE) < 0.01
    assert len(read_signals(path).frames["seconds"]) == COUNT
    late = numbers(read_clip(path, num_frames=5, fps=RATE, start=1.0))
    assert late == list(range(25, 30))
