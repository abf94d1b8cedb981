"""Own videos: a folder, or a table of paths and captions with any of the usual column names.

    folder        every video in it and its subfolders; captions from NAME.mp4.txt or NAME.txt (one
                  per line), NAME.mp4.json or NAME.json next to NAME.mp4
    table         csv, tsv, jsonl, parquet, or json with a list of objects; all columns but those
                  below go to meta
    Open-Sora     csv or parquet: path, text, num_frames, height, width, ...
    Data-Juicer   jsonl: videos, text with <__dj__video> for each video and <|__dj__eoc|> after each
                  chunk
    FastVideo     videos2caption.json: [{"path", "cap"}]; or videos.txt, one path per line, with
                  prompt.txt next to it

Here: rows. Not here: names of columns (tables/entry.py), which file of words is whose (folders.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from minisora.curate.importers.pair import video_files
from minisora.curate.importers.reading import captions_of, others, time_of
from minisora.curate.table import Row, annotation
from minisora.errors import UsageError
from minisora.folders import Beside
from minisora.tables.entry import FILE, STRICT, TEXT, Skipped, column, layout, names_of
from minisora.tables.objects import json_whole
from minisora.tables.records import Record, records
from minisora.tables.text import lines, text_lines

STARTS = ("start", "start time", "start seconds")
STOPS = ("stop", "end", "end time", "stop seconds", "end seconds")

PRIVATE = ("clip_file", "frame_span")  # keys of meta with which other importers instruct pair.py
DJ_VIDEO, DJ_END = "<__dj__video>", "<|__dj__eoc|>"


def table(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    """A row for each video of each record of a table."""
    found = _lines(path, skipped) if path.suffix.lower() == ".txt" else records(path, (), skipped)
    for where, record in found:
        with skipped.entry(where):
            yield from _rows_of(path.name, where, record, skipped)


def folder(path: Path, skipped: Skipped = STRICT, *, pictures: bool = False) -> Iterator[Row]:
    """A row for each video of a folder. pictures: include pictures

    A video is skipped if its caption file cannot be read, or may be that of another video.

    Raises UsageError if it is no folder or has no video.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder of videos. Name one, or import a table of paths as `table`.")
    found = video_files(path, pictures=pictures)
    places: dict[Path, list[str]] = defaultdict(list)
    for video in found:
        places[path / PurePosixPath(video).parent].append(PurePosixPath(video).name)
    beside = {place: Beside(place, names) for place, names in places.items()}
    for video in found:
        with skipped.entry(video):
            yield _row(video, beside[(path / video).parent])


def _row(video: str, beside: Beside) -> Row:
    name, captions, meta = PurePosixPath(video).name, list[str](), dict[str, Any]()
    if (file := beside.find(name, ".txt")) is not None:
        captions += captions_of(text_lines(file))
    if (file := beside.find(name, ".json")) is not None:
        content = json_whole(file)
        record = content if isinstance(content, dict) else {"captions": content}
        called = column(file.name, record, TEXT, STRICT)
        captions += captions_of(record[called]) if called else []
        meta = others(record, (called or "", *PRIVATE))
    return annotation(video, captions=list(dict.fromkeys(captions)), origin=video, meta=meta)


def _lines(path: Path, skipped: Skipped) -> Iterator[Record]:
    """FastVideo's pair of files."""
    beside = next((file for file in map(path.with_name, ("prompt.txt", "prompts.txt")) if file.exists()), None)
    if beside is None:
        raise layout(str(path), "a file of paths, one a line, with prompt.txt beside it", "no prompt.txt")
    videos, prompts = ([line for line in lines(file) if line.value or line.problem] for file in (path, beside))
    if len(videos) != len(prompts):
        raise layout(str(beside), f"{len(videos)} lines, as many as {path.name}", str(len(prompts)))
    for video, prompt in zip(videos, prompts, strict=True):
        if problem := video.problem or prompt.problem:
            skipped.add(video.where, problem)
        else:
            yield video.where, {"path": video.value, "text": prompt.value}


def _rows_of(file: str, where: str, record: dict[str, Any], skipped: Skipped) -> Iterator[Row]:
    """Rows of one record. file: name of its table"""
    path, caption, start, stop = (column(file, record, names, skipped) for names in (FILE, TEXT, STARTS, STOPS))
    if path is None:
        raise layout(where, f"one of {', '.join(FILE)}", names_of(record))
    if caption is None:
        skipped.note(f"{file}: there is no column of captions ({', '.join(TEXT)}) among {names_of(record)}.")
    videos = record[path] if isinstance(record[path], list) else [record[path]]
    if not videos or not all(isinstance(video, str) and video.strip() for video in videos):
        raise layout(where, f"a path in {path!r}", record[path])
    span = [record[name] if name else None for name in (start, stop)]
    given = [value not in (None, "") for value in span]
    if given[0] != given[1]:
        raise layout(where, "both a start and an end, or neither", f"{span[0]!r} and {span[1]!r}")
    begin, end = (time_of(where, value) for value in span) if all(given) else (None, None)
    text = record[caption] if caption else None
    texts = _chunks(where, text, len(videos)) if isinstance(text, str) and DJ_VIDEO in text else [text] * len(videos)
    meta = others(record, [name for name in (path, caption, start, stop, "key", "origin", *PRIVATE) if name])
    for video, text in zip(videos, texts, strict=True):
        yield annotation(video.strip(), start=begin, stop=end, captions=captions_of(text), origin=where, meta=meta)


def _chunks(where: str, text: str, num_videos: int) -> list[str]:
    """The part of Data-Juicer's text for each video: the chunk that contains its token."""
    chunks = [chunk for chunk in text.split(DJ_END) if DJ_VIDEO in chunk]
    of_video = [chunk.replace(DJ_VIDEO, " ").strip() for chunk in chunks for _ in range(chunk.count(DJ_VIDEO))]
    if len(of_video) != num_videos:
        raise layout(where, f"{num_videos} times {DJ_VIDEO}, one for each of the videos", f"{len(of_video)}")
    return of_video
