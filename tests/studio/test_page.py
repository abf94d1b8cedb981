"""docs/studio.md: its commands and its Python, run as printed against `minisora studio`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minisora.video import read_video
from tests.helpers.environments import ROOT, python_with
from tests.helpers.studio import Client, studio
from tests.helpers.studios import tiny_bundle

PAGE = (ROOT / "docs" / "studio.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for language, text in BLOCKS
    if language == "sh"
    for line in text.replace("\\\n", "").splitlines()
    if line.strip() and not re.search(r"#\s*long\b", line)
]

WITH_SETTINGS = [line for line in COMMANDS if re.search(r"#\s*(provider|webhook)$", line)]
OUTPUT = "output.txt"
STARTS = [line for line in COMMANDS if line.startswith("minisora studio")]

pytestmark = pytest.mark.long


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def server(folder: Path, line: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a line of the page that starts a server, at another port; its output goes to a file."""
    words = [sys.executable, "-m", "minisora", *shlex.split(line, comments=True)[1:], "--port", str(port)]
    with (folder / OUTPUT).open("w") as output:  # a pipe that nobody reads would stop it
        process = subprocess.Popen(words, cwd=folder, stdout=output, stderr=subprocess.STDOUT, text=True)
    client = Client(port)
    try:
        for _ in range(1200):
            assert process.poll() is None, (folder / OUTPUT).read_text()
            try:
                if client.get("/healthz").status == 204:
                    break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def run(line: str, folder: Path, port: int, **environment: str) -> str:
    line = line.replace(":8000", f":{port}")
    found = subprocess.run(
        ["bash", "-c", line], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return found.stdout


@pytest.mark.timeout(1500)
def test_the_page(tmp_path: Path, toybox: object):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    start, calls = STARTS[0], [line for line in COMMANDS if not line.startswith(("pip ", "minisora studio"))]
    python = next(text for language, text in BLOCKS if language == "python" and "openai" in text)
    port, before = free_port(), [line for line in calls if "$TOKEN" not in line and line not in WITH_SETTINGS]
    with server(tmp_path, start, port) as process:
        needs = {line for line in before if "ball.mp4" in line}
        by_id = [line for line in before if "$ID" in line]
        for line in [line for line in before if line not in needs and line not in by_id]:
            answer = run(line, tmp_path, port)
            assert "error" not in json.loads(answer or "{}") or json.loads(answer)["error"] is None, (line, answer)
        program = python_with("openai-new", "openai>=2.54,<4")
        plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}
        done = subprocess.run(
            [program, "-c", python.replace(":8000", f":{port}")],
            cwd=tmp_path,
            env=plain,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0 and done.stdout.strip() == "completed", done.stderr[-2000:]
        assert len(read_video(tmp_path / "ball.mp4").frames) == 17
        for line in sorted(needs, key=before.index):
            assert json.loads(run(line, tmp_path, port)).get("error") is None, line
        client = Client(port)
        for video in client.get("/v1/videos?limit=100").json()["data"]:
            assert client.done(video["id"], 600)["status"] == "completed", video
        found = client.get("/v1/library?search=ball").json()["data"]
        for line in by_id:
            run(line, tmp_path, port, ID=next(item["id"] for item in found if not item["is_upload"]))
        assert len(read_video(tmp_path / "ball.gif").frames) > 1 == len(read_video(tmp_path / "frame.png").frames)
    assert process.returncode == 0
    port = free_port()
    with server(tmp_path, "minisora studio --folder backup", port):
        assert Client(port).get("/v1/videos").json()["data"]


@pytest.mark.timeout(600)
def test_its_settings_file(tmp_path: Path, toybox: object):
    """As printed, with another studio in place of the provider's address."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (text,) = [text for language, text in BLOCKS if language == "toml"]
    port, folder = free_port(), tmp_path / "studio"
    folder.mkdir()
    (folder / "cloud.key").write_text("none\n")
    with studio(tmp_path / "far", model=tiny_bundle(tmp_path / "tiny")) as far:
        address = f'"http://127.0.0.1:{far.port}/v1"\nallow_private = true'
        (folder / "studio.toml").write_text(text.replace('"https://videos.example/v1"', address))
        with server(tmp_path, "minisora studio --folder studio", port) as process:
            client = Client(port)
            names = [model["id"] for model in client.get("/v1/models").json()["data"]]
            assert names == ["toybox", "cloud/sora-2", "cloud/sora-2-pro", "gpu/toybox"]
            made, hook = (json.loads(run(line, tmp_path, port)) for line in WITH_SETTINGS)
            assert hook["secret"].startswith("whsec_")
            video = client.done(made["id"], 300)
            assert video["status"] == "completed" and video["minisora"]["provider"]["alias"] == "cloud", video
        assert process.returncode == 0


@pytest.mark.timeout(600)
def test_its_tokens(tmp_path: Path, toybox: object):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    port = free_port()
    with server(tmp_path, "minisora studio --folder studio --token", port):
        (secret,) = re.findall(r"ms-[\w-]{43}", (tmp_path / OUTPUT).read_text())
        assert Client(port).get("/v1/videos").status == 401
        for line in [line for line in COMMANDS if "$TOKEN" in line]:
            answer = json.loads(run(line, tmp_path, port, TOKEN=secret))
            assert "error" not in answer, answer
        assert [token["name"] for token in Client(port, secret).get("/v1/tokens").json()["data"]] == ["first", "ann"]


IMAGE = {"prompt": "a large blue cone on grass", "steps": 2, "size": "256x256"}


@pytest.mark.timeout(600)
def test_its_moderator_and_its_mark(tmp_path: Path, toybox: object):
    module = next(text for language, text in BLOCKS if language == "python" and "house_rules.py" in text)
    (tmp_path / "house_rules.py").write_text(module, encoding="utf-8")
    port = free_port()
    (start,) = [line for line in STARTS if "--moderation" in line]
    with server(tmp_path, start, port):
        client = Client(port)
        refused = client.post("/v1/videos/image", data={"prompt": "a Spider"})
        assert refused.status == 400 and refused.error["code"] == "moderation_blocked"
        made = client.done(client.post("/v1/videos/image", data={**IMAGE, "seed": 1}).json()["id"], 300)
        assert made["status"] == "completed"
        other = client.done(client.post("/v1/videos/image", data={**IMAGE, "seed": 1, "mark": "x"}).json()["id"], 300)
        contents = [client.get(f"/v1/videos/{each['id']}/content").body for each in (made, other)]
    frames = []
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.png").write_bytes(content)
        frames.append(read_video(tmp_path / f"{number}.png").frames)
    assert frames[0].equal(frames[1])


@pytest.mark.timeout(600)
def test_its_start_with_ray(tmp_path: Path, toybox: object):
    pytest.importorskip("ray")
    port = free_port()
    (start,) = [line for line in STARTS if "--engine ray" in line]
    with server(tmp_path, start, port) as process:
        client = Client(port)
        made = client.done(client.post("/v1/videos/image", data=IMAGE).json()["id"], 300)
        assert made["status"] == "completed"
    assert process.returncode == 0
