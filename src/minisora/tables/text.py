r"""Encodings and lines of text files.

The encoding is UTF-8, or UTF-16 if there is its byte order mark or the zero bytes of Latin letters.
Lines end at \n or \r\n only, unlike those of `str.splitlines`, which also splits at U+2028, U+0085
or a form feed.

Here: opening, numbered lines. Not here: contents of a line (delimited.py, objects.py).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minisora.errors import UsageError
from minisora.tables.entry import Entry

Line = tuple[int, str | None, str]  # number, text with its end, and problem; no text if there is one

_HEAD = 1 << 16  # bytes by which the encoding is chosen
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def lines(path: Path) -> Iterator[Entry]:
    """Lines of a text file, stripped."""
    for number, line, problem in raw_lines(path):
        yield Entry(f"{path.name}:{number}", (line or "").strip() or None, problem)


def text_lines(path: Path) -> list[str]:
    """Lines of a text file that are not blank, stripped.

    Raises UsageError if one cannot be decoded.
    """
    found = list[str]()
    for _, line, problem in lines(path):
        if problem:
            raise UsageError(problem)
        if line:
            found.append(line)
    return found


def raw_lines(path: Path) -> Iterator[Line]:
    """All lines of a text file, with their ends."""
    with opened(path) as (file, encoding):
        for number, raw in enumerate(file if encoding == "utf-8" else _wide_lines(file, encoding), 1):
            try:
                line = raw.decode(encoding)
            except UnicodeDecodeError as error:
                yield number, None, f"{path.name}:{number} is not {encoding.upper()} text: {error.reason}. Mend it."
            else:
                yield number, line.removeprefix("\ufeff"), ""  # of a second file, appended


def _wide_lines(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    r"""Lines of UTF-16, in which a byte like \n may be half of another character."""
    held, end = b"", "\n".encode(encoding)
    for piece in file:
        held += piece
        if len(held) % 2:
            held += file.read(1)
        if held.endswith(end):
            yield held
            held = b""
    if held:
        yield held


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Open a text file after its byte order mark; returns the file and its encoding.

    Errors of the system and of decoding become UsageErrors.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            encoding, mark = _encoding(path, head)
            file.seek(len(mark))
            yield file, encoding
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not {error.encoding.upper()} text: {error.reason}. Save it as UTF-8.") from error


def _encoding(path: Path, head: bytes) -> tuple[str, bytes]:
    """Encoding of a file and its byte order mark, from its first bytes."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise UsageError(f"{path} is not UTF-8 text but UTF-32. Save it as UTF-8.")
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, mark
    zeros = head[0::2].count(0), head[1::2].count(0)
    if max(zeros) > len(head) / 8 and max(zeros) > 4 * min(zeros):
        return ("utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"), b""
    return "utf-8", b""
