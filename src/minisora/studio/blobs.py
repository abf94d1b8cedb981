"""Blobs: files by the SHA-256 of their bytes, under files/ab/<sha256>.

A blob is written under a temporary name, synced, renamed, and its folder is synced: when `put`
returns, it survives a crash. Names from clients never become paths.

Here: writing, finding and removing blobs. Not here: which rows name them (store.py).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from minisora.errors import UsageError
from minisora.studio.jobs import StorageFull

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20


@dataclass(frozen=True)
class Blob:
    """A file that is kept."""

    sha256: str
    size_bytes: int
    path: Path


class Blobs:
    """Blobs in a folder, which is made if it is missing. Methods block: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # between putting a blob and sweeping it
        with storage():
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob("*.part"):  # of a server that was killed
                left.unlink(missing_ok=True)

    def put(self, source: BinaryIO | Path, *, most_bytes: int | None = None) -> Blob:
        """Keep the bytes of an open file or of a path; a blob that is there already is left.

        Raises UsageError for more than `most_bytes`, StorageFull; nothing is left behind then.
        """
        if isinstance(source, Path):
            with source.open("rb") as file:
                return self.put(file, most_bytes=most_bytes)
        part = self._folder / f"{secrets.token_hex(16)}.part"
        digest, size = hashlib.sha256(), 0
        try:
            with storage(), part.open("wb") as copy:
                while piece := source.read(_PIECE):
                    size += len(piece)
                    if most_bytes is not None and size > most_bytes:
                        raise UsageError(f"the file has more than {most_bytes:,} bytes. Send a smaller one.")
                    digest.update(piece)
                    copy.write(piece)
                copy.flush()
                os.fsync(copy.fileno())
            return self._placed(part, digest.hexdigest(), size)
        finally:
            part.unlink(missing_ok=True)

    def link(self, path: Path, sha256: str) -> Blob:
        """Keep a synced file of known SHA-256, without a copy where the disk has hard links."""
        part = self._folder / f"{secrets.token_hex(16)}.part"
        try:
            os.link(path, part)
        except OSError:
            return self.put(path)
        try:
            return self._placed(part, sha256, path.stat().st_size)
        finally:
            part.unlink(missing_ok=True)

    def find(self, sha256: str) -> Path | None:
        """Path of a blob; None if there is none, or if the text is no SHA-256."""
        path = self._path(sha256) if _SHA256.fullmatch(sha256) else None
        return path if path is not None and path.is_file() else None

    def hold(self, sha256: str) -> bool:
        """Keep a blob from sweeps as if it were put now; False if there is none."""
        with self._lock:
            path = self.find(sha256)
            if path is not None:
                os.utime(path)
            return path is not None

    def sweep(self, named: Collection[str], *, older_than: float) -> int:
        """Remove blobs that are not named and were put before a Unix time; returns how many."""
        count = 0
        for path in self._folder.glob("*/*"):
            with self._lock, suppress(FileNotFoundError):  # a call that failed takes its own back
                if path.name not in named and path.stat().st_mtime < older_than:
                    path.unlink()
                    count += 1
        return count

    def _placed(self, part: Path, sha256: str, size_bytes: int) -> Blob:
        path = self._path(sha256)
        with storage(), self._lock:
            if path.is_file():
                os.utime(path)  # so that a sweep does not take it before its row is there
                return Blob(sha256, size_bytes, path)
            if not path.parent.is_dir():
                path.parent.mkdir(exist_ok=True)
                sync_folder(self._folder)
            os.utime(part)
            part.rename(path)
            sync_folder(path.parent)
        return Blob(sha256, size_bytes, path)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a crash."""
    if os.name == "nt":  # which has no such thing
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage() -> Iterator[None]:
    """Turn an error of a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk is full: free some space on the server, then try again.") from error
        raise
