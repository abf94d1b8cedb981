"""Encoded frames on their way to a file.

A file is put together when all of its frames are there: what is encoded waits in memory, then in
files without a name, next to the target or, if that disk is full, in the system's temporary folder.
So whatever happens to the target meanwhile, no frame is lost.

Here: keeping and reading back packets. Not here: encoding and files (write.py).
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import av

from minisora.video.files import cannot_write

_IN_MEMORY = 8 << 20  # bytes
_HEAD = struct.Struct("<qqqqq?q")  # pts, dts, duration, time base, is_keyframe, bytes of data
_NONE = -(2**63)  # FFmpeg's own mark of no time
_CUT: Final = "skip_samples"  # side data of the first and the last packet of a sound


class Spool:
    """Packets of one stream, in order; a context manager, which lets go of them.

    path: of the file that is made of them
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: list[Path | None] = [path.parent, None]  # None: the system's temporary folder
        self._parts: list[tuple[IO[bytes], int]] = [(io.BytesIO(), 0)]  # each with its bytes that are whole packets
        self._cuts = dict[int, Any]()  # by number of the packet
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file, _ in self._parts:
            file.close()

    def keep(self, packets: Iterable[av.Packet[Any]]) -> None:
        """Add packets. Raises UsageError if there is no room left anywhere."""
        for packet in packets:
            base, data = packet.time_base or Fraction(1), bytes(packet)
            times = [_NONE if time is None else time for time in (packet.pts, packet.dts, packet.duration)]
            head = _HEAD.pack(*times, base.numerator, base.denominator, packet.is_keyframe, len(data))
            if packet.has_sidedata(_CUT):
                self._cuts[self.count] = packet.get_sidedata(_CUT)
            try:
                self._write(head + data)
            except OSError as error:
                raise cannot_write(self._path, error) from error
            self.count += 1

    def packets(self) -> Iterator[av.Packet[Any]]:
        """Read all packets back; may be called again."""
        number = 0
        for file, size in self._parts:
            file.seek(0)
            while file.tell() < size:
                *times, numerator, denominator, is_keyframe, length = _HEAD.unpack(file.read(_HEAD.size))
                packet = av.Packet(file.read(length))
                packet.pts, packet.dts, packet.duration = (None if time == _NONE else time for time in times)
                packet.time_base, packet.is_keyframe = Fraction(numerator, denominator), is_keyframe
                if number in self._cuts:
                    packet.set_sidedata(self._cuts[number])
                yield packet
                number += 1

    def _write(self, record: bytes) -> None:
        while True:
            file, size = self._parts[-1]
            if not isinstance(file, io.BytesIO) or size + len(record) <= _IN_MEMORY:
                try:
                    file.seek(size)
                    left = memoryview(record)
                    while left:  # an unbuffered file may take a part, and say at the next that it is full
                        left = left[file.write(left) :]
                    self._parts[-1] = file, size + len(record)
                    return
                except OSError:
                    if not self._places:
                        raise
            try:
                next_file = tempfile.TemporaryFile(dir=self._places.pop(0), buffering=0)  # noqa: SIM115  # see __exit__
                self._parts.append((next_file, 0))
            except OSError:
                if not self._places:
                    raise
