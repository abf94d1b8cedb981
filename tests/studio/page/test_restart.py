"""The page while its server is killed, started again, or replaced by another version."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import minisora
from tests.helpers.page import Open, make, setting, until, write

pytestmark = pytest.mark.long


@contextmanager
def server(port: int, folder: Path, model: Path, source: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command. source: folder of another copy of the package"""
    command = [sys.executable, "-m", "minisora", "studio", "--port", str(port), "--folder", str(folder)]
    where = os.environ if source is None else {**os.environ, "PYTHONPATH": str(source)}
    process = subprocess.Popen(
        [*command, "--model", str(model)], env=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: answers(port))
        yield process
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def test_a_server_that_is_killed_and_started_again(opened: Open, model: Path, port: int, tmp_path: Path):
    with server(port, tmp_path / "s", model) as first:
        page = opened(port)
        write(page, "a red ball rolls to the left")
        setting(page, "steps", "600")
        make(page)
        page.locator("[data-state=running]").wait_for()
        first.send_signal(signal.SIGKILL)
        first.wait()
        page.get_by_text("The server does not answer").wait_for()
        write(page, "a blue cube spins")
        setting(page, "steps", "2")
        page.locator(".send button.main").click()
        page.get_by_text("On its way to the server").wait_for()
    with server(port, tmp_path / "s", model):
        page.get_by_text("The server does not answer").wait_for(state="detached")
        until(lambda: page.locator("[data-state=done]").count() == 2, 400)
        videos = json.loads(page.evaluate("fetch('/v1/videos').then((answer) => answer.text())"))["data"]
        assert [video["prompt"] for video in videos] == ["a blue cube spins", "a red ball rolls to the left"]


def test_a_server_with_another_page_is_told(opened: Open, model: Path, port: int, tmp_path: Path):
    with server(port, tmp_path / "s", model):
        page = opened(port)
        write(page, "a red ball")
    package = Path(minisora.__file__).parent
    shutil.copytree(package, tmp_path / "minisora", ignore=shutil.ignore_patterns("weights", "__pycache__"))
    (tmp_path / "minisora" / "weights").symlink_to(package / "weights")
    with (tmp_path / "minisora" / "studio" / "page" / "style.css").open("a") as style:
        style.write("/* another */")
    with server(port, tmp_path / "s", model, tmp_path):
        page.get_by_text("The server has another page now").wait_for()
        page.get_by_role("button", name="Reload the page").click()
        page.get_by_text("The server has another page now").wait_for(state="detached")
        assert page.locator("#prompt").input_value() == "a red ball"
        assert "/* another */" in page.evaluate("fetch(document.styleSheets[0].href).then((answer) => answer.text())")
