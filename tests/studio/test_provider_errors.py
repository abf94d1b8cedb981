"""A provider that misbehaves, or is not minisora: what is sent, and what becomes of the job."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from minisora.errors import UsageError
from minisora.generate.edits import Edit
from minisora.generate.media import Named
from minisora.generate.verbs import Animate, Extend, Generate, Image
from minisora.studio import providers
from minisora.studio.jobs import Job, NewJob, Remote, State
from minisora.studio.providers import provider_workers
from minisora.studio.settings_file import Provider
from minisora.studio.store import Store
from minisora.video import read_frames
from minisora.video.mark import marked
from tests.helpers.studio import clip
from tests.helpers.studios import dispatching, new

KEY = "sk-secret-of-ours"


@dataclass
class Said:
    """An answer; status 0 hangs up."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Far:
    """A scripted server. script: answers by route, the last of which is repeated"""

    script: dict[str, list[Said]]
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    def calls(self, route: str) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for name, headers, body in self.heard if name == route]


class Handler(BaseHTTPRequestHandler):
    far: Far

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
        route = f"{self.command} {self.path}"
        self.far.heard.append((route, {k.lower(): v for k, v in self.headers.items()}, body))
        script = self.far.script.get(route, [Said(404, {"error": {"message": "no such route"}})])
        said = script.pop(0) if len(script) > 1 else script[0]
        if not said.status:
            self.close_connection = True
            return
        content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        self.send_response(said.status)
        for name, value in {"content-length": str(len(content)), **said.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    """A server that makes a video at once."""
    script = {
        "POST /v1/videos": [Said(body={"id": "v1", "status": "queued"})],
        "GET /v1/videos/v1": [
            Said(body={"status": "processing", "progress": float("nan")}),
            Said(body={"status": "succeeded"}),
        ],
        "GET /v1/videos/v1/content": [Said(body=clip(tmp_path, 9))],
        "DELETE /v1/videos/v1": [Said(body={"id": "v1", "deleted": True})],
    }
    found = Far(script)
    handler = type("Handler", (Handler,), {"far": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


async def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def cloud(far: Far, patience: float = 30.0) -> Provider:
    return Provider(
        address=f"http://127.0.0.1:{far.port}/v1",
        models=("sora-2",),
        key=SecretStr(KEY),
        allow_private=True,
        jobs=1,
        patience=patience,
    )


def ran(
    folder: Path, far: Far, request: Any = None, *, patience: float = 30.0, file: Path | None = None, mark: str = ""
) -> Job:
    """Run one job at the server."""
    workers: Any = provider_workers({"cloud": cloud(far, patience)}, None, mark)

    async def run() -> Job:
        async with dispatching(folder, *workers) as (dispatcher, _, blobs):
            asked = request or Generate("a red ball", seconds=4.0, size=(720, 1280), seed=9)
            if file is not None:
                sha256 = (await asyncio.to_thread(blobs.put, file)).sha256
                asked = asked(Named("file", sha256))
            job = await dispatcher.submit(NewJob(owner="one", request=asked))
            return await dispatcher.wait(job.id, None, 60)

    return asyncio.run(run())


def form(body: bytes) -> dict[str, bytes]:
    """Fields of a multipart form."""
    boundary = body.partition(b"\r\n")[0]
    parts = [part.strip(b"\r\n").partition(b"\r\n\r\n") for part in body.split(boundary)[1:-1]]
    return {head.partition(b'name="')[2].partition(b'"')[0].decode(): value for head, _, value in parts}


def test_another_server_gets_the_fields_of_the_shape_alone(tmp_path: Path, far: Far):
    job = ran(tmp_path, far, Generate("a red ball", seconds=4.0, size=(720, 1280), seed=9, steps=4))
    assert job.made is not None and job.remote == Remote(
        provider="cloud", id="v1", key=job.remote.key if job.remote else ""
    )
    ((headers, body),) = far.calls("POST /v1/videos")
    assert form(body) == {"prompt": b"a red ball", "model": b"sora-2", "seconds": b"4", "size": b"1280x720"}
    assert headers["authorization"] == f"Bearer {KEY}" and headers["x-stainless-retry-count"] == "0"
    assert job.made.notes == ("cloud does not take seed, steps: not sent",)
    assert (job.made.width, job.made.height, job.made.num_frames, job.made.fps) == (96, 64, 9, 8.0)
    assert set(job.made.files) == {"video", "thumbnail", "spritesheet", "request"}


def test_pictures_and_clips_are_uploaded(tmp_path: Path, far: Far):
    far.script["POST /v1/videos/extensions"] = far.script["POST /v1/videos"]
    clip(tmp_path, 1, 64, 96, ".png")
    clip(tmp_path, 17)
    folder = tmp_path / "a"
    folder.mkdir()
    assert ran(folder, far, lambda one: Animate(one, "it moves"), file=tmp_path / "clip.png").made
    assert ran(folder, far, lambda one: Extend(one, "on", after=8.0, size=(64, 96)), file=tmp_path / "clip.mp4").made
    ((_, first),) = far.calls("POST /v1/videos")
    assert form(first)["input_reference"] == (tmp_path / "clip.png").read_bytes()
    ((_, second),) = far.calls("POST /v1/videos/extensions")
    fields = form(second)
    assert fields.pop("video") == (tmp_path / "clip.mp4").read_bytes()
    assert fields == {"prompt": b"on", "seconds": b"8"}


@pytest.mark.long
def test_a_video_that_was_made_there_is_remixed_by_its_id(tmp_path: Path, far: Far):
    """And uploaded if it is no longer there."""
    far.script |= {"POST /v1/videos/v1/remix": far.script["POST /v1/videos"]}
    far.script |= {"POST /v1/videos/edits": far.script["POST /v1/videos"]}
    made = clip(tmp_path, 9)
    assert ran(tmp_path, far).made
    blue = partial(Edit, prompt="blue", size=(64, 96))
    assert ran(tmp_path, far, blue, file=tmp_path / "clip.mp4").made
    ((headers, body),) = far.calls("POST /v1/videos/v1/remix")
    assert json.loads(body) == {"prompt": "blue"} and headers["content-type"] == "application/json"
    far.script["POST /v1/videos/v1/remix"] = [Said(404, {"error": {"message": "gone"}})]
    assert ran(tmp_path, far, blue, file=tmp_path / "clip.mp4").made
    ((_, body),) = far.calls("POST /v1/videos/edits")
    assert form(body) == {"prompt": b"blue", "video": made}


@pytest.mark.parametrize("own", ["", "made with AI"])
def test_a_mark_is_put_on_here(tmp_path: Path, far: Far, own: str):
    """The server's own, or else the one of the request; the frames are the provider's."""
    job = ran(tmp_path, far, Generate("a red ball", seconds=4.0, mark="mine"), mark=own)
    assert job.made is not None
    ((_, body),) = far.calls("POST /v1/videos")
    assert b"mine" not in body
    assert "the mark was put on here: the video was encoded again" in job.made.notes
    there, _ = read_frames(tmp_path / "clip.mp4")
    here, fps = read_frames(tmp_path / "jobs" / job.id / "video.mp4")
    assert here.shape == there.shape and fps == 8.0
    wanted = marked(there, own or "mine").float()
    assert (here - wanted).abs().mean() < (there - wanted).abs().mean() / 2
    assert (tmp_path / "jobs" / job.id / "thumbnail.jpg").stat().st_size > 100


@pytest.mark.parametrize("status", [200, 404, 403])
def test_a_waiting_job_that_is_begun_there_is_deleted_there_when_it_is_cancelled(
    tmp_path: Path, far: Far, caplog: pytest.LogCaptureFixture, status: int
):
    """Such a job waits again after a crash here."""
    route = "DELETE /v1/videos/v2"
    far.script |= {route: [Said(status, {"deleted": True})], "GET /v1/videos/v1": [Said(body={"status": "queued"})]}
    workers: Any = provider_workers({"cloud": cloud(far)}, None)

    async def run() -> Job:
        async with dispatching(tmp_path, *workers) as (dispatcher, store, _):
            first, job = [await dispatcher.submit(new(model="cloud/sora-2")) for _ in range(2)]
            await until(lambda: far.calls("GET /v1/videos/v1"))
            await store.set_remote(job.id, Remote(provider="cloud", id="v2", key="key"))
            job = await dispatcher.cancel(job.id, None)
            await until(lambda: far.calls(route))
            await dispatcher.cancel(first.id, None)
            return job

    assert asyncio.run(run()).state == State.CANCELLED
    assert ("may still make its video" in caplog.text) == (status == 403)


@pytest.mark.long
def test_connections_that_break_are_made_again_with_the_same_key(tmp_path: Path, far: Far):
    for route, said in far.script.items():
        far.script[route] = [Said(0), Said(503, b"a proxy's page"), Said(body=b"a page", headers={"x": "y"}), *said]
    far.script["GET /v1/videos/v1/content"].pop(2)  # any bytes are content
    job = ran(tmp_path, far)
    assert job.made is not None
    calls = far.calls("POST /v1/videos")
    assert [headers["x-stainless-retry-count"] for headers, _ in calls] == ["0", "1", "2", "3"]
    assert len({headers["idempotency-key"] for headers, _ in calls}) == 1
    assert len({json.dumps({k: v.decode() for k, v in form(body).items()}) for _, body in calls}) == 1


def test_a_limit_is_waited_for(tmp_path: Path, far: Far):
    limited = Said(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, {"retry-after-ms": "50"})
    far.script["POST /v1/videos"].insert(0, limited)
    assert ran(tmp_path, far).made and len(far.calls("POST /v1/videos")) == 2


MAKE, POLL, FETCH = "POST /v1/videos", "GET /v1/videos/v1", "GET /v1/videos/v1/content"
ELSEWHERE = Said(302, b"", {"location": "http://127.0.0.1:9/"})


def error(code: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "code": code}}


@pytest.mark.parametrize(
    ("route", "said", "code", "words"),
    [
        (MAKE, Said(400, error("bad_size", "no such size")), "bad_size", "cloud: no such size"),
        (MAKE, Said(401, error("invalid_api_key", f"wrong key {KEY}")), "invalid_api_key", "cloud: wrong key [key]"),
        (MAKE, Said(429, error("insufficient_quota", "pay")), "insufficient_quota", "cloud: pay"),
        (MAKE, Said(500, error(None, "never"), {"x-should-retry": "false"}), "provider_error", "cloud: never"),
        (MAKE, Said(503, b"down"), "provider_error", "cloud: status 503, without words."),
        (MAKE, Said(0), "provider_unreachable", "cannot be reached"),
        (MAKE, Said(422, {"detail": [1]}), "provider_error", "cloud: status 422, without words."),
        (MAKE, ELSEWHERE, "provider_error", "redirects are not followed"),
        (MAKE, Said(200, {"status": "queued"}), "provider_error", "no id of a video"),
        (POLL, Said(200, {"status": "failed", **error("moderation", "a\nb\x1b")}), "moderation", "cloud: a b"),
        (POLL, Said(200, {"status": "cancelled", "error": None}), "provider_error", "the video failed"),
        (POLL, Said(404, error(None, "gone")), "provider_error", "cloud: gone"),
        (FETCH, Said(200, b"no video"), "invalid_video", "cloud: its content"),
        (FETCH, ELSEWHERE, "provider_error", "redirects are not followed"),
        (FETCH, Said(200, b"x" * 100_001), "provider_refused", "100,000 bytes"),
    ],
)
def test_errors_become_the_failure_of_the_job(
    tmp_path: Path, far: Far, monkeypatch: pytest.MonkeyPatch, route: str, said: Said, code: str, words: str
):
    monkeypatch.setattr(providers, "MOST_BYTES", 100_000)
    far.script[route] = [said]
    job = ran(tmp_path, far, patience=1.0)
    assert job.failure is not None and (job.failure.code, job.made) == (code, None)
    assert words in job.failure.message and KEY not in job.failure.message
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_picture_is_no_video(tmp_path: Path, far: Far):
    far.script["GET /v1/videos/v1/content"] = [Said(body=clip(tmp_path, 1, 64, 96, ".png"))]
    job = ran(tmp_path, far)
    assert job.failure is not None and job.failure.code == "invalid_video", job


@pytest.mark.long
def test_odd_ids_stay_within_their_path(tmp_path: Path, far: Far):
    for made in ("../admin", "a/b?c#d", "%2e%2e"):
        far.script["POST /v1/videos"] = [Said(body={"id": made, "status": "queued"})]
        folder = tmp_path / str(len(far.heard))
        folder.mkdir()
        assert ran(folder, far, patience=1.0).failure is not None
    asked = {route for route, *_ in far.heard if route.startswith("GET /v1/videos/")}
    assert asked == {"GET /v1/videos/..%2Fadmin", "GET /v1/videos/a%2Fb%3Fc%23d", "GET /v1/videos/%252e%252e"}


def test_requests_that_it_never_makes_are_refused(tmp_path: Path, far: Far):
    for request in (Image("a cone"), Generate("x", small=True), Extend(Named("c", "0" * 64), "x", before=1.0)):
        with pytest.raises(UsageError, match="cloud does not"):
            ran(tmp_path, far, request)
    assert far.heard == []


def test_jobs_of_a_provider_that_is_gone_fail_in_words(tmp_path: Path):
    async def run() -> Job:
        store = Store(f"sqlite:///{tmp_path / 'studio.db'}")
        job, _ = await store.add(new(model="cloud/sora-2"))
        await store.close()
        async with dispatching(tmp_path) as (dispatcher, *_):
            assert (await dispatcher.wait((await dispatcher.submit(new())).id, None, 60)).made
            return await dispatcher.wait(job.id, None, 60)

    job = asyncio.run(run())
    assert job.failure is not None and job.failure.code == "model_not_found" and "cloud/sora-2" in job.failure.message
