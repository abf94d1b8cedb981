"""Own videos: a folder, or a table of paths and captions with any of the usual column names.

    folder        every video in it and its subfolders; captions from NAME.txt (one per line) or
                  NAME.json next to NAME.mp4
    table         csv, tsv, jsonl, parquet, or json with a list of objects; all columns but those
                  below go to meta
    Open-Sora     csv or parquet: path, text, num_frames, height, width, ...
    Data-Juicer   jsonl: videos, text with <__dj__video> for each video and <|__dj__eoc|> after each
                  chunk
    FastVideo     videos2caption.json: [{"path", "cap"}]; or videos.txt, one path per line, with
                  prompt.txt next to it

Several records of one video, or of one span of it, become one row with all their captions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minisora.curate.importers.pair import video_files
from minisora.curate.importers.reading import Record, captions_of, json_whole, layout, others, records, time_of
from minisora.curate.table import Row, annotation, merged
from minisora.errors import UsageError

PATHS = ("path", "video", "videos", "file", "video_path", "file_path", "file_name", "filename", "source")
CAPTIONS = ("text", "caption", "captions", "cap", "prompt")
STARTS = ("start", "start_time", "start time", "start_seconds")
STOPS = ("stop", "end", "end_time", "end time", "stop_seconds", "end_seconds")

PRIVATE = ("clip_file", "frame_span")  # keys of meta with which other importers instruct pair.py
DJ_VIDEO, DJ_END = "<__dj__video>", "<|__dj__eoc|>"


def table(path: Path) -> Iterator[Row]:
    """A row for each video and span of a table."""
    found = _lines(path) if path.suffix.lower() == ".txt" else records(path)
    return iter(merged(row for where, record in found for row in _rows_of(where, record)))


def folder(path: Path, *, pictures: bool = False) -> Iterator[Row]:
    """A row for each video of a folder. pictures: include pictures

    Raises UsageError if it is no folder or has no video, or if a caption file cannot be read.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder of videos. Name one, or import a table of paths as `table`.")
    for video in video_files(path, pictures=pictures):
        file = path / video
        captions: list[str] = []
        meta: dict[str, Any] = {}
        if (beside := file.with_suffix(".txt")).is_file():
            try:
                captions += captions_of(beside.read_text(encoding="utf-8-sig").splitlines())
            except UnicodeDecodeError as error:
                raise UsageError(f"{beside} is not UTF-8 text. Convert it first.") from error
        if (beside := file.with_suffix(".json")).is_file():
            content = json_whole(beside)
            record = content if isinstance(content, dict) else {"captions": content}
            name = _named(record, CAPTIONS)
            captions += captions_of(record[name]) if name else []
            meta = others(record, (name or "", *PRIVATE))
        yield annotation(video, captions=list(dict.fromkeys(captions)), origin=video, meta=meta)


def _lines(path: Path) -> Iterator[Record]:
    """FastVideo's pair of files."""
    beside = next((file for file in map(path.with_name, ("prompt.txt", "prompts.txt")) if file.exists()), None)
    if beside is None:
        raise layout(str(path), "a file of paths, one a line, with prompt.txt beside it", "no prompt.txt")
    videos, prompts = (file.read_text(encoding="utf-8-sig").splitlines() for file in (path, beside))
    if len(videos) != len(prompts):
        raise layout(str(beside), f"{len(videos)} lines, as many as {path.name}", str(len(prompts)))
    for number, (video, prompt) in enumerate(zip(videos, prompts, strict=True), start=1):
        yield f"{path.name}:{number}", {"path": video.strip(), "text": prompt}


def _rows_of(where: str, record: dict[str, Any]) -> Iterator[Row]:
    path, caption, start, stop = (_named(record, names) for names in (PATHS, CAPTIONS, STARTS, STOPS))
    if path is None:
        raise layout(where, f"one of {', '.join(PATHS)}", ", ".join(map(str, record)) or "no fields")
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


def _named(record: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of several names that a record has, whatever their case."""
    lower = {str(name).strip().lower(): name for name in record}
    return next((lower[name] for name in names if name in lower), None)
