"""Frames -> files, by suffix; unsupported values are refused or reported, never changed silently.

    .mp4   H.264, 4:2:0, plays everywhere; odd sizes are padded
    .webm  VP9, 4:2:0
    .gif   256 colours chosen for the whole video; times in hundredths of a second
    .png   one picture; `name-%04d.png` a numbered sequence
    .mkv   FFV1 in RGB: every pixel exact

Here: encoding, and writing what is encoded. Not here: reading (read.py), packets between the two
(spool.py), containers (mux.py), places and temporary files (files.py).
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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
from minisora.outside import as_path
from minisora.video.files import cannot_write, check_place, delivered, replacing
from minisora.video.mux import Container, Part, mux, mux_gif
from minisora.video.origin import mark
from minisora.video.sound import CODECS, RATE, Mix
from minisora.video.spool import Spool

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
_NUMBERED = re.compile(r"%0?\d?\dd|%d")
_SLOWEST = 0.001  # frames per second
_FASTEST_GIF = 50  # fps: browsers play a delay of one hundredth as ten
# x264's AVX-512 code weighs blocks (mbtree) with what memory holds beyond a row of them, where
# their number is no multiple of eight. Its other code gives the same bytes each time, and on every
# machine.
_SETTLED = {"x264-params": "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"}
X264 = {"preset": "medium", **(_SETTLED if torch.backends.cpu.get_cpu_capability() == "AVX512" else {})}


def check_writable(path: str | Path, *, num_frames: int | None = None) -> None:
    """Check that a file can be written, before any work. Nothing is left behind.

    num_frames: of the video, if known

    Raises UsageError for an unknown suffix, and as `check_place` does.
    """
    path = as_path(path)
    names = written_names(path, num_frames or 1)
    for name in {names[0]: None, names[-1]: None}:
        check_place(name)
    if path.suffix.lower() not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise UsageError(f"{path} has no suffix that names a format to write. End it with one of: {known}.")
    if path.suffix.lower() == ".png" and num_frames is not None and num_frames > 1 and not is_numbered(path):
        raise UsageError(
            f"{path} would hold one picture, and the video has {num_frames}. "
            f"Use .gif or .mp4, or a numbered sequence: {path.with_name(path.stem + '-%04d.png')}."
        )


def is_numbered(path: Path) -> bool:
    """True for the name of a sequence of pictures, such as `name-%04d.png`."""
    return path.suffix.lower() == ".png" and _NUMBERED.search(path.name) is not None


def written_names(path: Path, num_frames: int) -> list[Path]:
    """Files that a video of so many frames becomes: one, or a picture for each frame."""
    if not is_numbered(path):
        return [path]

    def name(number: int) -> str:
        return _NUMBERED.sub(lambda found: found[0] % number, path.name, count=1)

    return [path.with_name(name(number)) for number in range(num_frames)]


def write_video(
    path: str | Path,
    frames: Tensor,
    *,
    fps: float,
    zoom: int = 1,
    crf: int = 17,
    comment: str = "",
    mix: Mix | None = None,
    keep: bool = False,
) -> list[str]:
    """Write one video; the file is there whole or not at all.

    frames:  (T, H, W, 3) uint8 RGB
    fps:     frames per second
    zoom:    every pixel becomes zoom x zoom pixels, unsmoothed
    crf:     quality of .mp4 and .webm: 0 is the best, 51 the worst
    comment: stored in the file's metadata; without one, they name minisora
    mix:     sound, cut at the end of the frames; of .mp4, .webm and .mkv alone
    keep:    the place was checked before the work; if it fails now, the video goes elsewhere
    returns  a line for each difference between the file and the input; empty if there is none

    Raises UsageError when the format cannot hold the video or the file cannot be written; if it is
    kept elsewhere, the message says where.
    """
    if not keep:
        check_writable(path, num_frames=len(frames))
    return write_stream(path, [frames], fps=fps, zoom=zoom, crf=crf, comment=comment, mix=mix, keep=keep)


def write_stream(
    path: str | Path,
    pieces: Iterable[Tensor],
    *,
    fps: float,
    zoom: int = 1,
    crf: int = 17,
    comment: str = "",
    mix: Mix | None = None,
    keep: bool = False,
) -> list[str]:
    """Like `write_video`, for a stream of pieces, one in memory at a time.

    pieces: (n, H, W, 3) uint8 RGB each, all of one size, at least one
    """
    path, rest = as_path(path), iter(pieces)
    if not keep:
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
    pictures = _Pictures(chain([first], rest), first.shape[1], first.shape[2], zoom)
    rate = Fraction(fps).limit_denominator(100_000)
    try:
        with Spool(path) as spool:
            job = _Job(path, pictures, rate, crf, comment or mark(), mix, keep, spool)
            _WRITERS[path.suffix.lower()](job)
            return job.notes
    except av.FFmpegError as error:
        raise cannot_write(path, OSError(error.errno, error.strerror)) from error


def write_picture(path: str | Path, picture: Image.Image) -> None:
    """Write a .png that is no frame of a video, such as a contact sheet.

    Raises UsageError for another suffix, and if it cannot be written.
    """
    path = as_path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: such a picture is a .png. Name one.")
    with replacing(path) as temporary:
        picture.save(temporary, format="png", pnginfo=_chunk(mark()))


class _Pictures:
    """Frames as arrays, enlarged one at a time; can be iterated once.

    every: take every n-th frame
    """

    def __init__(self, pieces: Iterator[Tensor], height: int, width: int, zoom: int) -> None:
        self.pieces, self.zoom, self.every = pieces, zoom, 1
        self.height, self.width = height * zoom, width * zoom

    def __iter__(self) -> Iterator[Pixels]:
        frames = (frame for piece in self.pieces for frame in piece)
        for frame in islice(frames, 0, None, self.every):
            array = frame.cpu().numpy()
            yield np.ascontiguousarray(array.repeat(self.zoom, axis=0).repeat(self.zoom, axis=1))


@dataclass(eq=False)
class _Job:
    """One video to write. First all frames are encoded into the spool, then the file is made."""

    path: Path
    pictures: _Pictures
    fps: Fraction
    crf: int
    comment: str
    mix: Mix | None
    keep: bool
    spool: Spool
    notes: list[str] = field(default_factory=list)

    def deliver(self, write: Callable[[Path], None]) -> None:
        """Write the file or files in their place, or elsewhere."""
        if self.keep:
            delivered(self.path, write, lambda place: written_names(place, self.spool.count))
        else:
            write(self.path)

    def deliver_whole(self, write: Callable[[Path], None]) -> None:
        """Write the file at a temporary path, and rename it."""

        def through(place: Path) -> None:
            with replacing(place) as temporary:
                try:
                    write(temporary)
                except av.FFmpegError as error:
                    raise cannot_write(place, OSError(error.errno, error.strerror)) from error

        self.deliver(through)

    def mux(self, kind: str, parts: Sequence[Part], options: Mapping[str, str]) -> None:
        """Make the file as a container of the encoded frames and sound."""
        self.deliver_whole(lambda temporary: mux(Container(temporary, kind, options, self.comment), parts))


@contextmanager
def _encoded(
    job: _Job, kind: str, codec: str, pixels: str, options: Mapping[str, str], even: bool = False
) -> Iterator[list[Part]]:
    """Encode all pictures, then the sound; yields what a container is made of.

    kind: container that they are for
    even: pad to even sizes
    """
    pictures, fps = job.pictures, job.fps
    down, across = (pictures.height % 2, pictures.width % 2) if even else (0, 0)
    with av.open(os.devnull, "w", format=kind) as nowhere, Spool(job.path) as heard:
        stream = cast(av.VideoStream, nowhere.add_stream(codec, rate=fps, options=dict(options)))
        stream.width, stream.height, stream.pix_fmt = pictures.width + across, pictures.height + down, pixels
        context = stream.codec_context
        context.time_base = 1 / fps
        matrix, span = None, None
        if pixels == "yuv420p":
            context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709: a player must not guess
            context.color_range = int(ColorRange.MPEG)
            matrix, span = Colorspace.ITU709, ColorRange.MPEG
        by = CODECS.get(job.path.suffix.lower(), "")
        sound = None if job.mix is None else nowhere.add_stream(by, rate=RATE, layout="stereo")
        nowhere.start_encoding()
        convert, edge = VideoReformatter(), ((0, down), (0, across), (0, 0))
        for number, picture in enumerate(pictures):
            frame = convert.reformat(
                av.VideoFrame.from_ndarray(np.pad(picture, edge, mode="edge"), "rgb24"),
                format=pixels,
                dst_colorspace=matrix,
                dst_color_range=span,
                interpolation=Interpolation.AREA,
            )
            frame.pts, frame.time_base = number, 1 / fps
            job.spool.keep(stream.encode(frame))
        job.spool.keep(stream.encode(None))
        parts: list[Part] = [(stream, job.spool)]
        if isinstance(sound, av.AudioStream) and _encode_sound(job, sound, heard):
            parts.append((sound, heard))
        yield parts


def _encode_sound(job: _Job, stream: av.AudioStream, spool: Spool) -> bool:
    """Encode as many seconds of sound as there are of frames; False, and a note, if that fails."""
    assert job.mix is not None
    start = 0
    try:
        for block in job.mix.blocks(job.spool.count / float(job.fps)):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE, start
            spool.keep(stream.encode(frame))
            start += block.shape[1]
        spool.keep(stream.encode(None))
    except av.FFmpegError as error:
        job.notes.append(f"{job.path.name}: the sound cannot be written ({error.strerror}) and is left out")
        return False
    job.notes += job.mix.notes
    return True


def _write_mp4(job: _Job) -> None:
    height, width = job.pictures.height, job.pictures.width
    if height % 2 or width % 2:
        job.notes.append(
            f"{job.path.name}: H.264 holds even sizes only, so {height}x{width} (rows x columns) "
            f"was padded to {height + height % 2}x{width + width % 2} by repeating the edge"
        )
    options = {**X264, "crf": str(job.crf)}
    with _encoded(job, "mp4", "libx264", "yuv420p", options, even=True) as parts:
        job.mux("mp4", parts, {"movflags": "+faststart"})


def _write_webm(job: _Job) -> None:
    options = {"crf": str(job.crf), "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}
    with _encoded(job, "webm", "libvpx-vp9", "yuv420p", options) as parts:
        job.mux("webm", parts, {})


def _write_mkv(job: _Job) -> None:
    with _encoded(job, "matroska", "ffv1", "bgr0", {"level": "3", "slicecrc": "1"}) as parts:
        job.mux("matroska", parts, {})


def _write_gif(job: _Job) -> None:
    if job.fps > _FASTEST_GIF:
        job.pictures.every = math.ceil(job.fps / _FASTEST_GIF)
        job.notes.append(
            f"{job.path.name}: a gif plays at most {_FASTEST_GIF} frames a second, not {float(job.fps):g}: "
            f"of {job.pictures.every} frames in a row it holds the first"
        )
        job.fps /= job.pictures.every
    if (100 / job.fps).denominator != 1:
        job.notes.append(
            f"{job.path.name}: a gif holds times in hundredths of a second, so at {float(job.fps):g} fps "
            f"its frames last {math.floor(100 / job.fps) / 100:g} or {math.ceil(100 / job.fps) / 100:g} s"
        )
    shape = job.pictures.height, job.pictures.width, 3
    for picture in job.pictures:
        job.spool.keep([av.Packet(picture.tobytes())])

    def pictures() -> Iterator[Pixels]:
        return (np.frombuffer(bytes(packet), np.uint8).reshape(shape) for packet in job.spool.packets())

    job.deliver_whole(lambda temporary: mux_gif(temporary, pictures, job.fps, job.comment))


def _write_png(job: _Job) -> None:
    for picture in job.pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="png", pnginfo=_chunk(job.comment))
        job.spool.keep([av.Packet(file.getvalue())])
        if not is_numbered(job.path):
            break

    def write(place: Path) -> None:
        with ExitStack() as all_or_none:
            for name, packet in zip(written_names(place, job.spool.count), job.spool.packets(), strict=True):
                all_or_none.enter_context(replacing(name)).write_bytes(bytes(packet))

    job.deliver(write)
    if is_numbered(job.path):
        job.notes.append(f"{job.path.name}: pictures hold no rate; these were made for {float(job.fps):g} fps")


def _chunk(comment: str) -> PngInfo:
    info = PngInfo()
    info.add_itxt("Comment", comment)
    return info


_WRITERS: dict[str, Callable[[_Job], None]] = {
    ".mp4": _write_mp4,
    ".webm": _write_webm,
    ".gif": _write_gif,
    ".png": _write_png,
    ".mkv": _write_mkv,
}
SUFFIXES = tuple(_WRITERS)
