"""Clips and pictures of a request: from files, from memory, or named by a saved request.

`clip.mp4@3-5` is the stretch of a file from 3 to 5 seconds, `clip.mp4@3-` from 3 seconds on. A file
whose whole name is that comes first.

A saved request holds no paths and no pixels. It names a file by its name and the SHA-256 of its
bytes, and frames from memory by the SHA-256 of their size and pixels; both can be found in a folder
again.

Here: the types of such fields, opening and finding media. Not here: reading files (video/), the
requests (verbs.py).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from minisora.errors import UsageError
from minisora.folders import is_hidden, natural
from minisora.outside import as_path

if TYPE_CHECKING:
    from torch import Tensor

    from minisora.video import Video
    from minisora.video.recording import Recording

_STRETCH = re.compile(r"(.+)@(\d+(?:\.\d+)?)s?-(?:(\d+(?:\.\d+)?)s?)?", re.DOTALL)


@dataclass(frozen=True)
class Stretch:
    """A part of a clip's file. start, stop: seconds after its first frame; None: to its end"""

    path: Path
    start: float = 0.0
    stop: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < (math.inf if self.stop is None else self.stop):
            stop = "" if self.stop is None else f"{self.stop:g}"
            raise UsageError(
                f"{self.path}@{self.start:g}-{stop} names no stretch: give seconds from 0 on, the later one last."
            )


@dataclass(frozen=True)
class Named:
    """A clip or a picture in a saved request.

    name:        of its file; None for frames from memory
    start, stop: the stretch of it, in seconds; None: to its end
    """

    name: str | None
    sha256: str
    start: float = 0.0
    stop: float | None = None

    def __str__(self) -> str:
        return f"{self.name or 'frames from memory'} (SHA-256 {self.sha256[:12]})"


def located(path: str | Path) -> Path | Stretch:
    """File, or the stretch of one that `FILE@START-STOP` names.

    Raises UsageError for a stretch that ends before it begins.
    """
    path = as_path(path)
    found = _STRETCH.fullmatch(str(path))
    if found is None or path.exists():
        return path
    return Stretch(Path(found[1]), float(found[2]), None if found[3] is None else float(found[3]))


def _media(value: Any) -> Any:
    if isinstance(value, str | Path):
        return located(value)
    if isinstance(value, Mapping):
        if not {"name", "sha256"} <= value.keys() <= {"name", "sha256", "start", "stop"}:
            raise ValueError("a file, or a name and its sha256")
        if not isinstance(value["sha256"], str):
            raise ValueError("a file, or a name and its sha256")
        return Named(**value)
    if isinstance(value, Stretch | Named):
        return value
    import torch

    from minisora.video import Video
    from minisora.video.recording import Recording

    if isinstance(value, torch.Tensor):
        value = _picture(value)
    if not isinstance(value, Video | Recording):
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


def named(value: Path | Stretch | Named | Video | Recording) -> dict[str, Any]:
    """JSON of a clip or a picture for a saved request."""
    from minisora.video.recording import Recording

    if isinstance(value, Path):
        return {"name": value.name, "sha256": _of_file(value)}
    if isinstance(value, Stretch):
        return {"name": value.path.name, "sha256": _of_file(value.path), **_span(value.start, value.stop)}
    if isinstance(value, Named):
        return {"name": value.name, "sha256": value.sha256, **_span(value.start, value.stop)}
    if isinstance(value, Recording):
        stop = None if value.stop == math.inf else value.stop
        return {"name": value.source.path.name, "sha256": value.source.sha256, **_span(value.start, stop)}
    if value.source is not None:
        return {"name": value.source.path.name, "sha256": value.source.sha256}
    return {"name": None, "sha256": _of_frames(value)}


def _span(start: float, stop: float | None) -> dict[str, float]:
    return {**({"start": start} if start else {}), **({} if stop is None else {"stop": stop})}


_AS_MEDIA = (
    PlainValidator(_media),
    PlainSerializer(named),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "name": {"type": ["string", "null"]},
                "sha256": {"type": "string"},
                "start": {"type": "number", "minimum": 0},
                "stop": {"type": "number"},
            },
            "required": ["name", "sha256"],
        }
    ),
)
if TYPE_CHECKING:
    Clip = str | Path | Stretch | Video | Recording | Named
    Picture = str | Path | Tensor | Video | Named
    Mask = Clip | Tensor
else:
    Clip = Annotated[Any, *_AS_MEDIA, Stretch]
    Picture = Annotated[Any, *_AS_MEDIA]
    Mask = Annotated[Any, *_AS_MEDIA, "mask"]


def is_media(hint: Any) -> bool:
    """True if a field takes a clip or a picture itself, not a container of them."""
    inner = get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]
    return any(_AS_MEDIA[0] in getattr(each, "__metadata__", ()) for each in inner)


def is_clip(hint: Any) -> bool:
    """True if a field takes a clip that is seen, of which a stretch may be named."""
    return _is_marked(hint, Stretch)


def takes_stretch(hint: Any) -> bool:
    """True if a stretch may be named: of a clip, or of a mask, which may be a picture as well."""
    return is_clip(hint) or _is_marked(hint, "mask")


def _is_marked(hint: Any, mark: object) -> bool:
    inner = [hint, *getattr(hint, "__args__", ())]
    return any(mark in getattr(each, "__metadata__", ()) for each in inner)


def clip(value: Mask) -> Video | Recording:
    """Open a clip, or a picture as one of one frame; a Video is returned unchanged.

    Raises UsageError for a file that cannot be read.
    """
    from minisora.video import Source, Video
    from minisora.video.recording import Recording

    if isinstance(value, Video | Recording):
        return value
    place = value if isinstance(value, Stretch) else Stretch(_path(value))  # type: ignore[arg-type]  # as in `picture`
    source = Source(place.path, _of_file(place.path))
    return Recording.open(source, place.start, math.inf if place.stop is None else place.stop)


def picture(value: Picture) -> Video:
    """Read a picture as a video of one frame; a Video is returned unchanged.

    Raises UsageError for a file that cannot be read.
    """
    from minisora.video import Source, Video, read_image

    if isinstance(value, Video):
        return value
    if isinstance(value, Stretch):
        raise UsageError(f"{value.path} is to be a picture: leave out the stretch.")
    path = _path(value)  # type: ignore[arg-type]  # validation made a video of a tensor
    return Video(read_image(path)[None], 1.0).of(Source(path, _of_file(path)))


def display_name(value: Video | Recording, otherwise: str) -> str:
    """Name of a clip or a picture in notes: its file, or `otherwise` for frames from memory."""
    return otherwise if value.source is None else str(value.source.path)


def files(value: Any) -> Iterator[Path]:
    """Files that a request reads: its media and its storyboard, if they come from files."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from files(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from files(each)
    elif is_dataclass(value):  # a request, a shot, a stretch, a clip and its sounds
        for each in fields(value):
            yield from files(getattr(value, each.name))


def found(value: Named, folder: Path) -> Path | Stretch | Video:
    """Find media of a saved request in a folder: the file, or a video with the same frames.

    Hidden files are passed over, but for one of the very name.

    Raises UsageError if no file of the folder matches.
    """
    seen = sorted((path for path in folder.iterdir() if path.is_file()), key=natural)
    files = [path for path in seen if not is_hidden(path.name) or path.name == value.name]
    if value.name is not None:
        for path in sorted(files, key=lambda path: path.name != value.name):
            if _of_file(path) == value.sha256:
                return Stretch(path, value.start, value.stop) if value.start or value.stop else path
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
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}. Check the name.") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder. Name one file in it.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def _of_frames(video: Video) -> str:
    frames = video.frames.cpu().contiguous()
    return hashlib.sha256(repr(tuple(frames.shape)).encode() + frames.numpy().tobytes()).hexdigest()
