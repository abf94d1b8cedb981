"""Lists of clips in the formats of other systems.

    datajuicer   jsonl: {"videos": [path], "text": "<__dj__video> caption <|__dj__eoc|>",
                 "meta": {...}, "stats": {...}}
    opensora     csv: path,text,num_frames,height,width,aspect_ratio,resolution,fps,start,stop;
                 aspect_ratio: height / width
    fastvideo    videos2caption.json: [{"path", "resolution": {"width", "height"}, "fps",
                 "duration", "cap": [...]}]

The first two have a record for each caption, as their training reads them; the third has one for
each clip. A clip that is part of its video has additional fields `start` and `stop` in seconds,
which these systems do not read: give them files of one clip each. `table` in importers/plain.py
reads all three back.

Here: rows to files. Not here: shards for our own training (write.py).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from minisora.curate.importers.plain import DJ_END, DJ_VIDEO
from minisora.curate.table import SCHEMA, Row
from minisora.errors import UsageError
from minisora.video.files import replacing

_OPENSORA = ("path", "text", "num_frames", "height", "width", "aspect_ratio", "resolution", "fps", "start", "stop")


def write_datajuicer(path: Path, rows: Iterable[Row]) -> None:
    """A line for each caption; scores are its stats."""
    with replacing(path) as temporary, _opened(temporary) as file:
        for row in rows:
            stats = {name: value for name, value in row.items() if name not in SCHEMA.names and value is not None}
            for caption in row["captions"] or [""]:
                sample = {
                    "videos": [row["source"]],
                    "text": f"{DJ_VIDEO} {caption} {DJ_END}",
                    **_span(row),
                    "meta": json.loads(row["meta"]),
                    "stats": stats,
                }
                file.write(json.dumps(sample, ensure_ascii=False) + "\n")


def write_opensora(path: Path, rows: Iterable[Row]) -> None:
    """A row for each caption; a cell is empty where the score was not computed."""
    with replacing(path) as temporary, _opened(temporary) as file:
        writer = csv.DictWriter(file, _OPENSORA, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            height, width, fps, seconds = _shape(row)
            cells: dict[str, Any] = {"path": row["source"], "height": height, "width": width, "fps": fps, **_span(row)}
            if height and width:
                cells |= {"aspect_ratio": height / width, "resolution": height * width}
            if fps and seconds:
                cells["num_frames"] = round(seconds * fps)
            for caption in row["captions"] or [""]:
                writer.writerow({**cells, "text": caption})


def write_fastvideo(path: Path, rows: Iterable[Row]) -> None:
    """An object for each clip."""
    with replacing(path) as temporary, _opened(temporary) as file:
        for number, row in enumerate(rows):
            height, width, fps, seconds = _shape(row)
            entry: dict[str, Any] = {"path": row["source"]}
            if height and width:
                entry["resolution"] = {"width": width, "height": height}
            entry |= {name: value for name, value in (("fps", fps), ("duration", seconds)) if value is not None}
            entry |= {**_span(row), "cap": list(row["captions"])}
            file.write((",\n" if number else "[\n") + json.dumps(entry, ensure_ascii=False))
        file.write("\n]\n" if file.tell() else "[]\n")


Exporter = Callable[[Path, Iterable[Row]], None]

EXPORTERS: dict[str, Exporter] = {
    "datajuicer": write_datajuicer,
    "opensora": write_opensora,
    "fastvideo": write_fastvideo,
}


def exporter_named(name: str) -> Exporter:
    """The exporter of a name from a recipe. Raises UsageError if there is none."""
    if name not in EXPORTERS:
        raise UsageError(f"there is no export {name!r}. Choose one of: {', '.join(EXPORTERS)}.")
    return EXPORTERS[name]


def _shape(row: Row) -> tuple[int | None, int | None, float | None, float | None]:
    """Height and width in pixels, frames per second, length in seconds; None if not scored."""
    height, width = (None if row.get(name) is None else round(row[name]) for name in ("height", "width"))
    seconds = row["stop"] - row["start"] if row["start"] is not None else row.get("duration")
    return height, width, row.get("fps"), seconds


def _span(row: Row) -> dict[str, float]:
    return {} if row["start"] is None else {"start": row["start"], "stop": row["stop"]}


def _opened(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="")
