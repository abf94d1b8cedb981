"""Files of known numbers and tags, and what ffmpeg's zscale makes of them."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

PRIMARIES = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020", 11: "smpte431", 12: "smpte432", 22: "jedec-p22"}
TRANSFERS = {1: "bt709", 6: "smpte170m", 8: "linear", 13: "iec61966-2-1", 14: "bt2020-10"}
TRANSFERS |= {16: "smpte2084", 18: "arib-std-b67"}
MATRICES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco"}
MATRICES |= {9: "bt2020nc", 12: "chroma-derived-nc", 14: "ictcp"}


def frame_of(planes, pixel_format, *, primaries=2, transfer=2, matrix=2, full=False) -> av.VideoFrame:
    """A frame of these numbers. planes: (H, W) each, as large as the format's"""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, numbers in zip(frame.planes, planes, strict=True):
        kind = np.dtype(np.float32 if "f32" in pixel_format else np.uint16 if numbers.dtype.itemsize > 1 else np.uint8)
        lines = np.zeros((plane.height, plane.line_size // kind.itemsize), kind)
        lines[:, : numbers.shape[1]] = numbers
        plane.update(lines.tobytes())
    frame.color_primaries, frame.color_trc, frame.colorspace = primaries, transfer, matrix
    frame.color_range = 2 if full else 1
    return frame


def write(path: Path, frames, *, codec="ffv1", options=None, rotation=None, rate=25) -> Path:
    """Write frames with the tags of the first."""
    frames = list(frames)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
            setattr(stream.codec_context, name, getattr(frames[0], name))
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def stripes(columns, height=32, width=16):
    """Planes of upright stripes. columns: (stripes, planes) numbers"""
    columns = np.asarray(columns)
    return [np.repeat(columns[:, plane], width)[None].repeat(height, 0) for plane in range(columns.shape[1])]


def seen(picture, count):
    """(count, 3): the middles of the stripes of a picture."""
    picture = np.asarray(picture).astype(int)
    return np.array([picture[len(picture) // 2, int((n + 0.5) * picture.shape[1] / count)] for n in range(count)])


@cache
def ffmpeg() -> str | None:
    """The ffmpeg of this machine, if it has zscale."""
    path = shutil.which("ffmpeg")
    if path is None:
        return None
    filters = subprocess.run([path, "-hide_banner", "-filters"], capture_output=True, text=True).stdout
    return path if " zscale " in filters else None


def zscaled(planes, pixel_format, filters, *, primaries, transfer, matrix, full=False):
    """(H, W, 3) float32 R, G, B of planes with these tags. filters: such as "zscale=p=bt709"."""
    height, width = planes[0].shape
    tags = f"color_primaries={PRIMARIES[primaries]}:color_trc={TRANSFERS[transfer]}:colorspace={MATRICES[matrix]}"
    chain = f"setparams={tags}:range={'pc' if full else 'tv'},{filters},format=gbrpf32le"
    raw = ["-f", "rawvideo", "-pix_fmt"]
    command = [ffmpeg(), "-v", "error", *raw, pixel_format, "-s", f"{width}x{height}", "-i", "-", "-vf", chain]
    data = b"".join(plane.astype(np.uint16).tobytes() for plane in planes)
    done = subprocess.run([*command, *raw, "gbrpf32le", "-"], input=data, capture_output=True)
    assert not done.returncode, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32).reshape(3, height, width)[[2, 0, 1]].transpose(1, 2, 0)
