"""Panda-70M: a csv with a row for each SOURCE video, its downloader's folder, its splitter's json.

    csv      videoID,url,timestamp,caption,matching_score
             [,desirable_filtering,shot_boundary_detection]: from the third on Python lists of equal
             length, one entry for each clip; the last two columns came later
    folder   00000/0000000_00000.{mp4,txt,json}: number of the video in the csv, then of its clip
    json     {"video.mp4": [[0, 149], ...]} in frames, or [["0:00:00.000", "0:00:15.982"], ...]

Source: https://github.com/snap-research/Panda-70M, dataset_dataloading/README.md and splitting/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minisora.curate.importers.reading import captions_of, literal_list, others, text_of, time_of
from minisora.curate.table import Row, annotation
from minisora.folders import is_hidden, natural
from minisora.tables.entry import STRICT, Skipped, layout
from minisora.tables.objects import json_whole
from minisora.tables.records import numbered_records

_NEEDED = ("videoID", "timestamp", "caption")
_LISTS = ("timestamp", "caption", "matching_score", "desirable_filtering", "shot_boundary_detection")
_NUMBERS = re.compile(r"\d{5,}_\d{5}")


def rows(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    """A row for each clip, from any of the three layouts."""
    if path.is_dir():
        return _downloaded(path, skipped)
    return _splits(path, skipped) if path.suffix.lower() == ".json" else _table(path, skipped)


def _table(path: Path, skipped: Skipped) -> Iterator[Row]:
    for number, where, record in numbered_records(path, _NEEDED, skipped):
        with skipped.entry(where):
            yield from _clips(number, where, record)


def _clips(number: int, where: str, record: dict[str, Any]) -> Iterator[Row]:
    video = text_of(where, record, "videoID")
    lists = {name: literal_list(where, record, name) for name in _LISTS if record.get(name)}
    lists = {name: values for name, values in lists.items() if values or name in _NEEDED}
    count = len(lists.get("timestamp", ()))
    if any(len(values) != count for values in lists.values()):
        found = ", ".join(f"{len(values)} of {name}" for name, values in lists.items())
        raise layout(where, "as many entries in each list as there are clips", found)
    for clip in range(count):
        start, stop = _span(where, lists["timestamp"][clip])
        meta = {name: values[clip] for name, values in lists.items() if name not in ("timestamp", "caption")}
        yield annotation(
            video,
            start=start,
            stop=stop,
            captions=captions_of(lists["caption"][clip]),
            origin=f"{where} clip {clip}",
            meta={**others(record, ("videoID", *_LISTS)), **meta, "clip_file": f"{number:07d}_{clip:05d}.mp4"},
        )


def _downloaded(folder: Path, skipped: Skipped) -> Iterator[Row]:
    found = [file for file in folder.rglob("*.json") if _NUMBERS.fullmatch(file.stem)]
    names = [file.relative_to(folder) for file in found if not any(map(is_hidden, file.relative_to(folder).parts))]
    if not names:
        raise layout(str(folder), "files such as 00000/0000000_00000.json", "none")
    for name in sorted(names, key=natural):
        with skipped.entry(where := name.as_posix()):
            record = json_whole(folder / name)
            if not isinstance(record, dict) or "caption" not in record:
                raise layout(where, "a JSON object with a caption", json.dumps(record)[:80])
            yield annotation(
                name.with_suffix(".mp4").as_posix(),
                captions=captions_of(record["caption"]),
                origin=where,
                meta=others(record, ("caption", "yt_meta_dict")),  # subtitles and all: it may be larger than the clip
            )


def _splits(path: Path, skipped: Skipped) -> Iterator[Row]:
    videos = json_whole(path)
    if not isinstance(videos, dict):
        raise layout(str(path), "an object of lists of spans by video", json.dumps(videos)[:80])
    for video, spans in videos.items():
        with skipped.entry(where := f"{path.name}: {video}"):
            if not isinstance(spans, list):
                raise layout(where, "a list of spans", spans)
            for clip, span in enumerate(spans):
                yield _part(video, f"{where} clip {clip}", span)


def _part(video: str, where: str, span: Any) -> Row:
    if isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span):
        return annotation(video, origin=where, meta={"frame_span": span})
    start, stop = _span(where, span)
    return annotation(video, start=start, stop=stop, origin=where)


def _span(where: str, span: Any) -> tuple[float, float]:
    if not isinstance(span, list | tuple) or len(span) != 2:
        raise layout(where, "a pair of times", span)
    return time_of(where, span[0]), time_of(where, span[1])
