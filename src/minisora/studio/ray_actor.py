"""The code in an actor on a node of a Ray cluster: process.py, and the files of its jobs.

The server calls its methods: `work` once, which returns only at the end; `hear` again and again,
for what the process sends; `tell` for what it is sent. Nodes need not share a folder, so media
come and results go in pieces. All files are in one folder of the node, which the actor removes at
its end; those of actors that have crashed it removes at its start.

Here: the actor; importing it loads neither Ray nor torch. Not here: the server's side
(ray_workers.py), what it runs (process.py).
"""

from __future__ import annotations

import hashlib
import os
import queue
import re
import shutil
import socket
import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minisora
from minisora.outside import as_path
from minisora.studio import process
from minisora.studio.messages import Setup

PREFIX = "minisora-studio-"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an actor is. folder: of its files"""

    node: str
    version: str
    folder: Path


class Actor:
    """A process of the studio on a node."""

    def __init__(self) -> None:
        _remove_left()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self._told: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def place(self) -> Place:
        return Place(node=socket.gethostname(), version=minisora.__version__, folder=self._folder)

    def lacking(self, models: Mapping[str, bytes]) -> list[str]:
        """Models that are not on this node. models: bundle.json by the name of a folder"""
        from minisora.bundle import available

        return [
            name
            for name, about in models.items()
            if name not in available() and not _has(as_path(name) / "bundle.json", about)
        ]

    def work(self, setup: Setup) -> None:
        """Run the process."""
        try:
            process.serve(self, setup)
        except Exception:
            traceback.print_exc()
        finally:
            self._said.put(None)

    def send(self, message: Any) -> None:
        self._said.put(message)

    def recv(self) -> Any:
        return self._told.get()

    def tell(self, message: Any) -> None:
        """Hand a message to the process."""
        self._told.put(message)

    def hear(self) -> list[Any]:
        """Messages of the process since the last call, at least one; None is its end."""
        messages = [self._said.get()]
        while not self._said.empty():
            messages.append(self._said.get())
        return messages

    def write(self, path: Path, piece: bytes) -> None:
        """Append to a file, which is made with its folder if it is missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(piece)

    def sha256(self, path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def read(self, path: Path, start: int, size_bytes: int) -> bytes:
        """Bytes of a file from `start` on; none at its end."""
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size_bytes)

    def remove(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def leave(self) -> None:
        """Remove all files, before the actor is killed."""
        self.remove(self._folder)


def _has(path: Path, content: bytes) -> bool:
    """True if a file has this content."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _remove_left() -> None:
    """Remove the folders of actors that are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = re.match(rf"{PREFIX}(\d+)-", folder.name)
        if owner is not None and not _runs(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True
