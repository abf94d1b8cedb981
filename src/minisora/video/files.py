"""Atomic writing: a file is there whole or not at all.

Here: a temporary file next to the target and the rename that puts it in place; weights that others
may read; errors of the system in words. Not here: file contents (write.py, data/shards.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from minisora.errors import DiskFull, UsageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, renamed to `path` when the block ends, removed if it raises.

    Raises UsageError if the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a rename that reaches the disk before the data would leave an empty file
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file with default permissions, not for the owner alone."""
    with replacing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata=metadata)
        temporary.chmod(mode)


def cannot_write(path: Path, error: OSError) -> UsageError:
    """Make the UsageError for a write that the system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"the disk is full: {path} was not written. Free some space or choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UsageError(f"{path} cannot be written: permission denied. Choose another folder.")
    return UsageError(f"{path} was not written: {error.strerror or error}.")
