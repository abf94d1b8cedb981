"""A lock that allows one run in a folder.

Here: the lock. Not here: its users: curation for its output, the training loop for a run, training
for its latents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from minisora.errors import UsageError
from minisora.video.files import cannot_write, remove_leftovers


@contextmanager
def one_run(folder: Path, advice: str) -> Iterator[None]:
    """Lock the folder, creating it if needed.

    The system releases the lock when the process ends, even after a crash. Temporary files that a
    killed run left in the folder, or in those right inside it, are removed.

    Raises UsageError, with the advice, if another process holds it.
    """
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = held.enter_context((folder / ".lock").open("a+"))
            _lock(file)
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            for place in (folder, *(inner for inner in folder.iterdir() if inner.is_dir())):
                remove_leftovers(place)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"another run, process {file.read().strip()}, is writing to {folder}. "
                f"Wait until it has ended, {advice}."
            ) from None
        except OSError as error:
            raise cannot_write(folder, error) from error
        yield


def _lock(file: IO[Any]) -> None:
    """Lock a file. Raises BlockingIOError if another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # on other systems
        except OSError as error:
            raise BlockingIOError from error
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
