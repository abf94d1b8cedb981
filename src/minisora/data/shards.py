"""Shards: tar archives of samples in WebDataset format, with an index for random access.

    shard-000000.tar        members `key.suffix`, the members of one sample next to each other
    shard-000000.parquet    a row for each member: key, suffix, shard, offset and size in bytes,
                            CRC-32, columns (JSON)

`columns` holds metadata of the sample; it is the same in all rows of one sample. A shard exists
when its index does: the index is put in place last, so a writer that is killed leaves whole shards
only, and the next one continues after them. The same samples give the same bytes. The CRC finds
changed bytes, which weights and pictures do not reveal themselves; an index of the first format has
none.

Source: the WebDataset convention, https://github.com/webdataset/webdataset (a key ends at the first
dot; suffixes are lower case).

Here: bytes to and from shards, and replacing broken samples. Not here: what the bytes mean
(clips.py, latents.py), the order of samples (order.py).
"""

from __future__ import annotations

import io
import json
import re
import signal
import sys
import tarfile
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from minisora.errors import UsageError
from minisora.video.files import cannot_write, replacing
from minisora.workers.ahead import report_skipped

Decoded = TypeVar("Decoded")

MOST_BROKEN = 16  # samples in a row
READ_SECONDS = 60.0  # for one sample; a disk far away may hang

_FORMAT = 2
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("suffix", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("crc", pa.uint32()),
        ("columns", pa.string()),
    ],
    metadata={"minisora_shards": str(_FORMAT)},
)
_BLOCK = tarfile.BLOCKSIZE
_DIGITS = "[0-9]" * 6  # of a shard's number, for glob
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SUFFIX = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


class BrokenSample(UsageError):
    """One sample cannot be used; others can."""


class ShardWriter:
    """Write samples into shards of one folder; a context manager closes it unless the block raises.

    folder:    created if missing
    prefix:    several writers may share a folder, each under its own prefix
    max_bytes: a shard is closed before the sample that would exceed it; a larger sample is a shard
               alone
    """

    def __init__(self, folder: Path, *, prefix: str = "shard", max_bytes: int = 256 * 2**20) -> None:
        assert _KEY.fullmatch(prefix) and max_bytes > 0, (prefix, max_bytes)
        self.folder, self.prefix, self.max_bytes = folder, prefix, max_bytes
        with _refusals(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._clear_unfinished()
        self._number = 0
        self.keys_done: set[str] = set()  # in whole shards and in the open one
        for index in folder.glob(f"{prefix}-{_DIGITS}.parquet"):
            self.keys_done.update(_read_index(index).column("key").to_pylist())
            self._number = max(self._number, int(index.stem.rpartition("-")[2]) + 1)
        self._rows: list[dict[str, Any]] = []
        self._tar: tarfile.TarFile | None = None

    def add(self, key: str, members: Mapping[str, bytes], *, columns: Mapping[str, Any] | None = None) -> None:
        """Append one sample.

        key:     unique in the folder; letters, digits, '-' and '_'
        members: bytes by suffix, lower case, such as {"latents.safetensors": ..., "json": ...}
        columns: JSON values to be found in the index without opening the shard
        """
        assert _KEY.fullmatch(key), f"not fit for a key: {key!r}"
        assert members and all(_SUFFIX.fullmatch(suffix) for suffix in members), list(members)
        assert key not in self.keys_done, f"{key!r} is in {self.folder} already"
        text = json.dumps(dict(columns or {}), ensure_ascii=False, sort_keys=True)
        with _refusals(self.folder):
            size_bytes = sum(_BLOCK + _padded(len(data)) for data in members.values())
            if self._tar is not None and self._tar.offset + size_bytes > self.max_bytes:
                self._finish()
            tar = self._tar or self._start()
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")  # its defaults: time, user and group 0
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                self._rows.append(
                    {
                        "key": key,
                        "suffix": suffix,
                        "shard": f"{self._name(self._number)}.tar",
                        "offset": tar.offset - _padded(len(data)),
                        "size": len(data),
                        "crc": zlib.crc32(data),
                        "columns": text,
                    }
                )
        self.keys_done.add(key)

    def close(self) -> None:
        """Finish the open shard."""
        if self._tar is not None:
            with _refusals(self.folder):
                self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._tar is not None:  # the next writer writes this shard again, with the same bytes
            self._tar.fileobj.close()
            self._tar = None
            self._clear_unfinished()

    def _name(self, number: int) -> str:
        return f"{self.prefix}-{number:06d}"

    def _unfinished(self) -> Path:
        return self.folder / f".{self.prefix}.tar.part"

    def _clear_unfinished(self) -> None:
        self._unfinished().unlink(missing_ok=True)
        for tar in self.folder.glob(f"{self.prefix}-{_DIGITS}.tar"):
            if not tar.with_suffix(".parquet").exists():
                tar.unlink()
        for part in self.folder.glob(f".{self.prefix}-{_DIGITS}.*.part.*"):
            part.unlink()

    def _start(self) -> tarfile.TarFile:
        self._tar = tarfile.open(self._unfinished(), "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        return self._tar

    def _finish(self) -> None:
        assert self._tar is not None
        self._tar.close()
        shard = self.folder / f"{self._name(self._number)}.tar"
        with replacing(shard) as temporary:
            self._unfinished().replace(temporary)
        with replacing(shard.with_suffix(".parquet")) as temporary:
            pq.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA), temporary, compression="zstd")
        self._tar, self._rows, self._number = None, [], self._number + 1


class Shards:
    """Samples of all shards in a folder, by number: in order of shard, then as written.

    Holds no open file: threads, forks and spawned workers may share it.

    Raises UsageError when the folder holds no index, or a shard is missing or shorter than its
    index says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        indexes = sorted(folder.glob(f"[!.]*-{_DIGITS}.parquet"))
        if not indexes:
            inside = folder / "clips"  # where `minisora curate` puts them
            where = f"Give {inside}" if any(inside.glob(f"*-{_DIGITS}.parquet")) else "Check the folder's name"
            raise UsageError(f"{folder} holds no shards: there is no index (*.parquet) in it. {where}.")
        table = pa.concat_tables([self._checked(index) for index in indexes])
        keys, shards = table.column("key").to_pylist(), table.column("shard").to_pylist()
        self._rows = [r for r, key in enumerate(keys) if r == 0 or key != keys[r - 1] or shards[r] != shards[r - 1]]
        self.keys: list[str] = [keys[row] for row in self._rows]
        if len(set(self.keys)) != len(self.keys):
            twice = Counter(self.keys).most_common(1)[0][0]
            raise UsageError(f"{folder} holds the sample {twice!r} twice: write each source to a folder of its own.")
        self._ends = [*self._rows[1:], len(keys)]
        self._suffixes = table.column("suffix").to_pylist()
        self._shards = table.column("shard").combine_chunks().dictionary_encode()
        self._offsets = table.column("offset").to_numpy()
        self._sizes = table.column("size").to_numpy()
        self._sums = table.column("crc").combine_chunks()
        self._texts = table.column("columns").take(pa.array(self._rows))

    def __len__(self) -> int:
        return len(self.keys)

    def columns(self, name: str) -> list[Any]:
        """One column of the index, a value for each sample; None if a sample lacks it."""
        if not any(name in columns for columns in self._columns):
            known = sorted({known for columns in self._columns for known in columns})
            raise UsageError(f"{self.folder} has no column {name!r}. It has: {', '.join(known) or 'none'}.")
        return [columns.get(name) for columns in self._columns]

    def mark(self, i: int) -> str:
        """Identity of a sample's content: sizes and CRCs of its members."""
        rows = range(self._rows[i], self._ends[i])
        return " ".join(f"{self._suffixes[row]}:{self._sizes[row]}:{self._sums[row].as_py()}" for row in rows)

    def read(self, i: int) -> dict[str, bytes]:
        """Read the members of one sample, by suffix, in one read of the shard.

        Raises UsageError if the shard is gone, BrokenSample if the bytes are not as they were
        written.
        """
        rows = range(self._rows[i], self._ends[i])
        start = int(self._offsets[rows[0]])
        length = int(self._offsets[rows[-1]]) + int(self._sizes[rows[-1]]) - start
        shard = self.folder / self._shards[rows[0]].as_py()
        try:
            with shard.open("rb", buffering=0) as file:
                file.seek(start)
                data = file.read(length)
        except FileNotFoundError as error:
            raise UsageError(f"{shard} is gone: copy or write it again.") from error
        except OSError as error:
            raise BrokenSample(f"{shard}, sample {self.keys[i]}: {error.strerror or error}.") from error
        if len(data) < length:
            raise BrokenSample(f"{shard} ends before its sample {self.keys[i]!r} does: copy or write it again.")
        view = memoryview(data)
        offsets = [int(self._offsets[row]) - start for row in rows]
        members = {
            self._suffixes[row]: bytes(view[offset : offset + int(self._sizes[row])])
            for row, offset in zip(rows, offsets, strict=True)
        }
        for row, member in zip(rows, members.values(), strict=True):
            if self._sums[row].as_py() not in (None, zlib.crc32(member)):
                raise BrokenSample(f"{shard} was changed where its sample {self.keys[i]!r} is: copy or write it again.")
        return members

    def read_whole(
        self, i: int, decode: Callable[[str, Mapping[str, bytes]], Decoded], *, timeout_seconds: float = READ_SECONDS
    ) -> Decoded:
        """Decode a sample, or the first whole one after it; skipped samples are reported.

        A sample is broken if reading or decoding it raises BrokenSample, or hangs. Its replacement
        is the same for any number of workers and after resuming.

        Raises UsageError if MOST_BROKEN samples in a row are broken, or all are.
        """
        tried = range(min(MOST_BROKEN, len(self)))
        for n in tried:
            at = (i + n) % len(self)
            try:
                with _limited(timeout_seconds, f"sample {self.keys[at]}"):
                    return decode(self.keys[at], self.read(at))
            except BrokenSample as error:
                report_skipped(f"{self.folder}: {error}")
        raise UsageError(
            f"{len(tried)} samples in a row of {self.folder} are broken, from {self.keys[i]}. Write or copy them again."
        )

    @cached_property
    def _columns(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self._texts.to_pylist()]

    def _checked(self, index: Path) -> pa.Table:
        table = _read_index(index)
        shard = index.with_suffix(".tar")
        if not shard.exists():
            raise UsageError(f"{shard} is missing, but its index is there. Copy it too, or remove {index.name}.")
        end = table.column("offset")[-1].as_py() + _padded(table.column("size")[-1].as_py())
        if shard.stat().st_size < end + 2 * _BLOCK:  # a tar ends with two empty blocks
            raise UsageError(f"{shard} is cut short: its index says more than it holds. Copy or write it again.")
        return table


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // _BLOCK) * _BLOCK


def _read_index(index: Path) -> pa.Table:
    try:
        table = pq.read_table(index)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{index} is not a readable index: {error}. Write or copy the shard again.") from error
    version = (table.schema.metadata or {}).get(b"minisora_shards", b"")
    names = [name for name in _SCHEMA.names if name != "crc" or version != b"1"]
    if version.isdigit() and int(version) > _FORMAT:
        raise UsageError(
            f"{index} has format {int(version)}, newer than {_FORMAT}, the newest known here. Update minisora."
        )
    if not version.isdigit() or table.schema.names != names or table.num_rows == 0:
        raise UsageError(f"{index} is not the index of a shard. Remove it from the folder.")
    if version == b"1":
        at = _SCHEMA.get_field_index("crc")
        table = table.add_column(at, _SCHEMA.field(at), pa.nulls(table.num_rows, pa.uint32()))
    return table.replace_schema_metadata(None)


@contextmanager
def _limited(seconds: float, what: str) -> Iterator[None]:
    """Raise BrokenSample if the block takes longer.

    Uses a signal, so only the main thread is limited.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: object) -> None:
        raise BrokenSample(f"{what} was not read in {seconds:g} s.")

    handler, timer = signal.signal(signal.SIGALRM, over), signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


@contextmanager
def _refusals(folder: Path) -> Iterator[None]:
    """Turn errors of the operating system into UsageError."""
    try:
        yield
    except OSError as error:
        raise cannot_write(folder, error) from error
