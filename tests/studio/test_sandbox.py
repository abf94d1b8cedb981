"""The process that decodes a client's file: what it cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minisora.studio.api.sandbox import command, environment
from minisora.studio.api.settings import UploadBounds
from tests.helpers.studio import clip

PREPARE = """
import json, os, sys
from pathlib import Path
from minisora.studio.api import sandbox
from minisora.studio.api.settings import UploadBounds
alone = sandbox.leave_network()
sandbox.limit(UploadBounds(decode_bytes=1 << 30, decode_seconds=1.0))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process as confined as the one that decodes."""
    words = [sys.executable, "-B", "-P", "-c", PREPARE + code]
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_it_has_no_network():
    code = """
import socket
try:
    socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "9"))), 2)
except OSError as error:
    print(alone, error.errno)
"""
    import errno
    import socket

    with socket.socket() as listener:  # reachable from here
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        socket.create_connection(("127.0.0.1", port), 2).close()
        words = [sys.executable, "-B", "-P", "-c", PREPARE + code]
        found = subprocess.run(
            words, env={**environment(), "PORT": str(port)}, capture_output=True, text=True, timeout=60, check=False
        )
    alone, _, number = found.stdout.strip().partition(" ")
    if alone != "True":
        pytest.skip("this system does not let a process leave its network")
    assert int(number) == errno.ENETUNREACH


def test_it_writes_no_file(tmp_path: Path):
    found = run(f"Path({str(tmp_path / 'x')!r}).write_bytes(b'x' * 100)")
    assert "File too large" in found.stderr and not (tmp_path / "x").stat().st_size


def test_its_memory_and_time_are_bounded():
    assert "MemoryError" in run("bytearray(2 << 30)").stderr
    assert run("while True: pass").returncode < 0


def test_it_gets_nothing_of_the_servers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "x")
    found = run("print(json.dumps([dict(os.environ), os.listdir('/proc/self/fd')]))")
    names, descriptors = json.loads(found.stdout)
    assert "SECRET" not in names and "HOME" not in names
    assert set(descriptors) <= {"0", "1", "2", "3"}  # 3 reads the folder


def test_it_does_not_import_torch(tmp_path: Path):
    path = tmp_path / "clip"
    path.write_bytes(clip(tmp_path))
    words = command(path, UploadBounds())
    words[words.index("-c") + 1] += "; import sys; assert 'torch' not in sys.modules"
    found = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    about = json.loads(found.stdout)
    assert (about["kind"], about["type"], about["num_frames"], about["fps"]) == ("video", "video/mp4", 9, 8.0)
