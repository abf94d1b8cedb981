"""Values of JSON and Parquet files.

A .jsonl has one value per line; a .json is one list, of which a part is in memory at a time.

Here: streams of values, a whole JSON file. Not here: checks of the values (records.py).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minisora.errors import UsageError
from minisora.tables.entry import Entry, layout
from minisora.tables.text import opened, raw_lines

_CHUNK = 1 << 20  # characters
_GAP = re.compile(r"[ \t\r\n,]*")


def json_lines(path: Path) -> Iterator[Entry]:
    """Values of a file with one per line; other lines are broken."""
    for number, line, problem in raw_lines(path):
        where = f"{path.name}:{number}"
        if line is None or not line.strip():
            yield Entry(where, None, problem)
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            yield Entry(where, None, str(layout(where, "a JSON object in each line", line.strip())))
        else:
            yield _entry(where, value)


def json_list(path: Path) -> Iterator[Entry]:
    """Values of a file that is one list. Raises UsageError at the first syntax error."""
    decoder = json.JSONDecoder()
    with opened(path) as (binary, encoding):
        file = io.TextIOWrapper(binary, encoding)
        text, at, number = file.read(_CHUNK).lstrip(), 1, 0
        if not text.startswith("["):
            raise layout(str(path), "a JSON list of objects", text[:80])
        while True:
            at = _GAP.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
            where = f"{path.name}[{number}]"
            try:
                if text[at : at + 1] == "]":
                    return
                value, end = decoder.raw_decode(text, at)
            except (json.JSONDecodeError, RecursionError) as error:
                more = file.read(max(_CHUNK, len(text) - at))  # twice as much each time: an object is parsed log times
                if not more:
                    raise layout(where, "a JSON object and the end of the list", text[at : at + 80]) from error
                text, at = text[at:] + more, 0
                continue
            yield _entry(where, value)
            at, number = end, number + 1


def json_whole(path: Path) -> Any:
    """Read a JSON file at once, if its parts refer to each other.

    Raises UsageError for a syntax error.
    """
    with opened(path) as (file, encoding):
        try:
            return json.load(io.TextIOWrapper(file, encoding))
        except (json.JSONDecodeError, RecursionError) as error:
            raise layout(str(path), "JSON", str(error)) from error


def parquet(path: Path) -> Iterator[Entry]:
    """Rows of a Parquet file. Raises UsageError if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    yield Entry(f"{path.name}[{number}]", record)
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}.") from error


def _entry(where: str, value: Any) -> Entry:
    if value is None:  # the line is not blank
        return Entry(where, None, str(layout(where, "a JSON object", "null")))
    return Entry(where, value)
