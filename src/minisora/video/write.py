"""Frames -> files, by suffix; unsupported values are refused or reported, never changed silently.

    .mp4   H.264, 4:2:0, plays everywhere; odd sizes are padded
    .webm  VP9, 4:2:0
    .gif   256 colours chosen for the whole video; times in hundredths of a second
    .png   one picture; `name-%04d.png` a numbered sequence
    .mkv   FFV1 in RGB: every pixel exact

Here: writing. Not here: reading (read.py), the temporary file (files.py).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import torch
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from minisora.errors import UsageError
from minisora.video.files import cannot_write, replacing

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
_NUMBERED = re.compile(r"%0?\d*d")
_SLOWEST = 0.001  # frames per second
_FASTEST_GIF = 50  # fps: browsers play a delay of one hundredth as ten
# x264's AVX-512 code weighs blocks (mbtree) with what memory holds beyond a row of them, where
# their number is no multiple of eight. Its other code gives the same bytes each time, and on every
# machine.
_SETTLED = {"x264-params": "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"}
X264 = {"preset": "medium", **(_SETTLED if torch.backends.cpu.get_cpu_capability() == "AVX512" else {})}


def check_writable(path: str | Path, *, num_frames: int | None = None) -> None:
    """Check that a file can be written, before any work.

    num_frames: of the video, if known

    Raises UsageError for a folder, an unknown suffix, a folder that is missing or not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file in it, such as {path / 'video.mp4'}.")
    if path.suffix.lower() not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise UsageError(f"{path} has no suffix that names a format to write. End it with one of: {known}.")
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {folder}. Make it first.")
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise UsageError(f"{path} cannot be written: permission denied. Choose another folder.")
    if path.suffix.lower() == ".png" and num_frames is not None and num_frames > 1 and not _NUMBERED.search(path.name):
        raise UsageError(
            f"{path} would hold one picture, and the video has {num_frames}. "
            f"Use .gif or .mp4, or a numbered sequence: {path.with_name(path.stem + '-%04d.png')}."
        )


def write_video(
    path: str | Path, frames: Tensor, *, fps: float, zoom: int = 1, crf: int = 17, comment: str = ""
) -> list[str]:
    """Write one video; the file is there whole or not at all.

    frames:  (T, H, W, 3) uint8 RGB
    fps:     frames per second
    zoom:    every pixel becomes zoom x zoom pixels, unsmoothed
    crf:     quality of .mp4 and .webm: 0 is the best, 51 the worst
    comment: stored in the file's metadata, in all formats but .gif
    returns  a line for each difference between the file and the input; empty if there is none

    Raises UsageError when the format cannot hold the video or the file cannot be written.
    """
    check_writable(path, num_frames=len(frames))
    return write_stream(path, [frames], fps=fps, zoom=zoom, crf=crf, comment=comment)


def write_stream(
    path: str | Path, pieces: Iterable[Tensor], *, fps: float, zoom: int = 1, crf: int = 17, comment: str = ""
) -> list[str]:
    """Like `write_video`, for a stream of pieces, one in memory at a time (a .gif keeps all).

    pieces: (n, H, W, 3) uint8 RGB each, all of one size, at least one
    """
    path, rest = Path(path), iter(pieces)
    check_writable(path)
    first = next(rest)
    assert first.dtype == torch.uint8 and first.ndim == 4 and first.shape[-1] == 3, (first.dtype, first.shape)
    assert min(first.shape) > 0, first.shape
    if not _SLOWEST <= fps < math.inf:
        raise UsageError(f"fps={fps:g} is no rate that files hold. Give {_SLOWEST:g} or more.")
    if zoom < 1:
        raise UsageError(f"zoom={zoom} is no enlargement. Give 1, 2, 3, ...")
    if not 0 <= crf <= 51:
        raise UsageError(
            f"crf={crf} is out of range. Give 0 (the best) to 51 (the smallest); 17 looks like the source."
        )
    pictures = _Pictures(chain([first], rest), first.shape[1], first.shape[2], zoom, comment)
    try:
        return _WRITERS[path.suffix.lower()](path, pictures, Fraction(fps).limit_denominator(100_000), crf)
    except av.FFmpegError as error:
        raise cannot_write(path, OSError(error.errno, error.strerror)) from error


class _Pictures:
    """Frames as arrays, enlarged one at a time; can be iterated once.

    every: take every n-th frame
    count: frames iterated so far
    """

    def __init__(self, pieces: Iterator[Tensor], height: int, width: int, zoom: int, comment: str) -> None:
        self.pieces, self.zoom, self.comment = pieces, zoom, comment
        self.height, self.width = height * zoom, width * zoom
        self.every, self.count = 1, 0

    def __iter__(self) -> Iterator[Pixels]:
        frames = (frame for piece in self.pieces for frame in piece)
        for frame in islice(frames, 0, None, self.every):
            self.count += 1
            array = frame.cpu().numpy()
            yield np.ascontiguousarray(array.repeat(self.zoom, axis=0).repeat(self.zoom, axis=1))


def _write_mp4(path: Path, pictures: _Pictures, fps: Fraction, crf: int) -> list[str]:
    height, width = pictures.height + pictures.height % 2, pictures.width + pictures.width % 2
    notes = []
    if (height, width) != (pictures.height, pictures.width):
        notes.append(
            f"{path.name}: H.264 holds even sizes only, so {pictures.height}x{pictures.width} (rows x columns) "
            f"was padded to {height}x{width} by repeating the edge"
        )
    with replacing(path) as temporary:
        _encode_yuv(
            temporary,
            "mp4",
            "libx264",
            pictures,
            (height, width),
            fps,
            {**X264, "crf": str(crf)},
            {"movflags": "+faststart"},
        )
    return notes


def _write_webm(path: Path, pictures: _Pictures, fps: Fraction, crf: int) -> list[str]:
    options = {"crf": str(crf), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    with replacing(path) as temporary:
        _encode_yuv(temporary, "webm", "libvpx-vp9", pictures, (pictures.height, pictures.width), fps, options, {})
    return []


def _encode_yuv(
    path: Path,
    container_format: str,
    codec: str,
    pictures: _Pictures,
    size: tuple[int, int],
    fps: Fraction,
    options: dict[str, str],
    container_options: dict[str, str],
) -> None:
    height, width = size
    edge = ((0, height - pictures.height), (0, width - pictures.width), (0, 0))
    with av.open(str(path), "w", format=container_format, options=container_options) as container:
        _put_comment(container, pictures.comment)
        stream = cast(av.VideoStream, container.add_stream(codec, rate=fps, options=options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = 1 / fps
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709: a player must not have to guess
        context.color_range = int(ColorRange.MPEG)
        convert = VideoReformatter()
        for number, picture in enumerate(pictures):
            frame = convert.reformat(
                av.VideoFrame.from_ndarray(np.pad(picture, edge, mode="edge"), format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.AREA,
            )
            frame.pts, frame.time_base = number, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_mkv(path: Path, pictures: _Pictures, fps: Fraction, crf: int) -> list[str]:
    with replacing(path) as temporary, av.open(str(temporary), "w", format="matroska") as container:
        options = {"level": "3", "slicecrc": "1"}
        _put_comment(container, pictures.comment)
        stream = container.add_stream("ffv1", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = pictures.width, pictures.height, "bgr0"
        stream.codec_context.time_base = 1 / fps
        convert = VideoReformatter()
        for number, picture in enumerate(pictures):
            frame = convert.reformat(av.VideoFrame.from_ndarray(picture, format="rgb24"), format="bgr0")
            frame.pts, frame.time_base = number, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return []


def _write_gif(path: Path, pictures: _Pictures, fps: Fraction, crf: int) -> list[str]:
    notes = []
    if fps > _FASTEST_GIF:
        pictures.every = math.ceil(fps / _FASTEST_GIF)
        notes.append(
            f"{path.name}: a gif plays at most {_FASTEST_GIF} frames a second, not {float(fps):g}: "
            f"of {pictures.every} frames in a row it holds the first"
        )
        fps /= pictures.every
    with replacing(path) as temporary, av.open(str(temporary), "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=fps)
        stream.width, stream.height, stream.pix_fmt = pictures.width, pictures.height, "pal8"
        stream.codec_context.time_base = Fraction(1, 100)
        for number, frame in enumerate(_with_palette(pictures, fps)):
            frame.pts, frame.time_base = round(number * 100 / fps), Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if (100 / fps).denominator == 1:
        return notes
    return [
        *notes,
        f"{path.name}: a gif holds times in hundredths of a second, so at {float(fps):g} fps "
        f"its frames last {math.floor(100 / fps) / 100:g} or {math.ceil(100 / fps) / 100:g} s",
    ]


def _with_palette(pictures: _Pictures, fps: Fraction) -> Iterator[av.VideoFrame]:
    """Map all frames to one palette, with ordered dithering, so that still parts do not flicker."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=pictures.width, height=pictures.height, format=av.VideoFormat("rgb24"), time_base=1 / fps
    )
    split, palette = graph.add("split"), graph.add("palettegen", "reserve_transparent=0")
    use, sink = graph.add("paletteuse", "dither=bayer:bayer_scale=4"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, 1 / fps
        source.push(frame)
    source.push(None)
    for _ in range(pictures.count):
        yield sink.pull()  # type: ignore[misc]


def _write_png(path: Path, pictures: _Pictures, fps: Fraction, crf: int) -> list[str]:
    if not _NUMBERED.search(path.name):
        with replacing(path) as temporary:
            Image.fromarray(next(iter(pictures))).save(temporary, format="png", pnginfo=_chunk(pictures.comment))
        return []
    with ExitStack() as all_or_none:
        for number, picture in enumerate(pictures):
            name = path.with_name(_NUMBERED.sub(lambda found: found[0] % number, path.name, count=1))  # noqa: B023
            Image.fromarray(picture).save(all_or_none.enter_context(replacing(name)), format="png")
    return [f"{path.name}: pictures hold no rate; these were made for {float(fps):g} fps"]


def _put_comment(container: av.container.OutputContainer, comment: str) -> None:
    if comment:
        container.metadata["comment"] = comment


def _chunk(comment: str) -> PngInfo | None:
    if not comment:
        return None
    info = PngInfo()
    info.add_itxt("Comment", comment)
    return info


_WRITERS: dict[str, Callable[[Path, _Pictures, Fraction, int], list[str]]] = {
    ".mp4": _write_mp4,
    ".webm": _write_webm,
    ".gif": _write_gif,
    ".png": _write_png,
    ".mkv": _write_mkv,
}
