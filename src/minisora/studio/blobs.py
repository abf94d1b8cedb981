"""Blobs: files by the SHA-256 of their bytes, under files/ab/<sha256>.

A blob is written under a temporary name, synced, renamed, and its folder is synced: when `put`
returns, it survives a crash. Names from clients never become paths.

Here: writing, finding and removing blobs. Not here: which rows name them (store.py).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class Blob:
    """A file that is kept."""

    sha256: str
    size_bytes: int
    path: Path


class Blobs:
    """Blobs in a folder, which is made if it is missing. Methods block: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        raise NotImplementedError

    def put(self, source: BinaryIO | Path, *, most_bytes: int | None = None) -> Blob:
        """Keep the bytes of an open file or of a path; a blob that is there already is left.

        Raises UsageError for more than `most_bytes`, StorageFull; nothing is left behind then.
        """
        raise NotImplementedError

    def link(self, path: Path, sha256: str) -> Blob:
        """Keep a synced file of known SHA-256 without a copy where the disk has hard links."""
        raise NotImplementedError

    def find(self, sha256: str) -> Path | None:
        """Path of a blob; None if there is none, or if the text is no SHA-256."""
        raise NotImplementedError

    def sweep(self, named: Collection[str], *, older_than: float) -> int:
        """Remove blobs that are not named and were put before a Unix time; returns how many."""
        raise NotImplementedError
