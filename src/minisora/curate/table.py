"""The one table of curation: a row for each clip, from its annotation to the scores that judge it.

    key      string         letters and digits, unique; the same for the same source and span,
                            whatever else changes
    source   string         path of the video in the annotation or the folder, relative to the
                            folder of media
    start    float64        seconds; null with `stop` for the whole file
    stop     float64
    captions list<string>   of the annotation
    origin   string         where the row came from: "train.csv:12"
    meta     string         JSON object: the other fields of the annotation

Scores are further columns. Two names in `meta` have a meaning, for importers/pair.py: "clip_file",
the name of a file of this clip alone, and "frame_span", a span of `source` in frames.

Here: a row, and the table in a Parquet file. Not here: rows from annotations (importers/), scores
(scores.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from minisora.errors import UsageError
from minisora.video.files import replacing

Row = dict[str, Any]

FORMAT = 1
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("start", pa.float64()),
        ("stop", pa.float64()),
        ("captions", pa.list_(pa.string())),
        ("origin", pa.string()),
        ("meta", pa.string()),
    ],
    metadata={"minisora_clips": str(FORMAT)},
)
_TYPES = {**{field.name: field.type for field in SCHEMA}, "hashes": pa.list_(pa.uint64())}  # other scores: as they come


def annotation(
    source: str,
    *,
    start: float | None = None,
    stop: float | None = None,
    captions: Sequence[str] = (),
    origin: str = "",
    meta: dict[str, Any] | None = None,
) -> Row:
    """A row for an importer to yield.

    start, stop: seconds, or both None; meta: JSON values, others as text
    """
    span = json.dumps([source, start, stop, (meta or {}).get("frame_span")], ensure_ascii=False)
    return {
        "key": hashlib.sha256(span.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        "source": source,
        "start": start,
        "stop": stop,
        "captions": list(captions),
        "origin": origin,
        "meta": _text(json.dumps(meta or {}, ensure_ascii=False, sort_keys=True, default=str)),
    }


def _text(text: str) -> str:
    """Text without lone surrogates, which files cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def merged(rows: Iterable[Row]) -> list[Row]:
    """Merge the rows of each key into the first of them, which keeps its place and meta.

    The merged row has the captions of all, without repetition. Some annotations have a row for each
    sentence about a video.
    """
    found: dict[str, Row] = {}
    for row in rows:
        first = found.setdefault(row["key"], row)
        if first is not row:
            first["captions"] += [caption for caption in row["captions"] if caption not in first["captions"]]
    return list(found.values())


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write the table atomically. A score that a row lacks is null."""
    rows = list(rows)
    names = dict.fromkeys([*SCHEMA.names, *(name for row in rows for name in row)])
    arrays = {name: pa.array([row.get(name) for row in rows], _TYPES.get(name)) for name in names}
    with replacing(path) as temporary:
        pq.write_table(pa.table(arrays).replace_schema_metadata(SCHEMA.metadata), temporary, compression="zstd")


def read_table(path: Path) -> list[Row]:
    """Read the rows of a table that `write_table` wrote.

    Raises UsageError if the file is no such table, or is of a newer format.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} is not a readable table of clips: {error}. Make it again.") from error
    version = (table.schema.metadata or {}).get(b"minisora_clips", b"")
    if version.isdigit() and int(version) > FORMAT:
        raise UsageError(
            f"{path} has format {int(version)}, newer than {FORMAT}, the newest known here. Update minisora."
        )
    if not version.isdigit() or table.schema.names[: len(SCHEMA.names)] != SCHEMA.names:
        raise UsageError(f"{path} is not a table of clips. Import it as `table`.")
    rows: list[Row] = table.to_pylist()
    return rows
