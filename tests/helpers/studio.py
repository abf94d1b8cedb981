"""A studio that listens on a port of this machine, and a plain client for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import uvicorn

from minisora.studio import server
from minisora.studio.api.app import create_app
from minisora.studio.api.auth import new_token
from minisora.studio.api.serve import config
from minisora.studio.api.settings import Settings
from minisora.studio.blobs import Blobs
from minisora.studio.dispatch import Dispatcher, Limits
from minisora.studio.store import Store
from minisora.video import write_video
from tests.helpers.studios import Hands, dispatching

LONG: dict[str, Any] = {"prompt": "a long one", "seconds": 60, "steps": 1000}


@dataclass(frozen=True)
class File:
    """A file of a form."""

    content: bytes
    name: str = "upload"
    type: str = "application/octet-stream"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error, whose form is checked."""
        (error,) = self.json().values()
        assert set(self.json()) == {"error"} and set(error) == {"message", "type", "param", "code"}, self.body
        assert isinstance(error["message"], str) and isinstance(error["type"], str), error
        assert self.headers["content-type"].startswith("application/json")
        assert self.headers["x-request-id"].startswith("req_")
        return error


@dataclass
class Client:
    """Calls a studio, as written: nothing is followed, encoded or repeated."""

    port: int
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def with_token(self, token: str) -> Client:
        return Client(self.port, token, dict(self.headers))

    def call(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        form: Mapping[str, Any] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a call. data: as JSON; form: text and File, as multipart"""
        sent = {"Host": f"127.0.0.1:{self.port}", **self.headers}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if data is not None:
            body, sent["Content-Type"] = json.dumps(data).encode(), "application/json"
        if form is not None:
            body, sent["Content-Type"] = multipart(form)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {**sent, "Content-Length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders()
        with suppress(BrokenPipeError, ConnectionResetError):  # it has answered already
            connection.send(body)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def get(self, path: str, **more: Any) -> Answer:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> Answer:
        return self.call("POST", path, **more)

    def busy(self) -> str:
        """Start a job that runs until it is cancelled, so that others wait; returns its id."""
        video_id: str = self.post("/v1/videos", data=LONG).json()["id"]
        while self.get(f"/v1/videos/{video_id}").json()["status"] != "in_progress":
            time.sleep(0.05)
        return video_id

    def done(self, video_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a video is completed or failed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            video: dict[str, Any] = self.get(f"/v1/videos/{video_id}").json()
            if video["status"] in ("completed", "failed"):
                return video
            time.sleep(0.05)
        raise AssertionError(f"{video_id} is {video['status']} after {seconds} s")


def multipart(form: Mapping[str, Any]) -> tuple[bytes, str]:
    """Body and content type of a form; a list is a field that is given several times."""
    boundary = secrets.token_hex(16)
    lines = []
    for name, values in form.items():
        for value in values if isinstance(values, list) else [values]:
            head = f'Content-Disposition: form-data; name="{name}"'
            if isinstance(value, File):
                head += f'; filename="{value.name}"\r\nContent-Type: {value.type}'
            content = value.content if isinstance(value, File) else str(value).encode()
            lines += [f"--{boundary}\r\n{head}\r\n\r\n".encode(), content, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def left(folder: Path) -> set[str]:
    """Files in a studio's folder that hold something from clients."""
    kept = {path for name in ("incoming", "files", "thumbnails", "jobs") for path in (folder / name).rglob("*")}
    return {path.relative_to(folder).as_posix() for path in kept if path.is_file()}


@contextmanager
def studio(
    folder: Path,
    settings: Settings | None = None,
    limits: Limits | None = None,
    *,
    model: Path | None = None,
    acts: Mapping[str, str] | None = None,
    **more: Any,
) -> Iterator[Client]:
    """Run a whole studio in a folder, in a thread.

    model: a bundle for a worker process; None: a worker that computes nothing, for which a prompt
           of LONG lasts until it is cancelled
    acts:  what that worker does with other prompts
    more:  settings of a studio with a model
    """
    settings, ready = settings or Settings(needs_token=False), threading.Event()
    ports, servers = list[int](), list[uvicorn.Server]()

    async def serve(dispatcher: Dispatcher, store: Store, blobs: Blobs) -> None:
        app = create_app(store, blobs, dispatcher, folder, settings)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            servers.append(uvicorn.Server(config(app, "127.0.0.1", 0)))
            ports.append(listener.getsockname()[1])
            await servers[0].serve([listener])

    async def run() -> None:
        if model is not None:
            whole = server.Settings(folder=folder, models=(str(model),), limits=limits or Limits(), **more)
            async with server.opened(whole) as parts:
                await serve(parts.dispatcher, parts.store, parts.blobs)
            return
        hands = Hands(models=("toybox",))
        hands.acts |= {LONG["prompt"]: "hold", **(acts or {})}
        async with dispatching(folder, hands, limits=limits) as parts_of_hands:
            await serve(*parts_of_hands)

    folder.mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    while not (servers and servers[0].started):
        assert thread.is_alive(), "the server did not start"
        ready.wait(0.02)
    try:
        yield Client(ports[0])
    finally:
        servers[0].should_exit = True
        thread.join(60)
        if thread.is_alive():
            for worker in multiprocessing.active_children():  # for which this process would wait at its end
                worker.kill()
            raise AssertionError("the server did not stop")


def add_tokens(folder: Path, **tokens: Mapping[str, Any]) -> dict[str, str]:
    """Make tokens in a folder's database; returns their secrets by name."""

    async def add() -> dict[str, str]:
        store = Store(f"sqlite:///{folder / 'studio.db'}")
        try:
            return {name: (await new_token(store.tokens, name, **about))[1] for name, about in tokens.items()}
        finally:
            await store.close()

    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as another:  # a browser's loop runs in this one
        return another.submit(asyncio.run, add()).result()


def clip(folder: Path, num_frames: int = 9, height: int = 64, width: int = 96, suffix: str = ".mp4") -> bytes:
    """Bytes of a small video, or of a picture, that moves."""
    path = folder / f"clip{suffix}"
    ramp = torch.arange(num_frames, dtype=torch.uint8)[:, None, None, None] * 20
    write_video(path, frames=ramp.expand(num_frames, height, width, 3).contiguous(), fps=8.0)
    return path.read_bytes()
