"""Pairing each row of an annotation with its local file.

A name is looked up as a path first, then by its file name without folder and suffix (downloaders
choose .mkv or .webm), without the `v_` that ActivityNet puts before a YouTube ID, and by the
YouTube ID: in a URL, or at the end of a file name as yt-dlp writes it ("Title [jNQXAC9IVRw].mkv").
Of several files the one whose folders agree best is taken; if none does, the row is not paired, as
a wrong caption is worse than a lost clip.

A row may also name a file of its clip alone ("clip_file" in meta), which has no span.

Here: files in a folder, and rows with files. Not here: the content of the files (analyse.py).
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minisora.curate.table import Row
from minisora.curate.times import parse_span
from minisora.errors import UsageError
from minisora.folders import PICTURES, VIDEOS, is_hidden, natural, nearest, same_letters
from minisora.video import probe

_GUESSES, _AMONG = 5, 20_000  # rows without a file whose nearest name is looked for, and files at most
_ID = r"[A-Za-z0-9_-]{11}"
_URL = re.compile(rf"(?:v=|youtu\.be/|/shorts/|/embed/|/v/|/live/)({_ID})(?![A-Za-z0-9_-])")
_SAVED = re.compile(rf".*(?:\[({_ID})\]|-({_ID}))")  # yt-dlp, youtube-dl
_NUMBERS = re.compile(r"(\d{5,})_(\d{5})")  # Panda-70M: its downloader pads the first number as it is set up


def video_files(folder: Path, *, pictures: bool = False) -> list[str]:
    """Relative paths of all videos in a folder and its subfolders, sorted, without hidden ones.

    pictures: include pictures

    Raises UsageError if there is none.
    """
    found, seen = [], set()
    suffixes = VIDEOS + PICTURES * pictures
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link back up
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in files:
            if name.lower().endswith(suffixes) and not is_hidden(name):
                found.append((Path(place) / name).relative_to(folder).as_posix())
    if not found:
        raise UsageError(f"{folder} holds no video. Check the folder's name; what counts is {' '.join(suffixes)}.")
    return sorted(found, key=natural)


def pair(rows: Iterable[Row], media: Path, *, pictures: bool = False) -> tuple[list[Row], list[Row]]:
    """Split rows into those with a file, with `source` set to it, and others, with a `reason`.

    media:    the folder of the files
    pictures: accept pictures as files

    Raises UsageError if there are no rows, or none has a file.
    """
    files = _Files(media, pictures)
    found: list[Row] = []
    missing: list[Row] = []
    for row in rows:
        try:
            if not _is_text(row["source"]):
                raise UsageError("the name of this file is not UTF-8. Rename it.")
            found.append(_paired(row, files))
        except UsageError as error:
            missing.append(
                {**row, "source": _shown(row["source"]), "origin": _shown(row["origin"]), "reason": str(error)}
            )
    if not found:
        if not missing:
            raise UsageError("the annotation names no clip.")
        raise UsageError(
            f"none of the {len(missing)} rows has its video in {media}. The first, from {missing[0]['origin']}: "
            f"{missing[0]['reason']} What is there: {', '.join(files.paths[:3])}. Check the folder of media."
        )
    return found, missing


class _Files:
    """The videos of a folder, indexed by every name an annotation may use."""

    def __init__(self, media: Path, pictures: bool) -> None:
        self.media = media
        self.paths = video_files(media, pictures=pictures)
        self._rates: dict[str, float] = {}
        self._guesses = _GUESSES
        self._by_path = {_normal(path): path for path in self.paths}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            name = _stem(_normal(path))
            self._by_name[name].append(path)
            if match := _SAVED.fullmatch(name):
                self._by_name[match[1] or match[2]].append(path)
            if (match := _NUMBERS.fullmatch(name)) and (padded := _padded(match)) != name:
                self._by_name[padded].append(path)

    def find(self, name: str) -> str | None:
        """Path of a file by its name, in the folder or absolute; None if there is none.

        Raises UsageError if the name is ambiguous.
        """
        normal = _normal(name)
        if path := self._by_path.get(normal.removeprefix("./")):
            return path
        if normal.startswith("/") and os.path.isfile(name):
            return name
        match = _URL.search(name)
        stem = match[1] if match else _stem(normal)
        for called in (stem, stem.removeprefix("v_")):
            if candidates := self._by_name.get(called):
                return _nearest(normal, candidates)
        return None

    def nearest(self, name: str) -> str:
        """A sentence with the nearest name, for the first names that are not there."""
        self._guesses -= 1
        if self._guesses < 0 or len(self.paths) > _AMONG:
            return ""
        return nearest(_base(_normal(name)), map(_base, self.paths))

    def rate(self, path: str) -> float:
        """Frames per second of a file, cached."""
        if path not in self._rates:
            self._rates[path] = probe(self.media / path).fps
        return self._rates[path]


def _paired(row: Row, files: _Files) -> Row:
    """The row with its file. Raises UsageError with the reason if it has none."""
    meta: dict[str, Any] = json.loads(row["meta"])
    names = [name for name in (meta.get("clip_file"), row["source"]) if name]
    if _NUMBERS.fullmatch(_stem(names[0])):  # a number may be another clip's, see _check_caption
        names.reverse()
    path, name = next(((path, name) for name in names if (path := files.find(name)) is not None), (None, ""))
    if path is None:
        raise UsageError(f"there is no file called {', nor one called '.join(names)}.{files.nearest(names[0])}")
    if not (files.media / path).is_file():
        raise UsageError(f"{path} is no file that can be read: a link to nothing, or a folder.")
    if name == meta.get("clip_file"):
        _check_caption(row, files.media / path)
        return {**row, "source": path, "start": None, "stop": None}
    if "frame_span" in meta:
        fps = files.rate(path)
        start, stop = (frame / fps for frame in meta["frame_span"])
    elif row["start"] is None:
        return {**row, "source": path}
    else:
        start, stop = row["start"], row["stop"]
    start, stop = parse_span(start, stop)
    return {**row, "source": path, "start": start, "stop": stop}


def _check_caption(row: Row, file: Path) -> None:
    """Raise UsageError for a file with a numeric name whose text file is not the row's caption."""
    beside = file.with_suffix(".txt")
    if _NUMBERS.fullmatch(file.stem) and beside.exists():
        text = beside.read_text(encoding="utf-8", errors="replace").strip()
        if text not in row["captions"]:
            raise UsageError(f"{beside.name} says {text[:80]!r}, not what the annotation says: it is of another split.")


def _nearest(name: str, candidates: list[str]) -> str:
    """The candidate that best matches a path: by file name, then by folders from the last up."""

    def agreement(path: str) -> int:
        pairs = zip(reversed(_normal(path).split("/")), reversed(name.split("/")), strict=False)
        same = [one == other for one, other in pairs]
        return same.index(False) if False in same else len(same)

    most = max(map(agreement, candidates))
    best = [path for path in candidates if agreement(path) == most]
    if len(best) > 1:
        raise UsageError(f"{name} may be any of {', '.join(best[:4])}: remove all but one, or give the path.")
    return best[0]


def _is_text(name: str) -> bool:
    return name == _shown(name)


def _shown(name: str) -> str:
    """Printable form of a name: bytes that are not UTF-8 are replaced."""
    return name.encode("utf-8", "replace").decode()


def _normal(name: str) -> str:
    """Normalise a name: Unicode form and separators of folders."""
    return same_letters(name).replace("\\", "/")


def _stem(name: str) -> str:
    """The file name without a video's suffix; other dots stay, as in YouTube IDs and clip names."""
    base = _base(name)
    return base[: base.rindex(".")] if base.lower().endswith(VIDEOS + PICTURES) else base


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _padded(match: re.Match[str]) -> str:
    return f"{int(match[1]):07d}_{int(match[2]):05d}"
