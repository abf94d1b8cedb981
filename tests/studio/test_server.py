"""The command, and the studio as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minisora.cli.main import app
from minisora.errors import UsageError
from minisora.studio.server import Settings
from tests.helpers.studios import tiny_bundle


def test_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "minisora.studio.server", None)
    ended = CliRunner().invoke(app, ["studio"])
    assert ended.exit_code == 2 and "pip install 'minisora[studio]'" in ended.output


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"models": ()}, {"providers": {"toybox": None}}])
def test_a_studio_of_nothing_is_refused(tmp_path, wrong):
    with pytest.raises(UsageError):
        Settings(folder=tmp_path, **wrong)


@pytest.mark.long
def test_the_server_answers_and_ends_when_told_to(tmp_path):
    model = tiny_bundle(tmp_path / "tiny")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "minisora", "studio", "--port", f"{port}", "--model", str(model)]
    root = Path(__file__).parents[2] / "src"
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}) as server:
        for _ in range(600):
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").status
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.2)
        server.send_signal(signal.SIGTERM)
        assert answer == 204 and server.wait(60) == 0
    assert (tmp_path / "studio" / "studio.db").exists()
