"""Tokens: who may come in, what each sees, quotas and rates, the page's cookie."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minisora.studio.api.auth import COOKIE, FAILURES_A_MINUTE, Rates
from minisora.studio.api.settings import Settings
from tests.helpers.studio import Answer, Client, File, add_tokens, clip, studio

JOB = {"prompt": "a red ball", "seconds": 1, "steps": 2}


@dataclass(frozen=True)
class Clients:
    """Clients of one studio: without a token, two users, one in narrow bounds, an administrator."""

    none: Client
    one: Client
    other: Client
    narrow: Client
    admin: Client
    secrets: dict[str, str]
    folder: Path


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    folder = tmp_path_factory.mktemp("studio")
    narrow = {"jobs_waiting": 1, "bytes_kept": 20_000, "calls_a_minute": 1000}
    secrets = add_tokens(folder, one={}, other={}, narrow=narrow, admin={"is_admin": True})
    with studio(folder, Settings(needs_token=True)) as client:
        yield Clients(client, *(client.with_token(secrets[name]) for name in secrets), secrets, folder)


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.error["code"]) == (status, code), answer.body


def test_without_a_token_nothing_is_told(clients: Clients):
    for method, path in (
        *(("GET", "/v1/videos"), ("POST", "/v1/videos"), ("GET", "/v1/models"), ("GET", "/v1/library")),
        *(("POST", "/v1/library"), ("GET", "/v1/tokens"), ("GET", "/v1/me"), ("GET", "/v1/verbs")),
        *(("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", f"/v1/videos/video_{'0' * 32}/content")),
    ):
        answer = clients.none.call(method, path)
        assert_refused(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert clients.none.get("/healthz").status == 204


def test_wrong_tokens(clients: Clients):
    for wrong in ("", "sk-1", "ms-" + "x" * 43, clients.secrets["one"] + "x", "é", "x" * 5000):
        headers = {"Authorization": f"Bearer {wrong}"}
        assert_refused(clients.none.get("/v1/videos", headers=headers), 401, "invalid_api_key")
    assert_refused(clients.none.get("/v1/videos", headers={"Authorization": "Basic eDp5"}), 401, "invalid_api_key")


def test_the_database_does_not_have_the_secret(clients: Clients):
    rows = sqlite3.connect(clients.folder / "studio.db").execute("SELECT * FROM tokens").fetchall()
    assert len(rows) >= 4
    assert not any(secret[3:] in str(row) for secret in clients.secrets.values() for row in rows)


def test_a_token_sees_its_own_alone(clients: Clients, tmp_path: Path):
    video = clients.one.post("/v1/videos", data=JOB).json()
    upload = clients.one.post("/v1/library", form={"file": File(clip(tmp_path), "mine.mp4")}).json()
    clients.one.done(video["id"])
    own = f"/v1/videos/{video['id']}"
    for method, path in (
        *(("GET", own), ("GET", f"{own}/content"), ("DELETE", own), ("PATCH", own)),
        *(("POST", f"{own}/{each}") for each in ("remix", "cancel", "pause", "resume", "move", "retry")),
        *(
            ("GET", f"/v1/library/{each['id']}{end}")
            for each in (video, upload)
            for end in ("", "/content", "/lineage")
        ),
        *(("DELETE", f"/v1/library/{upload['id']}"), ("PATCH", f"/v1/library/{upload['id']}")),
        ("POST", f"/v1/library/{upload['id']}/restore"),
    ):
        answer = clients.other.call(method, path)
        assert_refused(answer, 404, "not_found")
        assert "mine" not in answer.error["message"]
    for media in (video, upload):
        answer = clients.other.post("/v1/videos/edits", data={"prompt": "x", "video": {"id": media["id"]}})
        assert_refused(answer, 404, "not_found")
    running, moved = clients.other.busy(), clients.other.post("/v1/videos", data=JOB).json()
    theirs = clients.one.post("/v1/videos", data=JOB).json()  # waits too
    assert clients.other.post(f"/v1/videos/{moved['id']}/move", data={"before": theirs["id"]}).status == 404
    assert clients.other.post(f"/v1/videos/{running}/cancel").status == 200
    assert video["id"] not in str(clients.other.get("/v1/videos").json())
    assert clients.other.get(f"/v1/videos?after={video['id']}").status == 400
    assert not clients.other.get("/v1/library?search=mine").json()["data"]
    assert clients.admin.get(own).status == clients.one.get(own).status == 200
    assert video["id"] in str(clients.admin.get("/v1/videos?limit=100").json())


def test_a_key_and_a_repeat_belong_to_a_token(clients: Clients):
    keyed = {"data": JOB, "headers": {"Idempotency-Key": "k"}}
    repeated = {"data": {**JOB, "prompt": "again"}, "headers": {"x-stainless-retry-count": "1"}}
    for more in (keyed, repeated):
        one, other = clients.one.post("/v1/videos", **more), clients.other.post("/v1/videos", **more)
        assert one.json()["id"] != other.json()["id"]
        assert clients.one.post("/v1/videos", **more).json()["id"] == one.json()["id"]


def test_quotas(clients: Clients, tmp_path: Path):
    running = clients.narrow.busy()
    answer = clients.narrow.post("/v1/videos", data=JOB)
    assert_refused(answer, 429, "quota_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 120
    clients.narrow.post(f"/v1/videos/{running}/cancel")
    clients.narrow.done(running)
    picture = clip(tmp_path, 1, 200, 200, ".png")
    upload = File(picture + bytes(20_000 - len(picture) + 1), "a.png")
    refused = clients.narrow.post("/v1/library", form={"file": upload})
    assert_refused(refused, 403, "quota_exceeded")
    assert "Delete something: it counts for a day more" in refused.error["message"]
    me = clients.narrow.get("/v1/me").json()
    assert me["token"]["jobs_waiting"] == 1 and me["usage"]["unfinished"] == 0 and me["usage"]["bytes"] < 20_000
    assert "secret" not in str(me["token"])


def test_rates(clients: Clients):
    made = clients.admin.post("/v1/tokens", data={"name": "slow", "calls_a_minute": 2}).json()
    slow = clients.none.with_token(made["secret"])
    assert [slow.get("/v1/models").status for _ in range(3)] == [200, 200, 429]
    assert 0 < int(slow.get("/v1/models").headers["retry-after"]) <= 60


def test_a_bucket_fills_at_its_rate():
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.take("a", 60) for _ in range(60)] == [0.0] * 60
    assert rates.take("a", 60) == pytest.approx(1.0) and rates.take("b", 60) == 0.0
    now[0] = 0.5
    assert rates.take("a", 60) == pytest.approx(0.5)
    now[0] = 1.0
    assert rates.take("a", 60) == 0.0 < rates.take("a", 60)
    now[0] = 1000.0
    assert [rates.take("a", 60) for _ in range(61)] == [0.0] * 60 + [pytest.approx(1.0)]


def test_tokens_are_made_and_revoked_by_administrators(clients: Clients):
    for method, path in (
        ("GET", "/v1/tokens"),
        ("POST", "/v1/tokens"),
        ("GET", "/metrics"),
        ("DELETE", "/v1/tokens/x"),
    ):
        assert_refused(clients.one.call(method, path), 403, "not_allowed")
    made = clients.admin.post("/v1/tokens", data={"name": "guest", "jobs_waiting": 3}).json()
    guest = clients.none.with_token(made["secret"])
    assert guest.get("/v1/me").json()["token"]["name"] == "guest"
    listed = clients.admin.get("/v1/tokens").json()["data"]
    assert "guest" in [token["name"] for token in listed] and made["secret"] not in str(listed)
    assert clients.admin.call("DELETE", f"/v1/tokens/{made['id']}").json()["revoked_at"] > 0
    assert_refused(guest.get("/v1/me"), 401, "invalid_api_key")
    assert clients.admin.call("DELETE", "/v1/tokens/token_none").status == 404
    for wrong in (
        {},
        {"name": ""},
        {"name": " "},
        {"name": "x", "jobs_waiting": 0},
        {"name": "x", "power": 1},
        {"name": 5},
    ):
        answer = clients.admin.post("/v1/tokens", data=wrong)
        assert answer.status == 400 and answer.error["param"] in ("name", "jobs_waiting", "power"), wrong


def test_the_pages_cookie(clients: Clients):
    page = {"Origin": f"http://127.0.0.1:{clients.none.port}"}
    wrong = clients.none.post("/v1/login", data={"token": "ms-wrong-wrong-wrong"}, headers=page)
    assert_refused(wrong, 401, "invalid_api_key")
    answer = clients.none.post("/v1/login", data={"token": clients.secrets["one"]}, headers=page)
    assert answer.status == 204
    cookie = answer.headers["set-cookie"]
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower() and "path=/" in cookie.lower()
    sent: dict[str, Any] = {"Cookie": cookie.partition(";")[0]}
    assert clients.none.get("/v1/me", headers=sent).json()["token"]["name"] == "one"
    assert clients.none.post("/v1/videos", data=JOB, headers={**sent, **page}).status == 200
    assert_refused(clients.none.post("/v1/videos", data=JOB, headers=sent), 403, "origin_not_allowed")
    evil = {**sent, "Origin": "https://evil.example"}
    assert_refused(clients.none.post("/v1/videos", data=JOB, headers=evil), 403, "origin_not_allowed")
    assert f'{COOKIE}=""' in clients.none.post("/v1/logout", headers=page).headers["set-cookie"]


def test_metrics(clients: Clients):
    text = clients.admin.get("/metrics").body.decode()
    assert 'minisora_jobs{state="waiting"}' in text
    assert 'minisora_http_requests_total{method="GET",route="/v1/videos/{video_id}",status="200"}' in text
    assert "video_" not in text.replace("{video_id}", "")


def test_calls_without_files_write_none_to_the_disk(clients: Clients):
    """A file's content would have been written before its sender was known."""
    for client, path in (
        (clients.none, "/v1/login"),
        *((clients.admin, path) for path in ("/v1/login", "/v1/tokens", "/v1/webhooks", "/v1/expand")),
    ):
        answer = client.post(path, form={"file": File(b"x")})
        assert_refused(answer, 413, "too_large")
        assert "takes 0 files" in answer.error["message"]
    for length in (4097, 4 << 20):
        assert_refused(clients.none.post("/v1/login", data={"token": "x" * length}), 413, "too_large")
    assert_refused(clients.admin.post("/v1/tokens", body=b" " * ((4 << 20) + 1)), 413, "too_large")


def test_wrong_tokens_are_slowed_down(clients: Clients):
    """The last test: it spends what an address has for a minute."""
    answers = [
        clients.none.get("/v1/me", headers={"Authorization": f"Bearer guess-{n:08}"})
        for n in range(FAILURES_A_MINUTE + 2)
    ]
    assert_refused(answers[-1], 429, "rate_limit_exceeded")
    assert clients.one.get("/v1/me").status == 200
