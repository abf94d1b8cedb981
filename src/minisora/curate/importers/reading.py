"""Cells of annotation files: text, times, lists, captions.

Lists kept as Python literals are read by `ast.literal_eval`, which runs nothing.

Here: cells. Not here: records (tables/), the meaning of fields (the importers).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection
from typing import Any

from minisora.curate.times import parse_time
from minisora.errors import UsageError
from minisora.tables.entry import layout


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
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
