"""Importers: annotation files of data sets, plain folders and tables, to rows of table.py.

An importer is a function from a path to rows, in the order of the file, read as it streams. It
opens no video and no pickle, and downloads nothing. It refuses a file of another layout than it
knows, with the row and what is in it. A row that is broken costs itself: the importer passes it to
`Skipped`, which raises for it where nobody else takes it. Rows of one clip, a span that ends before
it starts, and a file that is not there, are left to the runner and to `pair`.

Here: the list of importers. Not here: which local file a row means (pair.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from minisora.curate.importers import internvid, msrvtt, panda70m, plain, shot2story, videoinstruct, youku
from minisora.curate.importers.pair import pair
from minisora.curate.table import Row
from minisora.errors import UsageError
from minisora.tables.entry import Skipped

__all__ = ["IMPORTERS", "Importer", "importer_named", "pair"]

Importer = Callable[[Path, Skipped], Iterator[Row]]

IMPORTERS: dict[str, Importer] = {
    "folder": plain.folder,
    "table": plain.table,
    "panda70m": panda70m.rows,
    "videoinstruct": videoinstruct.rows,
    "youku": youku.rows,
    "msrvtt": msrvtt.rows,
    "internvid": internvid.rows,
    "shot2story": shot2story.rows,
}


def importer_named(name: str) -> Importer:
    """For text that comes from outside."""
    if name not in IMPORTERS:
        raise UsageError(f"there is no importer {name!r}. Choose one of: {', '.join(IMPORTERS)}.")
    return IMPORTERS[name]
