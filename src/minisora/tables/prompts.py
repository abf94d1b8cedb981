"""Lists of prompts: a text file with one per line, or a table with a column of prompts.

Here: reading a list. Not here: the videos of its rows (eval/prompted.py), generation (cli/).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisora.errors import UsageError
from minisora.tables.entry import FILE, PROMPT, Entry, Skipped, column, layout, names_of
from minisora.tables.records import KINDS, entries
from minisora.tables.text import lines

SUFFIXES = (".txt", *KINDS)


@dataclass(frozen=True)
class PromptRow:
    """One row of a list.

    file:    file name of its video; "" if there is none
    problem: why there is no text, as a sentence; "" if there is
    """

    where: str
    text: str
    file: str = ""
    problem: str = ""


@dataclass(frozen=True)
class PromptList:
    """A list, in the order of its file.

    columns: names of all columns; one for a list without names
    named:   True if there is a column of file names
    blank:   number of blank rows, which are skipped
    notes:   remarks for the user
    """

    rows: tuple[PromptRow, ...]
    columns: tuple[str, ...]
    named: bool
    blank: int
    notes: tuple[str, ...]


def read_prompts_file(path: Path) -> PromptList:
    """Read a list. A broken row keeps its place, with its problem.

    A .json or .jsonl may contain strings instead of objects.

    Raises UsageError if the file cannot be read, is of an unknown kind, or has no prompt.
    """
    skipped, rows, columns, named = Skipped(), list[PromptRow](), dict[str, None](), False
    for where, value, problem in _entries(path):
        if value is None and not problem:
            skipped.blank += 1
            continue
        try:
            if problem:
                raise UsageError(problem)
            fields = {"prompt": value} if isinstance(value, str) else value
            if not isinstance(fields, dict):
                raise layout(where, "a prompt", value)
            columns |= dict.fromkeys(fields)
            file = column(path.name, fields, FILE, skipped)
            named = named or file is not None
            text = _text(where, fields, column(path.name, fields, PROMPT, skipped))
            name = None if file is None else fields[file]
            rows.append(PromptRow(where, text, "" if name is None else str(name).strip()))
        except UsageError as error:
            rows.append(PromptRow(where, "", problem=str(error)))
    if not any(row.text for row in rows):
        raise UsageError(rows[0].problem if rows else f"{path} holds no prompt.")
    return PromptList(tuple(rows), tuple(columns), named, skipped.blank, tuple(skipped.notes))


def _entries(path: Path) -> Iterator[Entry]:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a list of prompts is a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}. Name one.")
    return lines(path) if path.suffix.lower() == ".txt" else entries(path)


def _text(where: str, fields: dict[str, Any], name: str | None) -> str:
    if name is None:
        raise layout(where, f"a column named {', '.join(PROMPT[:-1])} or {PROMPT[-1]}", names_of(fields))
    text = fields[name]
    if not isinstance(text, str) or not text.strip():
        raise layout(where, f"text in {name!r}", text)
    return text.strip()
