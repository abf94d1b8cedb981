"""Webhooks: a real receiver, signatures as OpenAI's client checks them, repeats, refusals."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from minisora.studio import deliveries, webhooks
from minisora.studio.api.settings import Settings
from minisora.studio.deliveries import Deliveries, new_secret
from minisora.studio.jobs import Failure, NotFound, Webhook
from minisora.studio.outgoing import PRIVATE, Outgoing
from minisora.studio.store import Store
from tests.helpers.environments import python_with
from tests.helpers.studio import LONG, add_tokens, studio
from tests.helpers.studios import new

OPEN = Settings(needs_token=False, webhooks=("127.0.0.1",))


@dataclass
class Receiver:
    """A server that answers webhooks. statuses: in order, then 200"""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    heard: list[tuple[dict[str, str], str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]


class Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.receiver.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(self.receiver.statuses.pop(0) if self.receiver.statuses else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@contextmanager
def receiving() -> Iterator[Receiver]:
    found = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"receiver": found}))
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ends_of_jobs_are_told(tmp_path: Path, receiver: Receiver):
    with studio(tmp_path, OPEN) as client:
        both = client.post("/v1/webhooks", data={"url": receiver.url}).json()
        done = {"url": receiver.url, "events": ["video.completed", "video.completed"]}
        one = client.post("/v1/webhooks", data=done).json()
        assert (both["events"], one["events"]) == (["video.completed", "video.failed"], ["video.completed"])
        video = client.post("/v1/videos", data={"prompt": "a ball"}).json()
        long = client.post("/v1/videos", data=LONG).json()
        client.post(f"/v1/videos/{long['id']}/cancel")
        until(lambda: len(receiver.heard) == 3)
        told = sorted((event["type"], event["data"]["id"]) for event in receiver.events())
        assert told == sorted([("video.completed", video["id"])] * 2 + [("video.failed", long["id"])])
        secrets = {each["secret"] for each in (both, one)}
        assert len(secrets) == 2 and all(secret.startswith("whsec_") for secret in secrets)
        for headers, body in receiver.heard:
            event = json.loads(body)
            assert (
                event["object"] == "event" and event["id"].startswith("evt_") and event["id"] == headers["webhook-id"]
            )
            assert abs(event["created_at"] - time.time()) < 100 and set(event) == {
                "id",
                "object",
                "created_at",
                "type",
                "data",
            }
            message = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
            keys = [base64.b64decode(secret[6:]) for secret in secrets]
            signed = ["v1," + base64.b64encode(hmac.digest(key, message, hashlib.sha256)).decode() for key in keys]
            assert headers["webhook-signature"] in signed
        until(lambda: not any(each["pending"] for each in client.get("/v1/webhooks").json()["data"]))
        listed = client.get("/v1/webhooks").json()["data"]
        assert all(each["last_outcome"] == "status 200" for each in listed)
        assert [each["id"] for each in listed] == [both["id"], one["id"]]
        assert all(each["secret"] is None and each["pending"] == 0 for each in listed)
        assert client.call("DELETE", f"/v1/webhooks/{both['id']}").json()["deleted"] is True
        assert client.call("DELETE", f"/v1/webhooks/{both['id']}").status == 404


def test_a_failed_delivery_is_repeated_as_it_was(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deliveries.Deliveries.__init__, "__defaults__", ((0.05, 0.1, 0.1),))
    receiver.statuses = [500, 302, 404]
    with studio(tmp_path, OPEN) as client:
        client.post("/v1/webhooks", data={"url": receiver.url})
        client.post("/v1/videos", data={"prompt": "a ball"})
        until(lambda: len(receiver.heard) == 4)
        assert len({(headers["webhook-id"], body) for headers, body in receiver.heard}) == 1
        until(lambda: client.get("/v1/webhooks").json()["data"][0]["last_outcome"] == "status 200")
        receiver.statuses = [500] * 9
        client.post("/v1/videos", data={"prompt": "a cube"})
        until(lambda: len(receiver.heard) == 8)
        until(lambda: client.get("/v1/webhooks").json()["data"][0]["pending"] == 0)  # it is given up
        time.sleep(0.3)
        assert len(receiver.heard) == 8


def test_a_delivery_that_fails_in_the_server_is_a_failed_one(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def failing(*_: object, **__: object) -> None:
        raise OverflowError("unforeseen")

    monkeypatch.setattr(Outgoing, "call", failing)
    monkeypatch.setattr(deliveries.Deliveries.__init__, "__defaults__", ((0.05, 0.1),))
    with studio(tmp_path, OPEN) as client:
        client.post("/v1/webhooks", data={"url": receiver.url})
        client.post("/v1/videos", data={"prompt": "a ball"})
        until(lambda: client.get("/v1/webhooks").json()["data"][0]["last_outcome"] == "the call failed in this server")
        until(lambda: client.get("/v1/webhooks").json()["data"][0]["pending"] == 0)  # it is given up
    assert "OverflowError" in caplog.text and "unforeseen" not in caplog.text  # an error's text may hold a prompt


def test_a_day_of_growing_pauses():
    assert list(deliveries.PAUSES[:-1]) == sorted(deliveries.PAUSES[:-1]) and 80_000 < sum(deliveries.PAUSES) < 100_000


def test_events_wait_for_a_server_that_comes_back(tmp_path: Path, receiver: Receiver):
    """Rows are written with the end of the job, so nothing that ran between is needed."""
    address = f"sqlite:///{tmp_path / 'studio.db'}"

    async def ended() -> str:
        store = Store(address)
        hook = Webhook(id="webhook_1", owner="one", url=receiver.url, events=("video.failed",), secret=new_secret())
        await store.webhooks.add(hook)
        job, _ = await store.add(new())
        await store.begin([job.id], "w")
        for _ in range(2):  # as after an answer that was lost
            await store.finish(job.id, Failure("x", "y"))
        other, _ = await store.add(new(owner="two"))
        await store.cancel(other.id)
        await store.close()
        return job.id

    async def sent() -> None:
        store, outgoing = Store(address), Outgoing(PRIVATE)
        sending = asyncio.create_task(Deliveries(store.webhooks, outgoing).run())
        while await store.webhooks.pending(None):
            await asyncio.sleep(0.02)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await store.close()

    job_id = asyncio.run(ended())
    asyncio.run(sent())
    assert [(event["type"], event["data"]["id"]) for event in receiver.events()] == [("video.failed", job_id)]


def test_rows_are_bounded_and_go_with_their_owner(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(webhooks, "MOST_PENDING", 3)

    async def check() -> None:
        store = Store(address)
        hook = Webhook(id="webhook_1", owner="one", url="http://x/", events=("video.failed",), secret=new_secret())
        await store.webhooks.add(hook)
        ids = list[str]()
        for _ in range(5):
            job, _ = await store.add(new())
            ids.append((await store.cancel(job.id)).id)
        assert await store.webhooks.pending("one") == {"webhook_1": 3} and await store.webhooks.pending("two") == {}
        ((_, first),) = await store.webhooks.due(2e12, (), 9)
        assert json.loads(first.body)["data"]["id"] == ids[2]  # the oldest two were dropped
        assert await store.webhooks.due(2e12, ("webhook_1",), 9) == await store.webhooks.due(0, (), 9) == []
        await store.webhooks.tried(first, "status 500", 3e12)
        ((_, second),) = await store.webhooks.due(2e12, (), 9)
        assert second.id != first.id and await store.webhooks.next_at(()) == second.next_at
        with pytest.raises(NotFound):
            await store.webhooks.delete("webhook_1", "two")
        await store.webhooks.delete("webhook_1", "one")
        assert await store.webhooks.pending(None) == {} and await store.webhooks.all(None) == []
        await store.close()

    asyncio.run(check())


def test_tokens_have_their_own(tmp_path: Path, receiver: Receiver):
    secrets = add_tokens(tmp_path, ann={}, bob={}, root={"is_admin": True})
    with studio(tmp_path, Settings(needs_token=True, webhooks=("127.0.0.0/8",))) as client:
        ann, bob, root = (client.with_token(secrets[name]) for name in ("ann", "bob", "root"))
        assert client.post("/v1/webhooks", data={"url": receiver.url}).status == 401
        hook = ann.post("/v1/webhooks", data={"url": receiver.url}).json()
        assert bob.get("/v1/webhooks").json()["data"] == []
        assert bob.call("DELETE", f"/v1/webhooks/{hook['id']}").status == 404
        bob.done(bob.post("/v1/videos", data={"prompt": "of bob"}).json()["id"])
        video = ann.post("/v1/videos", data={"prompt": "of ann"}).json()
        until(lambda: receiver.heard)
        assert [event["data"]["id"] for event in receiver.events()] == [video["id"]]
        (token,) = [each["id"] for each in root.get("/v1/tokens").json()["data"] if each["name"] == "ann"]
        assert [each["id"] for each in root.get("/v1/webhooks").json()["data"]] == [hook["id"]]
        root.call("DELETE", f"/v1/tokens/{token}")
        assert root.get("/v1/webhooks").json()["data"] == []


def test_what_is_refused_leaves_nothing(tmp_path: Path, receiver: Receiver):
    urls = [
        "http://127.0.0.1:1/",
        "http://localhost/",
        "https://10.0.0.1/x",
        "http://169.254.169.254/",
        "http://[::1]/",
    ]
    with studio(tmp_path) as client:  # whose operator allows none
        for url in urls:
            refused = client.post("/v1/webhooks", data={"url": url})
            assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "address_refused", "url")
        for data in (
            {"url": "ftp://example.org/"},
            {"url": "http://u:p@127.0.0.1/"},
            {"url": f"http://127.0.0.1/{'x' * 2000}"},
            {"url": receiver.url, "events": []},
            {"url": receiver.url, "events": ["response.completed"]},
            {"url": receiver.url, "secret": "mine"},
            {"events": ["video.completed"]},
            {"url": "http://nowhere.invalid/"},
        ):
            assert client.post("/v1/webhooks", data=data).status == 400, data
        assert client.call("DELETE", "/v1/webhooks/webhook_x").error["code"] == "not_found"
        assert client.get("/v1/webhooks").json()["data"] == []
    with studio(tmp_path, OPEN) as client:
        for _ in range(webhooks.MOST_WEBHOOKS):
            assert client.post("/v1/webhooks", data={"url": receiver.url}).status == 200
        assert client.post("/v1/webhooks", data={"url": receiver.url}).status == 400
    with studio(tmp_path) as client:  # the operator has changed that: nothing is sent
        client.done(client.post("/v1/videos", data={"prompt": "a ball"}).json()["id"])
        until(lambda: all(each["last_outcome"] for each in client.get("/v1/webhooks").json()["data"]))
        assert {each["pending"] for each in client.get("/v1/webhooks").json()["data"]} == {1}
        assert "not public" in client.get("/v1/webhooks").json()["data"][0]["last_outcome"]
    assert receiver.heard == []


PROGRAM = """
import json, sys
from openai import OpenAI
secret, headers, body = json.load(sys.stdin)
event = OpenAI(api_key="none", webhook_secret=secret).webhooks.unwrap(body, headers)
print(event.object, event.type, event.data.id)  # its classes of events have none of videos
try:
    OpenAI(api_key="none", webhook_secret=secret).webhooks.unwrap(body + " ", headers)
except Exception as error:
    print(type(error).__name__)
"""


@pytest.mark.long
def test_openais_client_takes_the_signature(tmp_path: Path, receiver: Receiver):
    with studio(tmp_path, OPEN) as client:
        secret = client.post("/v1/webhooks", data={"url": receiver.url}).json()["secret"]
        video = client.post("/v1/videos", data={"prompt": "a ball"}).json()
        until(lambda: receiver.heard)
    headers, body = receiver.heard[0]
    python = python_with("openai-new", "openai>=2.54,<4")
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}
    given = json.dumps([secret, headers, body])
    done = subprocess.run([python, "-c", PROGRAM], input=given, capture_output=True, text=True, env=plain, check=False)
    words = ["event video.completed " + video["id"], "InvalidWebhookSignatureError"]
    assert done.stdout.splitlines() == words, done.stdout + done.stderr
