"""Packets wait where there is room, and come back as they were."""

from __future__ import annotations

import errno
import tempfile
from fractions import Fraction
from io import FileIO

import av
import pytest

from minisora.errors import UsageError
from minisora.video import spool as spools
from minisora.video.spool import Spool


def packets(count: int = 40) -> list[av.Packet]:
    made = []
    for n in range(count):
        packet = av.Packet(bytes([n]) * (1 + 37 * n % 101))
        packet.pts, packet.dts, packet.duration = n, n - 2, 1
        packet.time_base, packet.is_keyframe = Fraction(1001, 24000), n % 7 == 0
        made.append(packet)
    return made


def told(packet: av.Packet) -> tuple[object, ...]:
    return bytes(packet), packet.pts, packet.dts, packet.duration, packet.time_base, packet.is_keyframe


class Full(FileIO):
    """A file on a disk with room for so many bytes, which takes the last of them."""

    room = 1000

    def write(self, data) -> int:
        left = self.room - self.tell()
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:left])


@pytest.mark.parametrize("in_memory", [0, 700, 1 << 20])
def test_packets_come_back_as_they_were(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(spools, "_IN_MEMORY", in_memory)
    with Spool(tmp_path / "a.mp4") as spool:
        spool.keep(packets())
        assert spool.count == 40 and list(tmp_path.iterdir()) == []
        for _ in range(2):
            assert list(map(told, spool.packets())) == list(map(told, packets()))


def test_a_packet_without_times(tmp_path):
    with Spool(tmp_path / "a.mp4") as spool:
        spool.keep([av.Packet(b"a picture")])
        (packet,) = spool.packets()
        assert bytes(packet) == b"a picture" and packet.pts is None and packet.dts is None


def test_a_full_disk_or_a_missing_folder_leads_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "_IN_MEMORY", 300)
    ordinary, asked = tempfile.TemporaryFile, []

    def first_full(dir=None, buffering=-1):
        asked.append(dir)
        return Full(tmp_path / "full", "w+b") if dir is not None else ordinary(buffering=buffering)

    monkeypatch.setattr(tempfile, "TemporaryFile", first_full)
    with Spool(tmp_path / "a.mp4") as spool:
        spool.keep(packets())
        assert asked == [tmp_path, None]
        assert list(map(told, spool.packets())) == list(map(told, packets()))
    monkeypatch.setattr(tempfile, "TemporaryFile", ordinary)
    with Spool(tmp_path / "missing" / "a.mp4") as spool:
        spool.keep(packets())
        assert list(map(told, spool.packets())) == list(map(told, packets()))


def test_no_room_anywhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "_IN_MEMORY", 300)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir=None, buffering=-1: Full(tmp_path / "full", "w+b"))
    with (
        Spool(tmp_path / "a.mp4") as spool,
        pytest.raises(UsageError, match=r"the disk is full: .*a\.mp4 was not written"),
    ):
        spool.keep(packets())
