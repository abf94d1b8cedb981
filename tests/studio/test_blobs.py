from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
import time

import pytest

from minisora.errors import UsageError
from minisora.studio.blobs import Blobs
from minisora.studio.jobs import StorageFull


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_blob_is_found_by_the_hash_of_its_bytes_and_kept_once(tmp_path):
    blobs, content = Blobs(tmp_path / "files"), os.urandom(3 << 20)
    sha256 = hashlib.sha256(content).hexdigest()
    kept = blobs.put(io.BytesIO(content), most_bytes=len(content))
    (tmp_path / "clip").write_bytes(content)
    assert (kept.sha256, kept.size_bytes) == (sha256, len(content)) == (blobs.put(tmp_path / "clip").sha256, 3 << 20)
    assert blobs.find(sha256) == kept.path == tmp_path / "files" / sha256[:2] / sha256
    assert kept.path.read_bytes() == content and left(tmp_path / "files") == [sha256]


@pytest.mark.parametrize("name", ["", "ab", "../../etc/passwd", "AB" * 32, "ab" * 32 + "/", "ab" * 31 + "\n", "é" * 64])
def test_only_hashes_are_looked_up(tmp_path, name):
    assert Blobs(tmp_path / "files").find(name) is None and not Blobs(tmp_path / "files").hold(name)


def test_nothing_stays_of_what_is_too_large_or_breaks_off(tmp_path):
    blobs = Blobs(tmp_path / "files")
    with pytest.raises(UsageError, match="more than 9 bytes"):
        blobs.put(io.BytesIO(b"0123456789"), most_bytes=9)

    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        blobs.put(Broken())
    assert left(tmp_path) == []


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    blobs = Blobs(tmp_path / "files")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="disk is full"):
        blobs.put(io.BytesIO(b"x"))
    assert left(tmp_path) == []


def test_a_file_is_linked_without_a_copy_or_copied_where_that_fails(tmp_path, monkeypatch):
    blobs, path = Blobs(tmp_path / "files"), tmp_path / "video"
    path.write_bytes(b"frames")
    sha256 = hashlib.sha256(b"frames").hexdigest()
    assert os.path.samefile(blobs.link(path, sha256).path, path)
    assert os.path.samefile(blobs.link(path, sha256).path, path)
    path.unlink()
    assert blobs.find(sha256).read_bytes() == b"frames"
    other = tmp_path / "other"
    other.write_bytes(b"more")

    def unsupported(*given):
        raise OSError(errno.EXDEV, "cross-device")

    monkeypatch.setattr(os, "link", unsupported)
    kept = blobs.link(other, hashlib.sha256(b"more").hexdigest())
    assert kept.path.read_bytes() == b"more" and not os.path.samefile(kept.path, other)


def test_a_sweep_takes_what_is_old_and_not_named(tmp_path):
    blobs = Blobs(tmp_path / "files")
    named, old, held, new = (blobs.put(io.BytesIO(name)) for name in (b"named", b"old", b"held", b"new"))
    for blob in (named, old, held):
        os.utime(blob.path, (0, 0))
    assert blobs.hold(held.sha256)
    assert blobs.sweep({named.sha256}, older_than=time.time() - 60) == 1
    assert blobs.find(old.sha256) is None and all(blobs.find(blob.sha256) for blob in (named, held, new))
    assert blobs.put(io.BytesIO(b"old")).path.read_bytes() == b"old"


def test_a_sweep_goes_on_after_what_somebody_else_removed(tmp_path, monkeypatch):
    blobs = Blobs(tmp_path / "files")
    paths = [blobs.put(io.BytesIO(content)).path for content in (b"1", b"2")]
    glob = type(tmp_path).glob

    def listed(folder, pattern):
        found = list(glob(folder, pattern))
        paths[0].unlink()
        return found

    monkeypatch.setattr(type(tmp_path), "glob", listed)
    assert blobs.sweep(set(), older_than=time.time() + 60) == 1
    assert left(tmp_path / "files") == []


def test_what_a_killed_server_left_is_removed_at_the_start(tmp_path):
    Blobs(tmp_path / "files")
    (tmp_path / "files" / "0123.part").write_bytes(b"half")
    Blobs(tmp_path / "files")
    assert left(tmp_path) == []


def test_many_threads_put_the_same_blob(tmp_path):
    blobs, found = Blobs(tmp_path / "files"), list()
    threads = [threading.Thread(target=lambda: found.append(blobs.put(io.BytesIO(b"same")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({blob.path for blob in found}) == 1 and len(left(tmp_path)) == 1
