"""MSR-VTT: the original json, and the flat jsonl of the hub with a record for each sentence.

    json     {"info": ...,
              "videos": [{"video_id", "category", "url", "start time", "end time", "split", "id"}],
              "sentences": [{"caption", "video_id", "sen_id"}]}
             keys with a SPACE; 20 sentences a video
    jsonl    video_id, caption, category, url, "start time", "end time", split, id

The common files are already cut (video0.mp4 is the clip alone); the url names the video that it was
cut from. Source: Xu et al. 2016; https://huggingface.co/datasets/AlexZigma/msr-vtt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minisora.curate.importers.reading import captions_of, others, text_of, time_of
from minisora.curate.table import Row, annotation
from minisora.tables.entry import STRICT, Skipped, layout
from minisora.tables.objects import json_whole
from minisora.tables.records import records

_VIDEO = ("video_id", "url", "start time", "end time")
_OF_SENTENCES = ("caption", "sen_id", "__index_level_0__")


def rows(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    """A row for each video with all its sentences, or for each sentence where these are records."""
    if path.suffix.lower() == ".json":
        yield from _original(path, skipped)
        return
    for where, record in records(path, (*_VIDEO, "caption"), skipped):
        with skipped.entry(where):
            yield _row(where, record)


def _original(path: Path, skipped: Skipped) -> Iterator[Row]:
    whole = json_whole(path)
    if not isinstance(whole, dict) or not all(isinstance(whole.get(name), list) for name in ("videos", "sentences")):
        found = ", ".join(whole) if isinstance(whole, dict) else type(whole).__name__
        raise layout(str(path), "an object with lists of videos and sentences", found)
    sentences: dict[str, list[str]] = defaultdict(list)
    for number, sentence in enumerate(whole["sentences"]):
        with skipped.entry(where := f"{path.name} sentences[{number}]"):
            if not isinstance(sentence, dict) or not {"caption", "video_id"} <= sentence.keys():
                raise layout(where, "caption and video_id", sentence)
            sentences[str(sentence["video_id"])].append(sentence["caption"])
    for number, video in enumerate(whole["videos"]):
        with skipped.entry(where := f"{path.name} videos[{number}]"):
            if not isinstance(video, dict) or not set(_VIDEO) <= video.keys():
                raise layout(where, ", ".join(map(repr, _VIDEO)), video)
            yield _row(where, {**video, "caption": sentences.pop(str(video["video_id"]), [])})
    for name in sentences:
        with skipped.entry(where := f"{path.name} sentences of {name!r}"):
            raise layout(where, "sentences of videos that it lists", f"some of {name!r}")


def _row(where: str, video: dict[str, Any]) -> Row:
    return annotation(
        text_of(where, video, "url"),
        start=time_of(where, video["start time"]),
        stop=time_of(where, video["end time"]),
        captions=captions_of(video["caption"]),
        origin=where,
        meta={**others(video, (*_VIDEO, *_OF_SENTENCES)), "clip_file": f"{text_of(where, video, 'video_id')}.mp4"},
    )
