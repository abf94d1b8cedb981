"""Rows of csv and tsv files.

The delimiter is a comma, a semicolon, a tab or a bar: that of Excel's first line `sep=`, or else
the one that fits the first rows best. Quoted cells may contain the delimiter and line ends. The
first row has the names of the columns; if it is a single cell, so is every row.

A row with another number of cells is broken. So is one whose quotes are never closed; reading
continues on the line after the opening quote.

Here: rows and their cells. Not here: lines (text.py), names of columns (entry.py).
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path

from minisora.errors import UsageError
from minisora.tables.entry import FILE, TEXT, Entry, plain
from minisora.tables.text import Line, raw_lines

DELIMITERS = ",;\t|"
_ONE_COLUMN = "\x1f"  # a delimiter that no cell holds
_SAMPLE = 50  # lines by which the delimiter is chosen
_LONGEST = 1 << 22  # characters of a row; one that goes on for longer lacks a closing quote
_SAID = re.compile(r'"?sep=([^"\w\r\n ])"?\s*', re.IGNORECASE)


def delimited(path: Path) -> Iterator[Entry]:
    """Rows of a file as fields by name."""
    rows, header = _Rows(path), list[str]()
    while rows.read():
        cells, problem = rows.cells, rows.problem
        blank = not problem and not "".join(cells).strip()
        if not header:
            if problem:
                raise UsageError(f"{problem} The first row names the columns.")
            header = [] if blank else _header(rows.where, cells)
        elif blank:
            yield Entry(rows.where, None)
        else:
            if len(cells) > len(header) and not "".join(cells[len(header) :]).strip():
                cells = cells[: len(header)]
            if not problem and len(cells) != len(header):
                mend = (
                    f"Quote cells that contain {rows.delimiter!r}." if len(cells) > len(header) else "Add the others."
                )
                found = f"{len(cells)}: {str(cells)[:200]}"
                problem = f"{rows.where}: expected {len(header)} cells as in the first row, found {found}. {mend}"
            yield Entry(rows.where, None if problem else dict(zip(header, cells, strict=True)), problem)
    if not header:
        raise UsageError(f"{path} is empty.")


def _header(where: str, cells: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    if twice := next((name for name, count in Counter(filter(None, header)).items() if count > 1), None):
        raise UsageError(f"{where}: two columns are named {twice!r}. Rename one.")
    return header


class _Rows:
    """Rows of a csv file. Keeps the lines of the current row, so that they can be read again.

    delimiter: of the file
    cells:     of the current row
    problem:   a sentence on what is broken in it, with the place; "" if nothing is
    """

    def __init__(self, path: Path) -> None:
        csv.field_size_limit(2**31 - 1)  # a row of Panda-70M may hold hundreds of captions
        self._path, self._lines = path, raw_lines(path)
        self._waiting = deque(islice(self._lines, _SAMPLE))
        self._row, self._length, self._unclosed = list[Line](), 0, False
        self.delimiter = self._delimiter()
        self._parse = partial(csv.reader, delimiter=self.delimiter, skipinitialspace=True)
        self._reader = self._parse(self)
        self.cells, self.problem = list[str](), ""

    @property
    def where(self) -> str:
        return f"{self._path.name}:{self._row[0][0]}"

    def read(self) -> bool:
        """Read the next row; False at the end."""
        self._row, self._length, self._unclosed = [], 0, False
        try:
            self.cells = next(self._reader, [])
            self.problem = next(filter(None, map(itemgetter(2), self._row)), "")
        except csv.Error:
            self.cells, self.problem = [], f"{self.where} has a \\r inside a line. Save it with other line ends."
        if self._unclosed or (len(self._row) > 1 and not self._well_quoted()):
            began = (self._row[0][1] or "").strip()
            self.problem = f"{self.where} has quotes that are not closed: {began[:80]}. Close them."
            self._waiting.extendleft(reversed(self._row[1:]))
        return bool(self._row)

    def _well_quoted(self) -> bool:
        """True if a delimiter follows each closing quote.

        Otherwise the opening quote of a later row closed this row's cell.
        """
        try:
            next(self._parse((text or "" for _, text, _ in self._row), strict=True))
        except csv.Error:
            return False
        return True

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> str:
        """The next line of the row for csv.reader, which asks for more inside quotes."""
        line = None
        if self._length <= _LONGEST:
            line = self._waiting.popleft() if self._waiting else next(self._lines, None)
        if line is None:
            self._unclosed = bool(self._row)
            raise StopIteration
        self._row.append(line)
        self._length += len(line[1] or "")
        return line[1] or ""

    def _delimiter(self) -> str:
        """Choose the delimiter: by the names in the first row, then by rows of equal length."""
        sample = [(text or "").replace("\r", "") for _, text, _ in self._waiting]
        first = next((n for n, text in enumerate(sample) if text.strip()), 0)
        if sample and (said := _SAID.fullmatch(sample[first])):
            for _ in range(first + 1):
                self._waiting.popleft()
            return said[1]
        known = {plain(name) for name in (*FILE, *TEXT)}

        def fit(delimiter: str) -> tuple[int, bool, float]:
            rows = [row for row in csv.reader(sample, delimiter=delimiter, skipinitialspace=True) if any(row)] or [[]]
            names = len(known & set(map(plain, rows[0])))
            return names, len(rows[0]) > 1, sum(len(row) == len(rows[0]) for row in rows) / len(rows)

        best = max(DELIMITERS, key=fit)
        return best if fit(best)[1] else _ONE_COLUMN
