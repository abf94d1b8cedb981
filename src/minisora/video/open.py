"""Opening files: what a file is, which of its streams stands for it, and what is refused by name.

A file may hold several videos, still pictures next to moving ones, or parts that were joined later.
What is read has to agree with what the file says of itself; otherwise the file is refused.

Here: opening for every reader of the package, the choice of a stream, refusals.
Not here: decoding (decode.py), colours (colour.py).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

import av
from av.stream import Disposition
from PIL import Image, UnidentifiedImageError

from minisora.errors import InputError

Reason = Literal["missing", "empty", "unreadable", "no_video", "truncated", "several"]
Container = av.container.InputContainer
VideoStream = av.VideoStream

_PLAYLISTS = {
    *("hls", "dash", "concat", "sdp", "rtsp", "rtp", "sap", "image2", "image2pipe", "imf", "avisynth", "vapoursynth"),
    *("lavfi", "hds", "smoothstreaming", "webm_dash_manifest"),
}  # formats that open other files or addresses
_TEXT_ART = {"tty", "bin", "xbin", "adf", "idf"}  # FFmpeg renders text files as videos
_PATTERN = set("%*?[]{}")  # in a name: FFmpeg might take it for a numbered sequence
_MOTION_JPEG = (".mjpeg", ".mjpg")
_CLOCK_MAY_JUMP = 0x0200  # AVFMT_TS_DISCONT
_RAW = ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .srw .x3f"
_DNG_VERSION = 50706  # TIFF tag of raw photographs
_DOCUMENTS = {b"%PDF": "a PDF", b"%!PS": "PostScript", b"\xd0\xcf\x11\xe0": "an office document"}
_LISTS = {b"#EXTM3U": "a playlist", b"ffconcat": "a playlist", b"<MPD": "a playlist", b"v=0\n": "a session description"}
_PICTURES = (
    *("PNG", "JPEG", "TIFF", "BMP", "DIB", "TGA", "PPM", "WEBP", "AVIF", "JPEG2000", "ICO", "ICNS", "PCX", "SGI"),
    *("DDS", "QOI", "PSD", "GIF"),
)  # formats that Pillow itself decodes, without other programs


class Refused(InputError):
    """A file that gives no frames. reason: one of `Reason`"""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)


def check_file(path: Path) -> None:
    """Raise Refused for what is no file of pictures by its kind, its size, or its first bytes."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise Refused("missing", f"there is no file {path}. Check the name.") from None
    except (OSError, ValueError) as error:
        raise Refused("unreadable", f"{path} may not be read: {getattr(error, 'strerror', error)}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise Refused("unreadable", f"{path} is a folder. Name one file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("unreadable", f"{path} is a pipe or a device, which cannot be sought. Save it as a file first.")
    if not status.st_size:
        raise Refused("empty", f"{path} is empty (0 bytes). Try another copy.")
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise Refused("unreadable", f"{path} may not be read: {error.strerror}.".lower()) from None
    for magic, what in _DOCUMENTS.items():
        if head.startswith(magic):
            raise Refused("no_video", f"{path} is {what}. Save its page as a picture first.")
    for magic, what in _LISTS.items():
        if head.startswith(magic) or (magic == b"<MPD" and magic in head):
            raise Refused("no_video", f"{path} is {what}, which names other files. Give one of these.")
    if path.suffix.lower() in _RAW.split() or head[8:10] == b"CR" or head[4:12] == b"ftypcrx ":
        raise _raw(path)


def _raw(path: Path) -> Refused:
    return Refused("no_video", f"{path} is a raw photograph. Develop it to a TIFF, PNG or JPEG first.")


@cache
def _formats() -> str:
    """Names of the formats that may be opened, for FFmpeg's option `format_whitelist`."""
    return ",".join(sorted(av.formats_available - _PLAYLISTS - _TEXT_ART))


@contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Open a file's container. It opens no other file, and no address.

    Raises Refused for what cannot be opened.
    """
    check_file(path)
    options = {"protocol_whitelist": "file", "format_whitelist": _formats()}
    file: str | BinaryIO = f"file:{path}"  # or a colon in the name would name a protocol
    if _PATTERN & set(path.name) or not _is_text(path):
        file = path.open("rb")
    try:
        container = av.open(file, options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError, SystemError) as error:
        raise Refused("unreadable", _why_not(path, error)) from error
    assert isinstance(container, Container)
    with container:
        yield container


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return False
    return True


def _why_not(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{path} cannot be decoded: {reason}. It is damaged, cut short, or no video. Try another copy."


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Container, av.VideoStream]]:
    """Open a file, and the stream that stands for it (`best`).

    Raises Refused for what cannot be opened or holds no video, for photographs in tiles, and for
    recordings that were joined so that all but the first would be lost.
    """
    with open_container(path) as container:
        stream = best(container)
        if stream is None:
            kinds = ", ".join(sorted({one.type for one in container.streams}))
            raise Refused("no_video", f"{path} holds no video (only {kinds or 'an empty container'}). Give a video.")
        if stream.disposition & Disposition.dependent:
            raise Refused(
                "no_video",
                f"{path} is a photograph in tiles (HEIC). pip install 'minisora[heic]' reads it, or save it as a JPEG.",
            )
        if stream.codec_context is None:
            raise Refused("unreadable", f"{path} is coded in a way that nothing here decodes, or it is damaged.")
        if container.format.name.startswith("mov") and _count_boxes(path, b"moov") > 1:
            raise Refused("several", f"{path} holds several recordings, joined byte by byte. Give them one by one.")
        yield container, stream


def best(container: Container) -> av.VideoStream | None:
    """Choose a stream: moving before still, whole before part, the default, then the largest.

    FFmpeg's own command takes the default and the largest too. Cover pictures do not count.
    """

    def rank(stream: av.VideoStream) -> tuple[bool, bool, bool, int]:
        flags, context = stream.disposition, stream.codec_context
        moving = not flags & (Disposition.still_image | Disposition.timed_thumbnails) and stream.frames != 1
        area = context.width * context.height if context is not None else 0
        return moving, not flags & Disposition.dependent, bool(flags & Disposition.default), area

    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    return max(streams, key=rank, default=None)


def best_sound(container: Container) -> av.AudioStream | None:
    """Choose a sound stream: default by its flag, then the one with most channels."""

    def rank(stream: av.AudioStream) -> tuple[bool, int]:
        return bool(stream.disposition & Disposition.default), stream.channels

    return max(container.streams.audio, key=rank, default=None)


def open_picture(path: Path) -> Image.Image | None:
    """Open a picture with Pillow; None for what Pillow does not read, and for Motion JPEG.

    Raises Refused for several pages, raw photographs and more pixels than memory holds.
    """
    check_file(path)
    if path.suffix.lower() in _MOTION_JPEG:  # Pillow would take the first frame for the whole
        return None
    try:
        picture = Image.open(path, formats=_picture_formats())
    except Image.DecompressionBombError as error:
        raise Refused("unreadable", f"{path} is too large a picture: {error}.") from error
    except (UnidentifiedImageError, ValueError, SyntaxError):
        return None
    if picture.format == "TIFF":
        pages = getattr(picture, "n_frames", 1)
        if _DNG_VERSION in getattr(picture, "tag_v2", {}):
            raise _raw(path)
        if pages > 1:
            raise Refused("several", f"{path} has {pages} pages. Save the one that is meant as a picture of its own.")
    return picture


@cache
def _picture_formats() -> tuple[str, ...]:
    """Formats that Pillow may open; HEIC too if the extra `heic` is installed."""
    try:
        import pillow_heif
    except ImportError:
        return _PICTURES
    pillow_heif.register_heif_opener()
    return (*_PICTURES, "HEIF")


def clock_may_jump(container: Container) -> bool:
    """True for formats of broadcasts, whose clock may begin anew."""
    return bool(container.format.flags & _CLOCK_MAY_JUMP)


@lru_cache(maxsize=256)
def _boxes(path: Path, size: int, modified: int) -> tuple[bytes, ...]:
    kinds, at = list[bytes](), 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(1024)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:], "big")
            kinds.append(kind)
            if length < 8:  # to the end of the file, or damaged
                break
            at += length
    return tuple(kinds)


def _count_boxes(path: Path, kind: bytes) -> int:
    """Number of boxes of a kind in an MP4 file (ISO/IEC 14496-12, 4.2), outside of others."""
    status = path.stat()
    return _boxes(path, status.st_size, status.st_mtime_ns).count(kind)
