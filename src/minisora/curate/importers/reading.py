"""Annotation files as they come: csv, tsv, json, jsonl and parquet, one record after the other.

Each record comes with its place ("train.csv:12", "qa.json[3]"), which errors name. A byte order
mark, CRLF, line breaks and both kinds of quotes inside a cell, and cells of any size are read.
Lists kept as Python literals are read by `ast.literal_eval`, which runs nothing.

Here: records and their cells. Not here: the meaning of fields (the importers).
"""

from __future__ import annotations

import ast
import csv
import json
import math
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from minisora.curate.times import parse_time
from minisora.errors import UsageError

Record = tuple[str, dict[str, Any]]  # where it stands, and its fields

_CHUNK = 1 << 20  # characters
_GAP = re.compile(r"[ \t\r\n,]*")


def records(path: Path, needed: Collection[str] = ()) -> Iterator[Record]:
    """Read the records of a file by its suffix. needed: fields that each must have

    Raises UsageError if the file cannot be read, is of an unknown kind, or a record lacks a field.
    """
    kinds = {".csv": _csv, ".tsv": _csv, ".json": _json_list, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in kinds:
        raise UsageError(f"{path} is no annotation file that is known here: use {', '.join(kinds)}.")
    for where, record in kinds[path.suffix.lower()](path):
        if missing := [name for name in needed if name not in record]:
            raise layout(where, f"the fields {', '.join(needed)}", f"no {missing[0]!r} among {_names(record)}")
        yield where, record


def json_whole(path: Path) -> Any:
    """Read a json file at once, if its parts refer to each other."""
    with _opened(path) as file:
        try:
            return json.load(file)
        except (json.JSONDecodeError, RecursionError) as error:
            raise layout(str(path), "JSON", str(error)) from error


def layout(where: str, expected: str, found: object) -> UsageError:
    """The error for a file of an unexpected layout."""
    text = found if isinstance(found, str) and found.strip() else repr(found)
    return UsageError(f"{where}: expected {expected}, found {text[:200]}. Is it the file that the importer is for?")


def text_of(where: str, record: dict[str, Any], name: str) -> str:
    """A field that must hold text."""
    value = record[name]
    if not isinstance(value, str) or not value.strip():
        raise layout(where, f"text in {name!r}", value)
    return value.strip()


def time_of(where: str, value: object) -> float:
    """Seconds, as from times.parse_time; errors name the record."""
    try:
        return parse_time(value)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def literal_list(where: str, record: dict[str, Any], name: str) -> list[Any]:
    """A field that holds a list, or the text of a Python list."""
    value = record[name]
    found = _literal(value) if isinstance(value, str) else value
    if not isinstance(found, list | tuple):
        raise layout(where, f"a list in {name!r}", value)
    return list(found)


def captions_of(value: object) -> list[str]:
    """Captions from text, a list of texts, the text of a Python list of texts, or nothing."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "(")):
        listed = _literal(value)
        if isinstance(listed, list | tuple) and all(isinstance(one, str) for one in listed):
            value = listed
    found = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    texts = (one.encode("utf-8", "replace").decode().strip() for one in found if isinstance(one, str))  # half an emoji
    return list(dict.fromkeys(one for one in texts if one))


def others(record: dict[str, Any], used: Collection[str]) -> dict[str, Any]:
    """The remaining fields of a record, for a row's meta, without empty ones and raw bytes."""
    return {
        name: value
        for name, value in record.items()
        if name not in used
        and value not in (None, "")
        and not isinstance(value, bytes)
        and not (isinstance(value, float) and not math.isfinite(value))
    }


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _csv(path: Path) -> Iterator[Record]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a row of Panda-70M may hold hundreds of captions
    with _opened(path) as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        header: list[str] | None = None
        while True:
            where = f"{path.name}:{reader.line_num + 1}"
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise layout(where, "a row of csv", str(error)) from error
            if cells is None:
                break
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                raise layout(where, f"{len(header)} cells as in the first row", f"{len(cells)}: {cells}")
            else:
                yield where, dict(zip(header, cells, strict=True))
        if header is None:
            raise UsageError(f"{path} is empty.")


def _jsonl(path: Path) -> Iterator[Record]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path.name}:{number}"
                try:
                    record = json.loads(line)
                except (json.JSONDecodeError, RecursionError) as error:
                    raise layout(where, "a JSON object in each line", line.strip()) from error
                yield where, _object(where, record)


def _json_list(path: Path) -> Iterator[Record]:
    """The objects of a json list, streamed with only a part in memory."""
    decoder = json.JSONDecoder()
    with _opened(path) as file:
        text, at, number = file.read(_CHUNK).lstrip(), 1, 0
        if not text.startswith("["):
            raise layout(str(path), "a JSON list of objects", text[:80])
        while True:
            at = _GAP.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
            where = f"{path.name}[{number}]"
            try:
                if text[at : at + 1] == "]":
                    return
                record, end = decoder.raw_decode(text, at)
            except (json.JSONDecodeError, RecursionError) as error:
                more = file.read(max(_CHUNK, len(text) - at))  # twice as much each time: an object is parsed log times
                if not more:
                    raise layout(where, "a JSON object and the end of the list", text[at : at + 80]) from error
                text, at = text[at:] + more, 0
                continue
            yield where, _object(where, record)
            at, number = end, number + 1


def _parquet(path: Path) -> Iterator[Record]:
    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    yield f"{path.name}[{number}]", record
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}.") from error


def _object(where: str, record: object) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise layout(where, "a JSON object", record)
    return record


def _names(record: dict[str, Any]) -> str:
    return ", ".join(str(name) for name in record) or "no fields"


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a text file; errors on reading it become UsageErrors."""
    try:
        with path.open(encoding="utf-8-sig", newline="" if path.suffix.lower() in (".csv", ".tsv") else None) as file:
            yield file
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}. Convert it first."
        ) from error
