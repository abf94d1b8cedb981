"""Files from clients: decoded once in a process of their own, then kept as items of the library.

Here: keeping what is accepted, thumbnails. Not here: decoding it (inspection.py, sandbox.py),
receiving files (form.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

from minisora.studio.api.errors import Refusal
from minisora.studio.api.form import Upload
from minisora.studio.api.inspection import Inspected, Inspector
from minisora.studio.api.settings import UploadBounds
from minisora.studio.blobs import Blobs, storage
from minisora.studio.jobs import Item, new_id
from minisora.studio.library import Library


class Uploads:
    """Checks and keeps files. folder: for thumbnails, by SHA-256"""

    def __init__(self, folder: Path, blobs: Blobs, library: Library, bounds: UploadBounds) -> None:
        self._folder, self._blobs, self._library = folder, blobs, library
        self._inspector = Inspector(bounds)
        folder.mkdir(parents=True, exist_ok=True)

    async def inspect(self, path: Path, name: str) -> Inspected:
        """Decode a file. name: for messages. Raises Refusal as `Inspector.inspect`."""
        return await self._inspector.inspect(path, name)

    async def keep(self, upload: Upload, about: Inspected) -> None:
        """Keep a file's bytes; `add` makes it an item."""
        await asyncio.to_thread(self._blobs.put, upload.path)
        await asyncio.to_thread(self._write_thumbnail, upload.sha256, about.thumbnail)

    def discard(self, hashes: Iterable[str]) -> None:
        """Remove kept files that no row names."""
        for sha256 in hashes:
            for path in (self._blobs.find(sha256), self._thumbnail_path(sha256)):
                if path is not None:
                    path.unlink(missing_ok=True)

    async def add(self, upload: Upload, about: Inspected, item_id: str, owner: str) -> Item:
        """Add a kept file to the library."""
        item = Item(
            id=item_id,
            owner=owner,
            name=upload.name,
            sha256=upload.sha256,
            type=about.type,
            size_bytes=upload.size_bytes,
            width=about.width,
            height=about.height,
            fps=about.fps,
            num_frames=about.num_frames,
            created_at=0.0,
            is_upload=True,
        )
        return await self._library.add_upload(item)

    async def thumbnail(self, item: Item) -> Path:
        """JPEG of an upload's first frame; made again if it is gone. Raises Refusal."""
        path = self._thumbnail_path(item.sha256)
        if not path.is_file():
            blob = self._blobs.find(item.sha256)
            if blob is None:
                raise Refusal(404, f"the file of {item.id} is gone.", "not_found")
            found = await self.inspect(blob, item.name)
            await asyncio.to_thread(self._write_thumbnail, item.sha256, found.thumbnail)
        return path

    def sweep(self) -> None:
        """Remove thumbnails of blobs that are gone."""
        for path in self._folder.glob("*.jpg"):
            if self._blobs.find(path.stem) is None:
                path.unlink(missing_ok=True)

    def _thumbnail_path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.jpg"

    def _write_thumbnail(self, sha256: str, content: bytes) -> None:
        path = self._thumbnail_path(sha256)
        part = path.with_suffix(f".{os.urandom(8).hex()}.part")
        try:
            with storage():
                part.write_bytes(content)
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def new_upload_id() -> str:
    return new_id("upload")
