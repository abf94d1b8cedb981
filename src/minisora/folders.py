"""Files of a folder: which of them count, their order, and the text files next to videos.

Here: hidden files, suffixes, natural order, text files of videos, similar names.
Not here: contents of files (video/, tables/).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

from minisora.errors import UsageError

VIDEOS = (
    *(".mp4", ".mkv", ".webm", ".mov", ".avi", ".flv", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv"),
    *(".asf", ".3gp", ".3g2", ".ogv", ".vob", ".rm", ".rmvb", ".mxf", ".y4m", ".swf", ".mjpeg", ".mjpg", ".gif"),
)
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

_OF_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information"}
_NUMBER = re.compile(r"(\d+)")

Key = tuple[tuple[tuple[tuple[str | int, ...], str], ...], str]


def is_hidden(name: str) -> bool:
    """True for names that begin with a dot, such as macOS's `._clip.mp4`, and for files and folders
    that operating systems create.
    """
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def natural(path: str | Path) -> Key:
    """Sorting key of a path: by folder, then by name, ignoring case, with numbers as numbers.

    2.mp4 comes before 10.mp4, and clip.mp4 before clip2.mp4. Different paths have different keys,
    so the order of a set of files is always the same.
    """
    text = path if isinstance(path, str) else path.as_posix()
    *folders, name = text.split("/")
    stem, dot, suffix = name.rpartition(".")
    last = (_chunks(stem), suffix) if stem and dot else (_chunks(name), "")
    return (*((_chunks(folder), "") for folder in folders), last), text


def _chunks(name: str) -> tuple[str | int, ...]:
    parts = _NUMBER.split(same_letters(name).casefold())
    return tuple(int(part) if n % 2 else part for n, part in enumerate(parts))


def same_letters(name: str) -> str:
    """A name in Unicode normal form C; macOS separates letters and accents."""
    return unicodedata.normalize("NFC", name)


def files_in(folder: Path, suffixes: Collection[str] = ()) -> list[Path]:
    """Files of a folder in natural order, without hidden ones; dangling links are included.

    suffixes: in lower case; empty for all

    Raises UsageError if the folder cannot be read.
    """
    try:
        found = [path for path in folder.iterdir() if not is_hidden(path.name) and not path.is_dir()]
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be read: {error.strerror or error}.") from error
    return sorted((path for path in found if not suffixes or path.suffix.lower() in suffixes), key=natural)


class Beside:
    """Text files next to the videos of one folder; each belongs to one video.

    NAME.mp4.txt belongs to NAME.mp4. NAME.txt belongs to the only video with this stem; if several
    videos have it, the file is ambiguous.

    videos: names of all videos of the folder
    """

    def __init__(self, folder: Path, videos: Iterable[str]) -> None:
        self._folder, self._names = folder, set(videos)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names, key=natural):
            self._by_stem[Path(name).stem.casefold()].append(name)

    def find(self, video: str, suffix: str) -> Path | None:
        """The existing file of a video, or None. Raises UsageError if it is ambiguous."""
        own, short = self._paths(video, suffix)
        if own.is_file():
            return own
        if not short.is_file() or self._is_own_of_another(video):
            return None
        claims = [name for name in self._alike(video) if _same(short, short.with_name(Path(name).stem + suffix))]
        if len(claims) > 1:
            raise UsageError(
                f"{short} may be that of {' or '.join(claims)}. Name it after one of them, as {claims[0]}{suffix}."
            )
        return short

    def to_write(self, video: str, suffix: str) -> Path:
        """The file to write for a video: the existing one, or one that is not ambiguous."""
        own, short = self._paths(video, suffix)
        try:
            found = self.find(video, suffix)
        except UsageError:
            return own
        return found or (own if self._is_own_of_another(video) or len(self._alike(video)) > 1 else short)

    def _paths(self, video: str, suffix: str) -> tuple[Path, Path]:
        return self._folder / f"{video}{suffix}", self._folder / f"{Path(video).stem}{suffix}"

    def _is_own_of_another(self, video: str) -> bool:
        return Path(video).stem in self._names  # clip.mp4 next to clip.mp4.mkv

    def _alike(self, video: str) -> list[str]:
        """Videos with the same stem, including this one."""
        found = self._by_stem.get(Path(video).stem.casefold(), [])
        return found if video in self._names else [*found, video]


def _same(one: Path, other: Path) -> bool:
    """True if both paths are one file, as they may be if the file system ignores case."""
    return one.name == other.name or (other.exists() and os.path.samefile(one, other))


def nearest(name: str, names: Iterable[str]) -> str:
    """A space and a sentence with the most similar name; "" if none is similar."""
    by_stem = {Path(each).stem: each for each in names}
    close = get_close_matches(Path(name).stem, by_stem, n=1)
    return f" The nearest name is {by_stem[close[0]]}." if close else ""
