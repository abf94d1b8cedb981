"""Records of tables of any kind: place and fields of each entry.

Here: kinds of files by suffix, records. Not here: reading each kind (delimited.py, objects.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from minisora.errors import UsageError
from minisora.tables.delimited import delimited
from minisora.tables.entry import STRICT, Entry, Skipped, layout, names_of
from minisora.tables.objects import json_lines, json_list, parquet

Record = tuple[str, dict[str, Any]]  # place and fields

_COLUMNS: dict[str, Callable[[Path], Iterator[Entry]]] = {".csv": delimited, ".tsv": delimited, ".parquet": parquet}
KINDS = {**_COLUMNS, ".json": json_list, ".jsonl": json_lines, ".ndjson": json_lines}


def entries(path: Path) -> Iterator[Entry]:
    """Entries of a table by its suffix, including blank and broken ones.

    Raises UsageError if the file cannot be read or is of an unknown kind.
    """
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path} is no annotation file that is known here: use {', '.join(KINDS)}.")
    return KINDS[path.suffix.lower()](path)


def records(path: Path, needed: Collection[str] = (), skipped: Skipped = STRICT) -> Iterator[Record]:
    """Entries of a table, without blank and broken ones.

    needed:  fields that each must have
    skipped: receives blank and broken entries

    Raises UsageError as `entries` does.
    """
    for _, where, record in numbered_records(path, needed, skipped):
        yield where, record


def numbered_records(
    path: Path, needed: Collection[str] = (), skipped: Skipped = STRICT
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Like `records`, with the number of each entry, from 0, without blank but with broken ones."""
    number = 0
    for where, value, problem in entries(path):
        if value is None and not problem:
            skipped.blank += 1
            continue
        if not problem and not isinstance(value, dict):
            problem = str(layout(where, "a JSON object", value))
        elif not problem and (missing := [name for name in needed if name not in value]):
            error = layout(where, f"the fields {', '.join(needed)}", f"no {missing[0]!r} among {names_of(value)}")
            if path.suffix.lower() in _COLUMNS:  # no other row has it
                raise error
            problem = str(error)
        if problem:
            skipped.add(where, problem)
        else:
            yield number, where, value
        number += 1
