"""The process that decodes one file from a client, and says what it is.

It has a bound on memory and time, writes no files, and on Linux no network where the system lets a
process give it up. FFmpeg is told to open no other file and no address (video/open.py) in any case.
The whole file is decoded, so that a damaged one is refused at the door.

Here: what runs in that process; it imports no torch. Not here: starting it (inspection.py).
"""

from __future__ import annotations

import base64
import ctypes
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisora.errors import UsageError
from minisora.studio.api.settings import DownloadBounds, UploadBounds

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_SIDE = 320
MOST_TILES, MOST_COLUMNS, TILE, GAP = 48, 6, 128, 4  # of a contact sheet; pixels
_PAPER = (24, 24, 24)
_MOST_COMMENT = 1 << 18  # letters
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of unshare(2)
_DIE_WITH_PARENT, _NO_NEW_PRIVILEGES = 1, 38  # PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS of prctl(2)
_KILLED = 9
_PICTURES = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp", "GIF": "gif", "AVIF": "avif", "BMP": "bmp", "TIFF": "tiff"}
_WEB_CODECS = {"vp8", "vp9", "av1"}


def main() -> None:
    """Inspect the file of the first argument within the bounds of the second, as JSON.

    With a third argument, a contact sheet is drawn too.
    """
    path, bounds = Path(sys.argv[1]), UploadBounds(**json.loads(sys.argv[2]))
    leave_network()
    limit(bounds)
    try:
        found = inspect(path, bounds, with_sheet=len(sys.argv) > 3)
    except UsageError as error:
        found = {"refused": str(error)}
    except MemoryError:
        found = {"refused": f"{path} takes too much memory to be decoded."}
    print(json.dumps(found))


def command(path: Path, bounds: UploadBounds, *, with_sheet: bool = False) -> list[str]:
    """Command line of the process."""
    code = f"from {__name__} import main; main()"
    more = ["sheet"] if with_sheet else []
    return [sys.executable, "-B", "-P", "-c", code, str(path), json.dumps(asdict(bounds)), *more]


def environment() -> dict[str, str]:
    """Environment of the process: the same modules, few threads, nothing else of the server's."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**kept, **threads, "MALLOC_ARENA_MAX": "2", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def leave_network() -> bool:
    """Move to a network of its own, without any device; False where the system does not allow it.

    It needs a process of one thread: call it before anything else.
    """
    if not sys.platform.startswith("linux"):
        return False
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_DIE_WITH_PARENT, _KILLED)
    system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return any(system.unshare(flags) == 0 for flags in (_NEW_USER | _NEW_NETWORK, _NEW_NETWORK))


def limit(bounds: UploadBounds | DownloadBounds, file_bytes: int = 0) -> None:
    """Bound this process's memory, time, files and threads. file_bytes: that it may write to one"""
    if sys.platform == "win32":
        return
    import resource

    seconds = max(1, round(bounds.decode_seconds))
    for kind, most in (
        (resource.RLIMIT_AS, bounds.decode_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(kind, (most, most))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # FFmpeg starts a thread for each core


def inspect(path: Path, bounds: UploadBounds, *, with_sheet: bool = False) -> dict[str, Any]:
    """Decode a whole file.

    returns  kind (picture or video), type, width, height, fps, num_frames, thumbnail and sheet
             (JPEG in base64; the sheet empty if it is not wanted) and request, the saved request in
             a file of ours or None

    Raises UsageError for what is none, is damaged or exceeds the bounds.
    """
    from PIL import Image

    from minisora.video.decode import decodable, decode

    Image.MAX_IMAGE_PIXELS = bounds.pixels
    with decodable(path):
        about = _header(path, bounds)
    count, lasted, rate, first, tiles = 0, 0.0, 1.0, None, Tiles()
    with closing(decode(path, 0.0, "white")) as shown:
        for frame in shown:
            count, lasted, rate = count + 1, frame.seconds + frame.duration, frame.rate
            if count > bounds.frames or lasted > bounds.seconds:
                raise UsageError(
                    f"{path} is longer than {bounds.frames} frames or {bounds.seconds:g} s. Send a stretch of it."
                )
            if first is None:
                first = frame.pixels()
                _check_size(path, first.shape[1], first.shape[0], bounds)
            if with_sheet:
                tiles.add(frame.pixels)
            if about["kind"] == "picture":
                break
    assert first is not None  # decode gives one frame at least
    picture = Image.fromarray(first)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    pictures = {"thumbnail": _jpeg(picture), "sheet": _jpeg(tiles.sheet()) if with_sheet else ""}
    fps = count / lasted if about["kind"] == "video" and lasted > 0 else rate
    size = {"width": first.shape[1], "height": first.shape[0], "fps": fps, "num_frames": count}
    return {**about, **size, **pictures}


class Tiles:
    """Evenly spaced frames of a video whose length is not known before."""

    def __init__(self) -> None:
        self._kept: list[Image.Image] = []
        self._count, self._step = 0, 1

    def add(self, pixels: Callable[[], Any]) -> None:
        """Take the next frame, if it is one to keep. pixels: gives it, (H, W, 3) uint8"""
        from PIL import Image

        if self._count % self._step == 0:
            tile = Image.fromarray(pixels())
            tile.thumbnail((MOST_COLUMNS * TILE, TILE))
            self._kept.append(tile)
        self._count += 1
        if len(self._kept) == 2 * MOST_TILES:
            self._kept, self._step = self._kept[::2], 2 * self._step

    def sheet(self) -> Image.Image:
        """Lay the frames out in rows, as `Video.contact_sheet` does."""
        from PIL import Image

        last, most = len(self._kept) - 1, min(MOST_TILES, len(self._kept))
        chosen = [self._kept[round(n * last / max(1, most - 1))] for n in range(most)]
        (width, height), columns = chosen[0].size, min(MOST_COLUMNS, most)
        rows = -(-most // columns)
        sheet = Image.new("RGB", (GAP + columns * (width + GAP), GAP + rows * (height + GAP)), _PAPER)
        for n, tile in enumerate(chosen):
            sheet.paste(tile, (GAP + n % columns * (width + GAP), GAP + n // columns * (height + GAP)))
        return sheet


def _jpeg(picture: Image.Image) -> str:
    small = io.BytesIO()
    picture.save(small, "JPEG", quality=85)
    return base64.b64encode(small.getvalue()).decode()


def _header(path: Path, bounds: UploadBounds) -> dict[str, Any]:
    """Kind, type and saved request of a file, from its header; too large frames are refused."""
    from minisora.video.open import open_picture, open_video

    if (picture := open_picture(path)) is not None:
        with picture:
            _check_size(path, *picture.size, bounds)
            count, name = getattr(picture, "n_frames", 1), picture.format or ""
            moving = count > 1 and name in ("GIF", "WEBP", "PNG", "AVIF")
            comment = str(getattr(picture, "text", {}).get("Comment", "")) if name == "PNG" else ""
        kind = f"image/{_PICTURES[name]}" if name in _PICTURES else "application/octet-stream"
        return {"kind": "video" if moving else "picture", "type": kind, "request": _request(comment)}
    with open_video(path) as (container, stream):
        _check_size(path, stream.codec_context.width, stream.codec_context.height, bounds)
        tags = {name.lower(): value for name, value in container.metadata.items()}
        kind = _video_type(container.format.name, stream.codec_context.name, tags)
        return {"kind": "video", "type": kind, "request": _request(tags.get("comment", ""))}


def _check_size(path: Path, width: int, height: int, bounds: UploadBounds) -> None:
    if width * height > bounds.pixels:
        raise UsageError(f"{path} has frames of {width}x{height}; {bounds.pixels:,} pixels are the most. Reduce it.")


def _video_type(container: str, codec: str, tags: Mapping[str, str]) -> str:
    if container.startswith("mov"):
        return "video/quicktime" if tags.get("major_brand", "").startswith("qt") else "video/mp4"
    if container.startswith("matroska"):
        return "video/webm" if codec in _WEB_CODECS else "video/x-matroska"
    return {"avi": "video/x-msvideo", "mpegts": "video/mp2t"}.get(container, "application/octet-stream")


def _request(comment: str) -> dict[str, Any] | None:
    """Saved request in a file's comment, as it was written."""
    try:
        data = json.loads(comment) if len(comment) <= _MOST_COMMENT else None
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and {"format", "verb", "request"} <= data.keys() else None
