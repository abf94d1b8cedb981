"""Files of known numbers, tags and profiles, and what ffmpeg's zscale makes of them."""

from __future__ import annotations

import shutil
import struct
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

ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.329))


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
    """Write frames with the tags of the first.

    x265 uses no B-frames: for fewer frames than its delay (2) it gives decoding times from
    memory that it never set.
    """
    frames, options = list(frames), dict(options or {})
    if codec == "libx265":
        options["x265-params"] = f"{options.get('x265-params', 'log-level=none')}:bframes=0"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
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


def xyz(x, y, z):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in (x, y, z)))


def profile(points=ADOBE, gamma=563 / 256, *, space=b"RGB ", kind=b"mntr"):
    """An ICC profile of one curve, for grey or RGB; primaries are adapted to D50 by Bradford."""
    name = b"desc\0\0\0\0" + struct.pack(">I", 4) + b"own\0" + bytes(4 + 4 + 2 + 1 + 67)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(0.9642, 1, 0.8249)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        colours_of = np.array([(x / y, 1, (1 - x - y) / y) for x, y in points[:3]]).T
        white = np.array([points[3][0] / points[3][1], 1, (1 - sum(points[3])) / points[3][1]])
        columns = colours_of * np.linalg.solve(colours_of, white)
        cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
        scale = (cones @ [0.9642, 1, 0.8249]) / (cones @ white)
        columns = np.linalg.inv(cones) @ np.diag(scale) @ cones @ columns
        for letter, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
            tags[letter + b"XYZ"], tags[letter + b"TRC"] = xyz(*column), curve
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for tag, body in tags.items():
        body += bytes(-len(body) % 4)
        table += tag + struct.pack(">II", at + len(data), len(body))
        data += body
    header = struct.pack(">I4sI4s4s4s", at + len(data), b"lcms", 0x02100000, kind, space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + data
