"""The live channel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from minisora.studio.api import live
from minisora.studio.api.auth import COOKIE
from minisora.studio.api.settings import Settings
from minisora.studio.jobs import Job, State, Update
from tests.helpers.studio import Client, add_tokens, studio
from tests.helpers.studios import tiny_bundle

JOB = {"prompt": "a red ball", "seconds": 1, "steps": 2}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("studio")
    return {"folder": folder, **add_tokens(folder, one={}, other={}, admin={"is_admin": True})}


@pytest.fixture(scope="module")
def client(secrets: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    model = tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")
    with studio(secrets["folder"], Settings(needs_token=True), model=model) as client:
        yield client


def channel(client: Client, **more: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{client.port}/v1/live", **more)


def messages_until(socket: ClientConnection, video_id: str) -> dict[str, Any]:
    """First message about a video."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=60))
        if message["video"]["id"] == video_id:
            return message


def messages_until_done(socket: ClientConnection, video_id: str) -> list[dict[str, Any]]:
    found = []
    while True:
        message = json.loads(socket.recv(timeout=60))
        if message["type"] == "video" and message["video"]["id"] == video_id:
            found.append(message)
            if message["video"]["status"] in ("completed", "failed"):
                return found


@pytest.mark.parametrize("how", ["message", "subprotocol", "cookie", "bearer"])
def test_a_jobs_changes_come_in_order(client: Client, secrets: dict[str, Any], how: str):
    secret = secrets["one"]
    headers = {"cookie": {"Cookie": f"{COOKIE}={secret}"}, "bearer": {"Authorization": f"Bearer {secret}"}}.get(how, {})
    protocols = [live.PROTOCOL, f"token.{secret}"] if how == "subprotocol" else None
    with channel(client, additional_headers=headers, subprotocols=protocols) as socket:
        assert socket.subprotocol == (live.PROTOCOL if how == "subprotocol" else None)
        if how == "message":
            socket.send(json.dumps({"token": secret}))
        assert json.loads(socket.recv(timeout=30))["type"] == "hello"
        video = client.with_token(secret).post("/v1/videos", data=JOB).json()
        found = messages_until_done(socket, video["id"])
    statuses = [message["video"]["status"] for message in found]
    assert statuses[0] == "queued" and statuses[-1] == "completed"
    order = ["queued", "in_progress", "completed"]
    assert statuses == sorted(statuses, key=order.index)
    assert found[-1]["video"] == client.with_token(secret).get(f"/v1/videos/{video['id']}").json()


def test_unfinished_jobs_come_first(client: Client, secrets: dict[str, Any]):
    one = client.with_token(secrets["one"])
    running = one.busy()
    waiting = one.post("/v1/videos", data=JOB).json()["id"]
    with channel(client, additional_headers={"Authorization": f"Bearer {secrets['one']}"}) as socket:
        assert json.loads(socket.recv(timeout=30))["type"] == "hello"
        assert json.loads(socket.recv(timeout=30))["video"]["id"] == running
        assert messages_until(socket, waiting)["video"]["minisora"]["place"] == 1
        one.post(f"/v1/videos/{running}/cancel")
        assert messages_until_done(socket, running)[-1]["video"]["error"]["code"] == "cancelled"
    one.done(waiting)


def test_another_tokens_jobs_do_not_come(client: Client, secrets: dict[str, Any]):
    with channel(client, additional_headers={"Authorization": f"Bearer {secrets['other']}"}) as socket:
        assert json.loads(socket.recv(timeout=30))["type"] == "hello"
        theirs = client.with_token(secrets["one"]).post("/v1/videos", data=JOB).json()
        client.with_token(secrets["one"]).done(theirs["id"])
        own = client.with_token(secrets["other"]).post("/v1/videos", data=JOB).json()
        first = json.loads(socket.recv(timeout=30))
    assert first["video"]["id"] == own["id"]


@pytest.mark.parametrize("message", ['{"token": "wrong-wrong"}', "nonsense", "[]", '{"token": 5}', "[" * 5000])
def test_a_wrong_token_is_said_and_the_channel_closed(client: Client, message: str):
    with channel(client) as socket:
        socket.send(message)
        answer = json.loads(socket.recv(timeout=30))
        assert answer["type"] == "error" and answer["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)


def test_a_revoked_tokens_channel_is_closed_at_once(client: Client, secrets: dict[str, Any]):
    admin = client.with_token(secrets["admin"])
    revoked = admin.post("/v1/tokens", data={"name": "dismissed", "is_admin": True}).json()
    with (
        channel(client, additional_headers={"Authorization": f"Bearer {revoked['secret']}"}) as socket,
        channel(client, additional_headers={"Authorization": f"Bearer {secrets['admin']}"}) as other,
    ):
        assert json.loads(socket.recv(timeout=30))["type"] == json.loads(other.recv(timeout=30))["type"] == "hello"
        assert admin.call("DELETE", f"/v1/tokens/{revoked['id']}").status == 200
        while (answer := json.loads(socket.recv(timeout=30)))["type"] == "video":
            pass  # of jobs that other tests left
        assert answer["type"] == "error" and answer["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
        job = admin.post("/v1/videos", data=JOB).json()["id"]
        messages_until_done(other, job)


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_pages_of_other_sites_get_no_channel(client: Client, secrets: dict[str, Any], headers: dict[str, str]):
    with (
        pytest.raises(InvalidStatus) as refused,
        channel(client, additional_headers={**headers, "Cookie": f"{COOKIE}={secrets['one']}"}),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_no_token_is_waited_for_a_while_only(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live, "TOKEN_SECONDS", 0.2)
    with channel(client) as socket:
        assert json.loads(socket.recv(timeout=30))["type"] == "error"


def test_a_preview_is_an_address_that_a_page_can_show(tmp_path: Path):
    job = Job(
        id="video_1",
        owner="o",
        state=State.RUNNING,
        verb="generate",
        request={},
        model="m",
        format="mp4",
        position=1.0,
        created_at=1.0,
    )
    message = live.message_of(Update(job=job, preview=b"\xff\xd8jpeg", progress=0.5))
    assert message["preview"] == "data:image/jpeg;base64,/9hqcGVn" and message["video"]["progress"] == 50
