"""Clips and pictures of a request: from files, from memory, or named by a saved request.

A saved request holds no paths and no pixels. It names a file by its name and the SHA-256 of its
bytes, and frames from memory by the SHA-256 of their size and pixels; both can be found in a folder
again.

Here: the types of such fields, opening and finding media. Not here: reading files (video/), the
requests (verbs.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from minisora.errors import UsageError
from minisora.outside import as_path

if TYPE_CHECKING:
    from torch import Tensor

    from minisora.video import Video


@dataclass(frozen=True)
class Named:
    """A clip or a picture in a saved request. name: of its file; None for frames from memory"""

    name: str | None
    sha256: str

    def __str__(self) -> str:
        return f"{self.name or 'frames from memory'} (SHA-256 {self.sha256[:12]})"


def _media(value: Any) -> Any:
    if isinstance(value, str | Path):
        return as_path(value)
    if isinstance(value, Mapping):
        if value.keys() != {"name", "sha256"} or not isinstance(value["sha256"], str):
            raise ValueError("a file, or a name and its sha256")
        return Named(**value)
    if isinstance(value, Named):
        return value
    import torch

    from minisora.video import Video

    if isinstance(value, torch.Tensor):
        value = _picture(value)
    if not isinstance(value, Video):
        raise ValueError("a file, a Video or, of a picture, (H, W, 3) uint8")
    return value


def _picture(pixels: Tensor) -> Video:
    """Video of one frame from (H, W, 3) uint8, or from (H, W) bool as black and white."""
    import torch

    from minisora.video import Video

    if pixels.dtype == torch.bool and pixels.ndim == 2:
        pixels = (255 * pixels[:, :, None].to(torch.uint8)).expand(-1, -1, 3)
    if pixels.dtype != torch.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise ValueError(f"a picture of (H, W, 3) uint8, not {tuple(pixels.shape)} {pixels.dtype}")
    return Video(pixels[None], 1.0)


def named(value: Path | Named | Video) -> dict[str, str | None]:
    """JSON of a clip or a picture for a saved request."""
    if isinstance(value, Path):
        return {"name": value.name, "sha256": _of_file(value)}
    if isinstance(value, Named):
        return {"name": value.name, "sha256": value.sha256}
    if value.source is not None:
        return {"name": value.source.path.name, "sha256": value.source.sha256}
    return {"name": None, "sha256": _of_frames(value)}


_AS_MEDIA = (
    PlainValidator(_media),
    PlainSerializer(named),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"name": {"type": ["string", "null"]}, "sha256": {"type": "string"}},
            "required": ["name", "sha256"],
        }
    ),
)
if TYPE_CHECKING:
    Clip = str | Path | Video | Named
    Picture = str | Path | Tensor | Video | Named
else:
    Clip = Annotated[Any, *_AS_MEDIA]
    Picture = Annotated[Any, *_AS_MEDIA]


def clip(value: Clip) -> Video:
    """Read a clip; a Video is returned unchanged.

    Raises UsageError for a file that cannot be read.
    """
    from minisora.video import Source, Video, read_video

    if isinstance(value, Video):
        return value
    path = _path(value)
    return read_video(path).of(Source(path, _of_file(path)))


def picture(value: Picture) -> Video:
    """Read a picture as a video of one frame; a Video is returned unchanged.

    Raises UsageError for a file that cannot be read.
    """
    from minisora.video import Source, Video, read_image

    if isinstance(value, Video):
        return value
    path = _path(value)  # type: ignore[arg-type]  # validation made a video of a tensor
    return Video(read_image(path)[None], 1.0).of(Source(path, _of_file(path)))


def display_name(value: Video, otherwise: str) -> str:
    """Name of a clip or a picture in notes: its file, or `otherwise` for frames from memory."""
    return otherwise if value.source is None else str(value.source.path)


def files(value: Any) -> Iterator[Path]:
    """Files that a request reads: its media and its storyboard, if they come from files."""
    from minisora.video import Video

    if isinstance(value, Path):
        yield value
    elif isinstance(value, Video):
        yield from (sound.path for sound in value.sound)
        if value.source is not None:
            yield value.source.path
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from files(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from files(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from files(getattr(value, each.name))


def found(value: Named, folder: Path) -> Path | Video:
    """Find media of a saved request in a folder: the file, or a video with the same frames.

    Raises UsageError if no file of the folder matches.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if value.name is not None:
        for path in sorted(files, key=lambda path: path.name != value.name):
            if _of_file(path) == value.sha256:
                return path
        raise UsageError(f"{folder} has no file that is {value}. Put it there: any name will do.")
    from minisora.video import read_video

    for path in files:
        try:
            video = read_video(path)
        except UsageError:
            continue
        if _of_frames(video) == value.sha256:
            return video
    raise UsageError(
        f"{folder} has no file whose frames are {value}. Save them there without loss, as .mkv or .png, or make the "
        "request again in Python."
    )


def _path(value: str | Path | Named) -> Path:
    if isinstance(value, Named):
        raise UsageError(f"{value} is named by a saved request only. Say in which folder it is: --media FOLDER.")
    return as_path(value)


def _of_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def _of_frames(video: Video) -> str:
    frames = video.frames.cpu().contiguous()
    return hashlib.sha256(repr(tuple(frames.shape)).encode() + frames.numpy().tobytes()).hexdigest()
