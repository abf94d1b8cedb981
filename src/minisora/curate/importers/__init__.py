"""Importers: annotation files of data sets, plain folders and tables, to rows of table.py.

An importer is a function from a path to rows, which streams the file in order. It opens no video
and no pickle, and downloads nothing. It raises UsageError for a file of another layout, with the
row and its content. A broken row costs itself: it goes to `Skipped`, whose default raises for it.
Rows about one clip are joined by the runner; spans that end before they start and missing files are
found by `pair`.

Here: the list of importers. Not here: finding the local file of a row (pair.py).
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
    """The importer of a name from a recipe. Raises UsageError if there is none."""
    if name not in IMPORTERS:
        raise UsageError(f"there is no importer {name!r}. Choose one of: {', '.join(IMPORTERS)}.")
    return IMPORTERS[name]
