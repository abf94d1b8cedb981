"""Results: the files of a job in one folder, complete once their manifest is there.

    jobs/<id>/        video.mp4  thumbnail.webp  spritesheet.jpg  request.json  manifest.json

A worker writes them under a temporary name and syncs them; the server publishes them by one rename.
So after a crash a folder under its own name is whole, and any other is removed.

Here: sealing, publishing, reading and removing such folders. Not here: what is written into them
(process.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from minisora.generate.fields import adapter
from minisora.studio.blobs import storage, sync_folder
from minisora.studio.jobs import File, Made

MANIFEST = "manifest.json"
TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "gif": "image/gif",
    "png": "image/png",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "json": "application/json",
}
_MADE = adapter(Made)


def seal(folder: Path, variants: Mapping[str, str], facts: Mapping[str, Any]) -> Made:
    """Sync the files of a result, then write its manifest.

    variants: names of files in the folder, by variant
    facts:    the other fields of Made
    """
    with storage():
        files = {variant: _file(folder / name) for variant, name in variants.items()}
        made = Made(files=files, **facts)
        with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
            json.dump(_MADE.dump_python(made, mode="json"), manifest)
            manifest.flush()
            os.fsync(manifest.fileno())
        sync_folder(folder)
    return made


def _file(path: Path) -> File:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return File(name=path.name, sha256=digest, size_bytes=path.stat().st_size, type=TYPES[path.suffix[1:]])


class Results:
    """Results in a folder, which is made if it is missing. Methods block: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with storage():
            folder.mkdir(parents=True, exist_ok=True)

    def unfinished(self, job_id: str, attempt: int) -> Path:
        """Temporary folder of an attempt; not made yet."""
        return self._folder / f"{job_id}.{attempt}.tmp"

    def publish(self, job_id: str, attempt: int) -> Made:
        """Put a sealed result in its place; it stays there after a crash.

        Raises StorageFull.
        """
        with storage():
            self.unfinished(job_id, attempt).rename(self._folder / job_id)
            sync_folder(self._folder)
        made = self.read(job_id)
        assert made is not None, job_id
        return made

    def read(self, job_id: str) -> Made | None:
        """Facts of a published result; None if there is none, or if a file of it is missing."""
        folder = self._folder / job_id
        try:
            made: Made = _MADE.validate_json((folder / MANIFEST).read_bytes())
            sizes = {(folder / file.name).stat().st_size == file.size_bytes for file in made.files.values()}
        except (OSError, ValueError):
            return None
        return made if sizes == {True} else None

    def path(self, job_id: str, file: File) -> Path:
        """Path of a file of a published result."""
        return self._folder / job_id / file.name

    def discard(self, job_id: str, attempt: int) -> None:
        """Remove what an attempt has written."""
        shutil.rmtree(self.unfinished(job_id, attempt), ignore_errors=True)

    def remove(self, job_ids: Collection[str]) -> None:
        """Remove published results."""
        for job_id in job_ids:
            shutil.rmtree(self._folder / job_id, ignore_errors=True)

    def clean(self, job_ids: Collection[str]) -> None:
        """Remove what belongs to none of these jobs, and all that was not published."""
        for path in self._folder.iterdir():
            if path.name not in job_ids:
                shutil.rmtree(path, ignore_errors=True)
