"""Youku-mPLUG: four kinds of csv, with `:FILE` in the name of a column, in Chinese.

    pretraining      video_id:FILE, title
    classification   video_id:FILE, title, label: a number of classname.json, if that is there too
    retrieval        clip_name:FILE, caption
    captioning       video_id:FILE, golden_caption: text in train, a Python list in val, empty in
                     test

Source: https://github.com/X-PLUG/Youku-mPLUG, dataset/video_downstream_datasets.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minisora.curate.importers.reading import captions_of, others, text_of
from minisora.curate.table import Row, annotation
from minisora.tables.entry import STRICT, Skipped, layout, names_of
from minisora.tables.objects import json_whole
from minisora.tables.records import records

_FILE = ("video_id:FILE", "clip_name:FILE")
_CAPTION = ("title", "caption", "golden_caption")


def rows(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    """A row for each record."""
    beside = path.with_name("classname.json")
    numbers = json_whole(beside) if beside.exists() else {}
    if not isinstance(numbers, dict):
        raise layout(str(beside), "an object of numbers by name", numbers)
    names = {str(number): name for name, number in numbers.items()}
    for where, record in records(path, (), skipped):
        with skipped.entry(where):
            yield _row(where, record, names)


def _row(where: str, record: dict[str, Any], names: dict[str, str]) -> Row:
    file = next((name for name in _FILE if name in record), None)
    caption = next((name for name in _CAPTION if name in record), None)
    if file is None or caption is None:
        raise layout(where, f"{' or '.join(_FILE)}, and {' or '.join(_CAPTION)}", names_of(record))
    meta = others(record, (file, caption))
    if label := names.get(str(record.get("label"))):
        meta["class"] = label
    return annotation(text_of(where, record, file), captions=captions_of(record[caption]), origin=where, meta=meta)
