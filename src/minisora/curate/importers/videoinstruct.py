"""VideoInstruct-100K of Video-ChatGPT: questions about videos and their answers, many per video.

    {"q", "a", "video_id": "v_k_ZXmr8pmrs"}     `v_` and the name on YouTube
    {"id", "video": "v_k_ZXmr8pmrs.pkl", "conversations": [{"from", "value"}, ...]}
                                                the form for training

Captions are the answers to questions about the whole video; all questions and answers are in meta.
The .pkl of the second form is only a name: it is never opened. Source:
https://github.com/mbzuai-oryx/Video-ChatGPT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from minisora.curate.importers.reading import captions_of, text_of
from minisora.curate.table import Row, annotation
from minisora.tables.entry import STRICT, Skipped, layout, names_of
from minisora.tables.records import records

_WHOLE = re.compile(
    r"\b(describe|describing|description|summari[sz]e|summary|overview|elaborate|in detail)\b"
    r"|\bwhat (is|are|was|does|do|did|happens|can)\b.{0,40}\b(happening|going on|taking place|take place|about|shown?"
    r"|depicted?|portrayed|seen?)\b.{0,30}\b(video|clip|footage|scene)\b"
    r"|\bwhat (happens|is happening|is going on|takes place) in\b|\bwhat is the video\b|\bwhat does the video\b",
    re.IGNORECASE,
)


def rows(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    """A row for each video, at the place of its first question."""
    asked: dict[str, tuple[str, list[list[str]]]] = {}
    for where, record in records(path, (), skipped):
        with skipped.entry(where):
            video, pairs = _pairs(where, record)
            asked.setdefault(video, (where, []))[1].extend(pairs)
    for video, (where, pairs) in asked.items():
        captions = captions_of([answer for question, answer in pairs if _WHOLE.search(question)])
        yield annotation(video, captions=captions, origin=where, meta={"asked": pairs})


def _pairs(where: str, record: dict[str, Any]) -> tuple[str, list[list[str]]]:
    """The video and its pairs of question and answer."""
    if {"q", "a", "video_id"} <= record.keys():
        return text_of(where, record, "video_id"), [[text_of(where, record, "q"), text_of(where, record, "a")]]
    turns = record.get("conversations")
    if "video" not in record or not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise layout(where, "q, a and video_id, or video and conversations", names_of(record))
    texts = {"human": "", "gpt": ""}
    pairs = []
    for turn in turns:
        texts[str(turn.get("from"))] = str(turn.get("value", "")).replace("<video>", "").strip()
        if turn.get("from") == "gpt":
            pairs.append([texts["human"], texts["gpt"]])
    return PurePosixPath(text_of(where, record, "video")).name.removesuffix(".pkl"), pairs
