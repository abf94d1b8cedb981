"""Entries of tables and lists, skipped entries, and names of columns.

An entry has a place ("train.csv:12", "qa.json[3]"), which messages name.

Here: the types that all readers share. Not here: reading (the other files of this folder).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from minisora.errors import UsageError

T = TypeVar("T")

# Usual names of columns, the most likely first. Case, spaces, - and _ do not matter.
FILE = (
    *("path", "video", "videos", "file", "video path", "file path", "file name", "source"),
    *("video file", "video name", "clip", "clip path", "clip name", "media"),
)
TEXT = ("text", "caption", "captions", "cap", "prompt", "prompts", "description")
PROMPT = ("prompt", "prompts", "text", "caption", "captions", "cap", "description")

_ALL_BROKEN = 1000  # entries from the first on; a file that begins so is of another layout


class Entry(NamedTuple):
    """One row, line or object.

    value:   fields by name, or the text of a line; None if the entry is blank or broken
    problem: a sentence on what is broken, with the place; "" if nothing is
    """

    where: str
    value: Any
    problem: str = ""


@dataclass
class Skipped:
    """Entries that were skipped while a file was read.

    strict: raise for a broken entry
    good:   number of used entries
    blank:  number of blank ones
    broken: place and reason of each broken one
    notes:  remarks for the user, each once
    """

    strict: bool = False
    good: int = 0
    blank: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, where: str, reason: str) -> None:
        """Add a broken entry. Raises UsageError if strict, or if the first thousand are broken."""
        if self.strict:
            raise UsageError(reason)
        self.broken.append((where, reason))
        if not self.good and len(self.broken) == _ALL_BROKEN:
            raise UsageError(f"{self.broken[0][1]} So are the {_ALL_BROKEN - 1} entries after it.")

    def note(self, text: str) -> None:
        self.notes[text] = None

    def entry(self, where: str) -> _Using:
        """Context manager: a UsageError in the block makes the entry a broken one."""
        return _Using(self, where)

    def unless_all(self, found: Iterable[T]) -> Iterator[T]:
        """Pass on what is found. Raises UsageError at the end if every entry was broken."""
        yield from found
        if self.broken and not self.good:
            raise UsageError(self.broken[0][1])


class _Using:
    def __init__(self, skipped: Skipped, where: str) -> None:
        self._skipped, self._where = skipped, where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._skipped.good += 1
        elif isinstance(error, UsageError) and not self._skipped.strict:
            self._skipped.add(self._where, str(error))
            return True
        return False


STRICT = Skipped(strict=True)


def layout(where: str, expected: str, found: object) -> UsageError:
    """The error for content of an unexpected layout."""
    text = found if isinstance(found, str) and found.strip() else repr(found)
    return UsageError(f"{where}: expected {expected}, found {text[:200]}. Is it the file that is meant?")


def names_of(record: Iterable[object]) -> str:
    """Names of fields, for messages."""
    return ", ".join(map(str, record)) or "no fields"


def columns(names: Iterable[str], synonyms: Sequence[str]) -> list[str]:
    """The names that are among the synonyms, the most likely first.

    Raises UsageError if two of them differ only in case, spaces, - and _.
    """
    return list(_columns(tuple(names), tuple(synonyms)))


def column(where: str, names: Iterable[str], synonyms: Sequence[str], skipped: Skipped) -> str | None:
    """The most likely of the names that are among the synonyms; None if there is none.

    If there are several, the choice is noted. where: name of the file
    """
    found = columns(names, synonyms)
    if len(found) > 1:
        others = ", ".join(map(repr, found[1:]))
        skipped.note(f"{where}: column {found[0]!r} is used, not {others}.")
    return found[0] if found else None


@lru_cache(maxsize=256)
def _columns(names: tuple[str, ...], synonyms: tuple[str, ...]) -> tuple[str, ...]:
    found = list[str]()
    for wanted in map(plain, synonyms):
        alike = [name for name in names if plain(name) == wanted]
        if len(alike) > 1:
            raise UsageError(f"two columns have one name: {alike[0]!r} and {alike[1]!r}. Rename one.")
        found += alike
    return tuple(found)


@lru_cache(maxsize=1024)
def plain(name: str) -> str:
    """A column's name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", str(name)).casefold())
