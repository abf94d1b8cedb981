"""Videos and curated clips to caption, and caption files: one next to each video, or one table.

Here: the clips, and the two kinds of files. Not here: the captioners (adapters.py), how a recipe
uses the captions of clips (curate/captions.py), the command (cli/caption.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisora.errors import UsageError
from minisora.folders import VIDEOS, Beside, files_in
from minisora.outside import printable
from minisora.tables.objects import json_lines
from minisora.tables.text import text_lines

if TYPE_CHECKING:
    from minisora.caption.protocol import Captions
    from minisora.data.shards import Shards
    from minisora.video import Video

TABLE = "captions.jsonl"
FPS, MOST_FRAMES = 8.0, 64  # for reading a video; a longer one is read at a lower fps


@dataclass(frozen=True, eq=False)
class ClipSource:
    """A video or a curated clip to caption.

    name:  for messages to the user
    load:  reads it; raises UsageError if that fails
    file:  the video file, if it is one
    beside: the text files of its folder, if it is a video file
    about: other fields of its row in a table; for a curated clip its key, and once loaded its
        source and span
    place: returns source and span of a sample, if its curated clip was split; a later run may split
        it differently
    """

    name: str
    load: Callable[[], Video]
    file: Path | None = None
    beside: Beside | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    place: Callable[[], Mapping[str, Any]] | None = None


def caption_clips(
    captions: Captions,
    sources: Iterable[ClipSource],
    keep: Callable[[Mapping[ClipSource, str]], None],
    *,
    long: bool = False,
) -> dict[ClipSource, str]:
    """Read and caption clips, a few at a time, and pass the texts to `keep`.

    Returns the failed ones, with reasons.
    """
    from minisora.caption.protocol import Failed, caption_each, shrunk
    from minisora.video import Video

    failed: dict[ClipSource, str] = {}
    left = iter(sources)
    while some := list(islice(left, captions.together)):
        clips: dict[ClipSource, Video] = {}
        for one in some:
            try:
                clip = one.load()
                clips[one] = Video(shrunk(clip.frames), clip.fps)
            except UsageError as error:
                failed[one] = str(error)
        answers = dict(zip(clips, caption_each(captions, list(clips.values()), long=long), strict=True))
        failed.update({one: answer.reason for one, answer in answers.items() if isinstance(answer, Failed)})
        keep({one: answer for one, answer in answers.items() if isinstance(answer, str)})
    return failed


def find_clips(paths: Sequence[Path]) -> list[ClipSource]:
    """The clips of files and folders, each once. Raises UsageError for a path that is neither."""
    from minisora.curate.importers.pair import video_files

    found: dict[object, ClipSource | Path] = {}
    for path in paths:
        if path.is_dir() and (shards := _shards(path)) is not None:
            found.update({(shards, one.name): one for one in _curated(shards)})
        elif path.is_dir():
            found.update({path / name: path / name for name in video_files(path)})
        elif path.is_file():
            found[path] = path
        else:
            raise UsageError(f"there is no file or folder {path}. Check the name.")
    folders = {one.parent for one in found.values() if isinstance(one, Path)}
    beside = {folder: Beside(folder, (file.name for file in files_in(folder, VIDEOS))) for folder in folders}
    return [_video(one, beside[one.parent]) if isinstance(one, Path) else one for one in found.values()]


def _video(path: Path, beside: Beside) -> ClipSource:
    def load() -> Video:
        from minisora.video import probe, read_video

        about = probe(path)
        return read_video(path, fps=min(about.fps, FPS, MOST_FRAMES / max(about.seconds, 1e-3)))

    return ClipSource(printable(str(path)), load, path, beside)


def _shards(folder: Path) -> Path | None:
    """The folder of shards in an output folder of `minisora curate`, or that folder itself."""
    return next((each for each in (folder, folder / "clips") if any(each.glob("shard-*.parquet"))), None)


def _curated(folder: Path) -> Iterator[ClipSource]:
    from minisora.data.shards import Shards

    shards = Shards(folder)
    for number, key in enumerate(shards.keys):
        about: dict[str, Any] = {"key": key}
        place = partial(_place, shards, number) if "-" in key else None  # one of several
        yield ClipSource(key, partial(_sample, shards, number, about), about=about, place=place)


def _sample(shards: Shards, number: int, about: dict[str, Any]) -> Video:
    """Read a clip from a shard; its source and span are added to `about`."""
    from minisora.data.clips import to_clip
    from minisora.video import Video

    clip = to_clip(shards.keys[number], shards.read(number))
    about.update(_place(shards, number))
    return Video(clip.frames, clip.fps)


def _place(shards: Shards, number: int) -> dict[str, Any]:
    about = json.loads(shards.read(number)["json"])
    return {"path": about["source"], "start": about["start"], "stop": about["stop"]}


def folder_of(source: Path) -> Path:
    """Folder for the table of captions: a folder of videos, or the parent of shards or a video."""
    if not source.is_dir():
        return source.parent
    shards = _shards(source)
    return source if shards is None else shards.parent


def row_name(one: ClipSource, table: Path) -> str:
    """Identifier of a row: the key of a clip, or the path of a video.

    The path is relative to the table's folder if below it.
    """
    if one.file is None:
        return str(one.about["key"])
    whole = one.file.resolve()
    return whole.relative_to(table.parent).as_posix() if whole.is_relative_to(table.parent) else whole.as_posix()


def texts_of(one: ClipSource, write: str | None, table: Path, rows: Mapping[str, Any]) -> list[str]:
    """Captions that already exist where a new one would be written.

    Raises UsageError for a text file that cannot be read.
    """
    if write == "jsonl":
        row = rows.get(row_name(one, table), {})
        return _texts(row) if _is_of(row, one) else []
    path = caption_file(one) if write == "txt" else None
    return text_lines(path) if path is not None and path.exists() else []


def caption_file(one: ClipSource) -> Path | None:
    """The text file of a video's captions, which no other video shares; None for curated clips."""
    return None if one.beside is None or one.file is None else one.beside.to_write(one.file.name, ".txt")


def ambiguous_files(every: Iterable[ClipSource]) -> list[str]:
    """A sentence for each text file that may belong to several videos, and so is not used."""
    reasons: dict[str, None] = {}
    for one in every:
        try:
            if one.beside is not None and one.file is not None:
                one.beside.find(one.file.name, ".txt")
        except UsageError as error:
            reasons[str(error)] = None
    return list(reasons)


def _is_of(row: Mapping[str, Any], one: ClipSource) -> bool:
    """True if a row's span still matches, as curation tests it too (curate/captions.py)."""
    from minisora.curate.captions import NEAR

    if one.place is None or not all(isinstance(row.get(name), int | float) for name in ("start", "stop")):
        return True
    try:
        now = one.place()
    except UsageError:  # a broken sample is reported when it is read
        return False
    return all(abs(row[name] - now[name]) <= NEAR for name in ("start", "stop"))


def read_table(table: Path) -> dict[str, dict[str, Any]]:
    """Read a table: rows by key or path, unknown fields included.

    Rows of one clip are joined. Raises UsageError for any line of another form: the table will be
    replaced, and must not lose a line.
    """
    rows: dict[str, dict[str, Any]] = {}
    for where, row, problem in json_lines(table) if table.exists() else ():
        if row is None and not problem:
            continue
        name = (row.get("key") or row.get("path")) if isinstance(row, dict) else None
        if not isinstance(name, str):
            raise UsageError(f'{table}: {where} is no line {{"path", "text"}}. Name another file with --out.')
        if name in rows:
            row = {**rows[name], **row, "text": list(dict.fromkeys([*_texts(rows[name]), *_texts(row)]))}
        rows[name] = row
    return rows


def _texts(row: Mapping[str, Any]) -> list[str]:
    text = row.get("text") or []
    return [text] if isinstance(text, str) else list(text)


def write_table(table: Path, rows: Mapping[str, Any]) -> None:
    write_text(table, "".join(_line(row) + "\n" for row in rows.values()))


def _line(row: Mapping[str, Any]) -> str:
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # the name of a file that is not UTF-8
        return json.dumps(row)
    return line


def write_text(path: Path, text: str) -> None:
    from minisora.video.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
