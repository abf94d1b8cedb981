"""Items of the library in other formats: written when they are asked for, then kept for a while.

    downloads/<sha256>.gif  <sha256>-1250.png    by the item's own file; a frame by milliseconds

Here: which formats there are of an item, the files, their bound. Not here: the process that writes
them (converting.py), the routes (videos.py, library.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Depends, Query

from minisora.studio.api.converting import Conversion, command
from minisora.studio.api.errors import Refusal, invalid, wait
from minisora.studio.api.inspection import output_of
from minisora.studio.api.settings import DownloadBounds
from minisora.studio.blobs import Blobs, storage
from minisora.studio.jobs import Item, StorageFull
from minisora.studio.results import TYPES

MOST_PROCESSES, MOST_WAITING = 2, 32
_LATER_SECONDS = 5.0
_SUFFIXES = {kind: suffix for suffix, kind in TYPES.items()}
_PART = ".part"


@dataclass(frozen=True)
class Chosen:
    """Format of a download.

    format: of the file as it is, if not given
    at:     seconds; a png is of the frame that is shown then
    """

    format: Literal["mp4", "webm", "gif", "mkv", "png"] | None = None
    at: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None

    def is_other(self, item: Item, variant: str) -> bool:
        """True if the item's file is to be converted. Raises Refusal for what it cannot be."""
        if self.format is not None and variant != "video":
            raise invalid("format is of the video itself: leave out variant.", "format")
        if self.at is not None and self.format != "png":
            raise invalid("at is of one frame: give format=png too.", "at")
        if self.format is None:
            return False
        if self.at is not None and self.at >= item.num_frames / item.fps:
            raise invalid(f"at: {item.name} lasts {item.num_frames / item.fps:.4g} s.", "at")
        if item.num_frames == 1 and self.format != "png":
            raise invalid(f"{item.name} is a picture: no {self.format} moves it. Ask for png.", "format")
        return item.type != TYPES[self.format] or (self.format == "png" and item.num_frames > 1)


As = Annotated[Chosen, Depends()]


class Downloads:
    """Converted files in a folder, which is made if it is missing."""

    def __init__(self, folder: Path, blobs: Blobs, bounds: DownloadBounds) -> None:
        self._folder, self._blobs, self._bounds = folder, blobs, bounds
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by name: one for all who ask for the same
        self._free = asyncio.Semaphore(MOST_PROCESSES)
        self._sweeping = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"*{_PART}"):  # of a server that was killed
            shutil.rmtree(left, ignore_errors=True)

    async def find(self, item: Item, chosen: Chosen) -> Path:
        """File of an item in a format; it is converted if nobody asked for it lately.

        Raises Refusal if that takes too much, or cannot be; StorageFull.
        """
        at = round(chosen.at or 0.0, 3)
        moment = f"-{1000 * at:.0f}" if chosen.format == "png" else ""
        name = f"{item.sha256}{moment}.{chosen.format}"
        path = self._folder / name
        if not path.is_file():
            if name not in self._tasks:
                if len(self._tasks) >= MOST_WAITING:
                    raise wait("many files are being converted. Try again.", "busy", _LATER_SECONDS)
                self._tasks[name] = asyncio.create_task(self._convert(item, path, at))
                self._tasks[name].add_done_callback(lambda _: self._tasks.pop(name))
            await asyncio.shield(self._tasks[name])  # a client that hangs up ends it for no other
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # when it was last used, and made
        return path

    async def close(self) -> None:
        """Stop what is being converted."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def sweep(self) -> None:
        """Remove files of items that are gone, and those used longest ago if there are too many."""
        with self._sweeping:
            used = {path: path.stat() for path in self._folder.iterdir() if path.suffix != _PART}
            total = 0
            for path in sorted(used, key=lambda path: used[path].st_atime_ns, reverse=True):
                total += used[path].st_size
                if total > self._bounds.kept_bytes or self._blobs.find(path.name[:64]) is None:
                    path.unlink(missing_ok=True)

    async def _convert(self, item: Item, path: Path, at: float) -> None:
        blob, part = self._blobs.find(item.sha256), self._folder / f"{secrets.token_hex(16)}{_PART}"
        if blob is None:
            raise Refusal(404, f"the file of {item.id} is gone.", "not_found")
        source = part / f"source.{_SUFFIXES.get(item.type, 'bin')}"  # some readers go by it
        target = part / f"made{path.suffix}"
        wanted = Conversion(source=str(source), target=str(target), height=item.height, width=item.width, at=at)
        try:
            with storage():
                part.mkdir()
                source.symlink_to(blob)
            async with self._free:
                seconds = self._bounds.decode_seconds
                answer = await output_of(command(wanted, self._bounds), folder=part, seconds=seconds)
            _check(answer, item, path.suffix[1:], {str(source): item.name, str(target): path.suffix[1:]})
            target.replace(path)
            await asyncio.to_thread(self.sweep)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _check(answer: bytes, item: Item, form: str, names: dict[str, str]) -> None:
    """Raise Refusal or StorageFull if nothing was written. names: of paths in the message"""
    try:
        found = json.loads(answer)
    except ValueError:
        message = f"{item.name} takes more memory, time or disk as {form} than a download may. Ask for mp4."
        raise Refusal(400, message, "not_converted", "format") from None
    if found["full"]:
        raise StorageFull("the disk is full: free some space on the server, then try again.")
    if message := found["refused"]:
        for path, name in names.items():
            message = message.replace(path, name)
        raise Refusal(400, message, "not_converted", "format")
