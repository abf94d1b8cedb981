"""InternVid (10M-FLT, AES): a record for each clip, jsonl or the Parquet of the hub.

    YoutubeID, Start_timestamp, End_timestamp ("00:07:33.689"), Caption, Aesthetic_Score, UMT_Score

For Data-Juicer YoutubeID is replaced by a path, which is accepted too.
Source: https://huggingface.co/datasets/OpenGVLab/InternVid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from minisora.curate.importers.reading import captions_of, others, text_of, time_of
from minisora.curate.table import Row, annotation
from minisora.tables.entry import STRICT, Skipped
from minisora.tables.records import records

_NEEDED = ("YoutubeID", "Start_timestamp", "End_timestamp", "Caption")


def rows(path: Path, skipped: Skipped = STRICT) -> Iterator[Row]:
    """A row for each clip."""
    for where, record in records(path, _NEEDED, skipped):
        with skipped.entry(where):
            video, (start, stop) = text_of(where, record, "YoutubeID"), (record[name] for name in _NEEDED[1:3])
            yield annotation(
                video,
                start=time_of(where, start),
                stop=time_of(where, stop),
                captions=captions_of(record["Caption"]),
                origin=where,
                meta={**others(record, _NEEDED), "clip_file": f"{video}_{start}_{stop}.mp4"},
            )
