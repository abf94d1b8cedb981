"""Atomic writing: a file is there whole or not at all, under whatever name the file system takes.

Here: what can be written where, before any work; a temporary file next to the target and the rename
that puts it in place; another place if that fails; names for FFmpeg; weights that others may read;
errors of the system in words. Not here: file contents (write.py, data/shards.py), which existing
files may be replaced (origin.py).
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from minisora.errors import DiskFull, UsageError

if TYPE_CHECKING:
    from torch import Tensor

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.part(\..*)?", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # one slash: a Path joins the two of https://


def ffmpeg_name(path: Path) -> str:
    """Name by which FFmpeg opens a file; without `file:` it takes 12:30.mp4 for an address."""
    return f"file:{path}"


def check_place(path: Path) -> None:
    """Check that a file can be written there, before any work. Nothing is left behind.

    Raises UsageError for a folder, a device or a pipe, an address, a folder that is missing or not
    writable, a file that is read-only, and a name that the file system does not take.
    """
    folder = path.parent
    try:
        target = _target(path)
        if target.is_dir():
            raise UsageError(f"{path} is a folder. Name a file in it, such as {path / 'video.mp4'}.")
        if not folder.is_dir() and _ADDRESS.match(str(path)):
            raise UsageError(f"{path} is an address. Name a file on this machine, and send that.")
        if not target.parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no folder {target.parent}. Make it first.")
        if target.exists() and not (os.access(target, os.W_OK) and target.stat().st_mode & 0o222):
            raise UsageError(f"{path} cannot be written: it is read-only. Choose another name.")
        with tempfile.TemporaryDirectory(prefix=".minisora-", dir=target.parent) as beside:
            (Path(beside) / target.name).touch()
    except OSError as error:
        raise cannot_write(path, error) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path, renamed to `path` when the block ends, removed if it raises.

    If `path` is a link, the file that it leads to is replaced.

    Raises UsageError if the disk is full or the folder cannot be written, and for what is no file.
    """
    temporary = None
    try:
        target = _target(path)
        temporary = target.with_name(_temporary_name(target))
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a rename that reaches the disk before the data would leave an empty file
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            _remove(temporary)


def delivered(path: Path, write: Callable[[Path], None], names: Callable[[Path], Iterable[Path]]) -> None:
    """Write finished work to `path` or, if that fails, elsewhere: raises UsageError with the place.

    write: writes all of it, by `replacing`
    names: files that `write` makes of a path
    """
    try:
        write(path)
    except UsageError as error:
        for other in _elsewhere(path, names):
            try:
                write(other)
            except UsageError:
                continue
            raise UsageError(f"{error} What was made is kept as {other}.") from error
        raise


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file with default permissions, not for the owner alone."""
    from safetensors.torch import save_file  # not above: it loads torch

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
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(f"{path} cannot be written: the name is too long. Choose a shorter one.")
    if error.errno == errno.ELOOP:
        return UsageError(f"{path} cannot be written: it is a link that leads back to itself. Choose another name.")
    if error.errno in (errno.EINVAL, errno.EILSEQ):
        return UsageError(f"{path} was not written: the file system takes no such name. Choose another.")
    return UsageError(f"{path} was not written: {error.strerror or error}.")


def _target(path: Path) -> Path:
    """The file that a path leads to through links; it need not be there.

    Raises UsageError for a device, a pipe and the like, which a rename would replace.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = stat.S_IFREG
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(f"{path} is a device or a pipe. Name a file: it is put in its place when it is whole.")
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of processes that were killed; none may be writing there."""
    for path in folder.iterdir():
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            _remove(path)


def _temporary_name(path: Path) -> str:
    """At most 63 bytes, which every file system takes; the suffix tells writers the format."""
    suffix, stem = path.suffix if len(os.fsencode(path.suffix)) <= 16 else "", path.stem
    while len(os.fsencode(stem)) > 32:
        stem = stem[:-1]
    return f".{stem}.{secrets.token_hex(4)}.part{suffix}"


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # the folder may be gone, or closed to us: the error that led here says more
        temporary.unlink(missing_ok=True)


def _elsewhere(path: Path, names: Callable[[Path], Iterable[Path]]) -> Iterator[Path]:
    """Places for what could not be written: a free name next to it, then a new temporary folder."""
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    yield next(other for other in numbered if not any(map(os.path.lexists, names(other))))
    try:
        folder = Path(tempfile.mkdtemp(prefix="minisora-"))
    except OSError:
        return
    yield folder / path.name
    folder.rmdir()  # nothing could be written there either
