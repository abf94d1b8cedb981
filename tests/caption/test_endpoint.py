"""A server as a captioner: against one of our own in a thread."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch
from PIL import Image

import minisora.caption.endpoint
import minisora.caption.protocol
from minisora.caption.adapters import captions_named
from minisora.caption.endpoint import Endpoint
from minisora.caption.protocol import PROMPTS, Failed
from minisora.errors import UsageError
from minisora.video import Video

Answer = Callable[[dict[str, Any], int], tuple[int, Any]]  # what was asked, how often so far -> status, JSON


class Server(ThreadingHTTPServer):
    """Answers as it is told, and remembers what it was asked."""

    answer: Answer
    url: str

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "eyes-7b"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.append(self.headers["Authorization"])
            number = Counter(colour(one) for one in self.server.asked)[colour(body)]
        self._send(*self.server.answer(body, number))

    def _send(self, status: int, value: Any) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def shown(body: dict[str, Any]) -> list[Image.Image]:
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    return [Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))) for url in urls]


def colour(body: dict[str, Any]) -> int:
    """How bright a clip is, in tens: which one it is."""
    pixel = shown(body)[0].convert("L").getpixel((0, 0))
    assert isinstance(pixel, int)
    return round(pixel / 10)


def said(text: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def clips(count: int) -> list[Video]:
    return [Video(torch.full((20, 32, 48, 3), 10 * (n + 1), dtype=torch.uint8), 8.0) for n in range(count)]


def endpoint(server: Server, tmp_path: Any, **options: Any) -> Endpoint:
    return Endpoint(server.url, cache=tmp_path, wait_seconds=0.01, timeout_seconds=5.0, **options)


def test_each_clip_gets_its_own_caption_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    server.answer = lambda body, _: (200, said(f'"The video shows a thing of {colour(body)}."\n'))
    captions = captions_named(server.url, cache=tmp_path)
    assert captions(clips(5)) == [f"A thing of {n}." for n in range(1, 6)]
    first = server.asked[0]
    assert first["model"] == "eyes-7b" and first["messages"][0]["content"][-1]["text"] == PROMPTS[False]
    assert len(shown(first)) == 8 and shown(first)[0].size == (48, 32)
    assert set(server.keys) == {"Bearer sesame"}
    assert captions(clips(6))[:5] == [f"A thing of {n}." for n in range(1, 6)] and len(server.asked) == 6
    captions(clips(1), long=True)
    assert server.asked[-1]["messages"][0]["content"][-1]["text"] == PROMPTS[True]
    captions_named(f"{server.url}#other", cache=tmp_path)(clips(1))
    assert server.asked[-1]["model"] == "other" and len(server.asked) == 8


def test_a_changed_request_is_asked_anew(server, tmp_path, monkeypatch):
    """An answer holds for the exact request: pictures, words, length limit and server."""
    server.answer = lambda body, _: (200, said("a ball"))
    endpoint(server, tmp_path)(clips(1))
    for change in (
        lambda: monkeypatch.setitem(PROMPTS, False, "What is this?"),
        lambda: monkeypatch.setitem(minisora.caption.endpoint._MOST_TOKENS, False, 50),
        lambda: monkeypatch.setattr(minisora.caption.protocol, "MOST_SIDE", 16),
    ):
        before = len(server.asked)
        change()
        for _ in range(2):
            assert endpoint(server, tmp_path)(clips(1)) == ["a ball"]
            assert len(server.asked) == before + 1
    with Server() as other:
        other.answer = lambda body, _: (200, said("a cube"))
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        assert endpoint(other, tmp_path)(clips(1)) == ["a cube"]
        other.shutdown()


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.answer = lambda body, number: (200, said("a ball")) if number == 3 else (429, {"error": "slowly"})
    assert endpoint(server, tmp_path)(clips(2)) == ["a ball", "a ball"]
    assert len(server.asked) == 6


def test_a_clip_that_never_succeeds_does_not_stop_the_others(server, tmp_path):
    server.answer = lambda body, _: (500, {"error": "oh"}) if colour(body) == 2 else (200, said("a cube"))
    first, failed, last = endpoint(server, tmp_path, attempts=3)(clips(3))
    assert first == last == "a cube"
    assert isinstance(failed, Failed) and "HTTP 500" in failed.reason and "3 times" in failed.reason
    assert Counter(map(colour, server.asked)) == {1: 1, 2: 3, 3: 1}
    assert len(list(tmp_path.glob("*.json"))) == 2, "a failure is not kept"


@pytest.mark.parametrize("answer", [said(None), said(""), {"choices": []}, ["?"], b"<html>"])
def test_an_answer_of_another_form_is_a_failure(server, tmp_path, answer):
    server.answer = lambda body, _: (200, answer)
    (failed,) = endpoint(server, tmp_path, attempts=2)(clips(1))
    assert isinstance(failed, Failed)


def test_what_was_asked_wrongly_is_not_asked_again(server, tmp_path):
    server.answer = lambda body, _: (400, {"error": "too many pictures"})
    (failed,) = endpoint(server, tmp_path)(clips(1))
    assert isinstance(failed, Failed) and "too many pictures" in failed.reason and len(server.asked) == 1


def test_a_refused_key_stops_the_run(server, tmp_path):
    server.answer = lambda body, _: (401, {"error": "who?"})
    with pytest.raises(UsageError, match="set the environment variable OPENAI_API_KEY"):
        endpoint(server, tmp_path)(clips(4))


def test_no_server_is_said(tmp_path):
    with pytest.raises(UsageError, match="Is the server running"):
        Endpoint("http://127.0.0.1:9", cache=tmp_path, wait_seconds=0.01)
