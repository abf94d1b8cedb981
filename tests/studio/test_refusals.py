"""What is refused: in one form, with nothing left behind, and without reaching the file system."""

from __future__ import annotations

import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minisora.generate.verbs import VERBS
from minisora.studio.api.settings import BodyBounds, Settings, UploadBounds, VideoBounds
from minisora.studio.dispatch import Limits
from tests.helpers.studio import Answer, Client, File, clip, left, multipart, studio

SETTINGS = Settings(
    needs_token=False,
    upload=UploadBounds(size_bytes=200_000, pixels=256 * 256, frames=30, seconds=5.0),
    body=BodyBounds(size_bytes=300_000, files=3, fields=50, text_bytes=50_000, idle_seconds=1.0),
    video=VideoBounds(pixels=2048 * 2048, seconds=60.0, frames=500, prompt_letters=4000),
)
NO_ID = f"video_{'0' * 32}"
FORM = "multipart/form-data; boundary=x"
PROMPT = {"prompt": "a red ball"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with studio(folder, SETTINGS) as client:
        yield client


def assert_refused(answer: Answer, status: int, code: str | None = None, param: str | None = None) -> None:
    assert answer.status == status, answer.body
    error = answer.error
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error") or status in (401, 403, 429)
    if code is not None:
        assert error["code"] == code, error
    if param is not None:
        assert error["param"] == param, error


@pytest.fixture
def nothing_left(client: Client, folder: Path) -> Iterator[None]:
    """Assert that a test adds no job, no item and no file."""

    def state() -> tuple[Any, ...]:
        ids = [[one["id"] for one in client.get(f"/v1/{what}").json()["data"]] for what in ("videos", "library")]
        return *ids, left(folder)

    before = state()
    yield
    assert state() == before


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    """PNG of a few bytes whose header names a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rest = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + rest


FILES = {
    "text": b"hello " * 100,
    "empty": b"",
    "html": b"<html><script>alert(1)</script></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>',
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "100000 x 100000": png_that_claims(100_000, 100_000),
    "too many pixels": png_that_claims(300, 300),
}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_video_or_picture(client: Client, name: str):
    file = File(FILES[name], "a.png", "image/png")
    assert_refused(client.post("/v1/videos", form={**PROMPT, "input_reference": file}), 400, "invalid_file")
    assert_refused(client.post("/v1/library", form={"file": file}), 400, "invalid_file")


@pytest.mark.usefixtures("nothing_left")
def test_files_that_are_cut_short_too_long_or_too_large(client: Client, tmp_path: Path):
    whole = clip(tmp_path, 25)
    for content in (whole[: len(whole) // 2], whole[:-200], clip(tmp_path, 31), clip(tmp_path, 5, 260, 260)):
        answer = client.post("/v1/videos/edits", form={**PROMPT, "video": File(content, "my clip.mp4")})
        assert_refused(answer, 400, "invalid_file")
        assert "my clip.mp4" in answer.error["message"] and "/" not in answer.error["message"].replace("w/", "")


@pytest.mark.usefixtures("nothing_left")
def test_bodies_over_their_bounds(client: Client):
    large = File(bytes(200_001))
    assert_refused(client.post("/v1/videos", form={**PROMPT, "input_reference": large}), 413, "too_large")
    assert_refused(client.post("/v1/videos", form={**PROMPT, "a": File(bytes(160_000)), "b": large}), 413)
    assert_refused(client.post("/v1/videos", form={**PROMPT, **{f"f{n}": File(b"x") for n in range(4)}}), 413)
    assert_refused(client.post("/v1/videos", form={**PROMPT, **{f"f{n}": "x" for n in range(60)}}), 413)
    assert_refused(client.post("/v1/videos", form={"prompt": "x" * 60_000}), 413)
    assert_refused(client.post("/v1/videos", data={"prompt": "x" * 60_000}), 413)
    assert_refused(client.post("/v1/videos", body=b"", headers={"Content-Length": "99999999999"}), 413)
    assert_refused(client.post("/v1/tokens", data={"name": "x" * 60_000}), 413)


@pytest.mark.usefixtures("nothing_left")
def test_a_body_without_an_end_is_stopped_at_the_bound(client: Client, folder: Path):
    """Chunked, so that no length is known: the answer comes before the body ends."""
    head = multipart({**PROMPT, "input_reference": File(b"")})
    start, _, _ = head[0].rpartition(b"\r\n--")
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as line:
        line.sendall(
            f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: {head[1]}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for piece in (start, *[bytes(50_000)] * 5):
            line.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.usefixtures("nothing_left")
def test_a_body_that_does_not_come_and_a_client_that_leaves(client: Client):
    body, kind = multipart({**PROMPT, "input_reference": File(bytes(1000))})
    head = f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as line:
        line.sendall(head.encode() + body[:500])
        assert line.recv(100).startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as line:
        line.sendall(head.encode() + body[:500])
    time.sleep(0.5)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 100_000, "application/json", 413),
        (b'{"prompt": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "application/json", 400),
        (b'{"prompt": "x", "seconds": NaN}', "application/json", 400),
        (b'{"prompt": "x", "seconds": 1e999}', "application/json", 400),
        (b'{"prompt": "x", "seed": ' + b"9" * 10_000 + b"}", "application/json", 400),
        (b'{"prompt": "\\ud800"}', "application/json", 400),
        (b'{"prompt": "\\u0000"}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"prompt=x", "text/plain", 415),
        (b"<prompt>x</prompt>", "application/xml", 415),
        (b"prompt=x", "", 415),
        (b"prompt=%ff", "application/x-www-form-urlencoded", 400),
        (b"", "multipart/form-data", 400),
        (b"", FORM, 400),
        (b"--x\r\nContent-Disposition: form-data; name=prompt\r\n\r\na", FORM, 400),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", FORM, 400),
        (b"nonsense", FORM, 400),
        (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\xff\r\n--x--\r\n", FORM, 400),
        (b"nonsense", f"multipart/form-data; boundary={'x' * 5000}", 400),
    ],
)  # fmt: skip
def test_bodies_that_are_not_well_formed(client: Client, body: bytes, kind: str, status: int):
    assert_refused(client.post("/v1/videos", body=body, headers={"Content-Type": kind}), status)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, None),
        ({"prompt": ""}, None),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "x" * 4001}, "prompt"),
        ({"seconds": "-4"}, "seconds"),
        ({"seconds": "0"}, "seconds"),
        ({"seconds": "4s"}, "seconds"),
        ({"seconds": "1e9"}, "seconds"),
        ({"seconds": "61"}, "seconds"),
        ({"seconds": "60", "fps": "60"}, "fps"),
        ({"seconds": {"a": 1}}, "seconds"),
        ({"size": "0x0"}, "size"),
        ({"size": "-1x5"}, "size"),
        ({"size": "100000x100000"}, "size"),
        ({"size": f"{'9' * 400}x1"}, "size"),
        ({"size": "big"}, "size"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"steps": 0}, "steps"),
        ({"steps": 1001}, "steps"),
        ({"num_frames": "1"}, "num_frames"),
        ({"num_frames": "-5"}, "num_frames"),
        ({"num_frames": "many"}, "num_frames"),
        ({"num_frames": 10**400}, "num_frames"),
        ({"candidates": 65}, "candidates"),
        ({"fps": 0}, "fps"),
        ({"steps": 2, "num_inference_steps": 2}, "steps"),
        ({"size": "64x64", "width": 64, "height": 64}, "size"),
        ({"seconds": 1, "num_frames": 9}, "seconds"),
        ({"width": 64}, None),
        ({"sped": 5}, None),
        ({"size[x": "5"}, None),
        ({"model": {"id": 5}}, "model"),
        ({"expand": "http://127.0.0.1:8000/v1#model"}, "expand"),
        ({"typed": "x" * 40_000}, "typed"),
        ({"format": "exe"}, None),
        ({"format": "../../x"}, None),
        ({"extra_body": "{"}, None),
        ({"extra_body": "[]"}, None),
        ({"extra_body": {"prompt": "twice"}}, "extra_body"),
    ],
)
def test_values_out_of_bounds(client: Client, fields: dict[str, Any], param: str | None):
    given = {**(PROMPT if fields else {}), **fields}
    answer = client.post("/v1/videos", data=given)
    assert_refused(answer, 400, param=param)
    assert len(answer.body) < 500


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("words", ["\\ud800", "\\u0000", 'x", "seconds": NaN, "a": "', 'x"'])
def test_json_inside_a_form_is_checked_as_well(client: Client, words: str):
    board = f'{{"shots": [{{"prompt": "{words}", "seconds": 1}}]}}'
    assert_refused(client.post("/v1/videos/storyboard", form={"board": board}), 400)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("board", "param"),
    [
        ({"size": "8192x8192", "shots": [{"prompt": "x", "seconds": 1}]}, "size"),
        ({"shots": [{"prompt": "x", "seconds": 0.1}] * 201}, "board"),
    ],
)
def test_storyboards_out_of_bounds(client: Client, board: dict[str, Any], param: str):
    assert_refused(client.post("/v1/videos/storyboard", data={"board": board}), 400, param=param)


def test_an_unknown_field_names_the_nearest(client: Client):
    assert "seed" in client.post("/v1/videos", data={**PROMPT, "sed": 5}).error["message"]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("place", ["/etc/passwd", "~/x.mp4", "a.mp4@1-2", "file:///etc/passwd", "..", "C:\\x", NO_ID])
def test_text_never_names_a_file(client: Client, folder: Path, place: str):
    """Every media field of every verb, in a form and in JSON, at any depth."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("generate", {"preview": place}),
        ("animate", {"picture": place}),
        ("animate", {"picture": {"id": NO_ID}, "at": {"1": place}}),
        ("animate", {"at": [f"1={place}"], "picture": place}),
        ("extend", {"clip": place, "after": 1}),
        ("extend", {"clip": place, "start": 1, "after": 1}),
        ("connect", {"one": place, "other": place}),
        ("loop", {"clip": place}),
        ("edit", {"clip": place}),
        ("inpaint", {"clip": {"id": NO_ID}, "mask": place}),
        ("outpaint", {"clip": place, "to": "100x100"}),
        ("interpolate", {"clip": place}),
        ("storyboard", {"board": place}),
        ("storyboard", {"board": {"shots": [{"prompt": "x", "seconds": 1, "keyframes": {"0": place}}]}}),
        ("storyboard", {"board": {"shots": place}}),
        ("reverse", {"clip": place}),
    ]
    assert {verb for verb, _ in calls} == set(VERBS) - {"image"}
    for verb, fields in calls:
        words = {} if verb in ("storyboard", "reverse") else PROMPT
        for value in (fields, hashed(fields, place)):
            answer = client.post(f"/v1/videos/{verb}", data={**words, **value})
            assert answer.status in (400, 404), (verb, value, answer.body)
            assert answer.error
        flat = {name: value for name, value in fields.items() if isinstance(value, str | int)}
        if flat.keys() == fields.keys():
            assert client.post(f"/v1/videos/{verb}", form={**words, **flat}).status in (400, 404)
    for route in ("edits", "extensions"):
        answer = client.post(f"/v1/videos/{route}", data={**PROMPT, "video": place, "seconds": 1})
        assert_refused(answer, 404, "not_found")


def hashed(value: Any, place: str) -> Any:
    """The fields of a saved request, which would name a blob by its SHA-256."""
    if value == place:
        return {"name": "a.mp4", "sha256": "ab" * 32}
    if isinstance(value, Mapping):
        return {name: hashed(each, place) for name, each in value.items()}
    return [hashed(each, place) for each in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/x.png", "https://example.org/x.png", "file:///etc/passwd", "data:image/png,abc"]
)
def test_addresses_are_not_fetched(client: Client, address: str):
    for reference in ({"image_url": address}, {"image_url": {"url": address}}, address):
        answer = client.post("/v1/videos", data={**PROMPT, "input_reference": reference})
        assert_refused(answer, 400, "address_refused", "input_reference")
    answer = client.post("/v1/videos", form={**PROMPT, "input_reference[image_url]": address})
    assert_refused(answer, 400, "address_refused")
    assert_refused(client.post("/v1/videos", data={**PROMPT, "input_reference": "data:image/png;base64,@"}), 400)
    many = {**PROMPT, "input_reference[]": [File(b"x"), File(b"y")]}
    assert "animate" in client.post("/v1/videos", form=many).error["message"]


TRAVERSAL = [
    "..%2Fx",
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e",
    "video_%00",
    "%ff",
    "x" * 3000,
    "video_" + "g" * 32,
    "%2F",
    ".",
]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", TRAVERSAL)
def test_ids_that_are_none(client: Client, name: str):
    for method, path in (
        *(("GET", f"/v1/videos/{name}"), ("DELETE", f"/v1/videos/{name}"), ("GET", f"/v1/videos/{name}/content")),
        *(("POST", f"/v1/videos/{name}/{each}") for each in ("remix", "cancel", "pause", "resume", "move", "retry")),
        *(("GET", f"/v1/library/{name}"), ("GET", f"/v1/library/{name}/content"), ("DELETE", f"/v1/library/{name}")),
        *(("GET", f"/v1/library/{name}/lineage"), ("GET", f"/v1/models/{name}"), ("DELETE", f"/v1/tokens/{name}")),
    ):
        answer = client.call(method, path)
        assert answer.status in (400, 404, 405), (method, path, answer.body)
        assert answer.error


def test_unknown_routes_and_methods(client: Client):
    for method, path, status in (
        ("POST", "/", 405),
        ("GET", "/v1", 404),
        ("GET", "/v1/video", 404),
        ("POST", "/v1/videos/", 404),
        ("PUT", "/v1/videos", 405),
        ("POST", f"/v1/videos/{NO_ID}/fly", 404),
        ("PATCH", f"/v1/videos/{NO_ID}", 404),
        ("BREW", "/v1/videos", 405),
        ("OPTIONS", "/v1/videos", 405),
        ("GET", "/docs", 404),
    ):
        assert_refused(client.call(method, path), status)
    assert "GET" in client.call("DELETE", "/v1/models").headers["allow"]


def test_a_full_queue_says_when_to_come_back(tmp_path: Path):
    with studio(tmp_path, SETTINGS, Limits(waiting=2)) as client:
        running = client.busy()
        answers = [client.post("/v1/videos", data=PROMPT) for _ in range(6)]
        refused = [answer for answer in answers if answer.status != 200]
        assert len(refused) == 4
        before = left(tmp_path)
        picture = File(clip(tmp_path, 1, suffix=".png"))
        refused += [client.post("/v1/videos", form={**PROMPT, "input_reference": picture})]
        assert left(tmp_path) == before and not client.get("/v1/library").json()["data"]
        client.post(f"/v1/videos/{running}/cancel")
        for answer in refused:
            assert_refused(answer, 429, "queue_full")
            assert 1 <= int(answer.headers["retry-after"]) <= 120
            assert int(answer.headers["retry-after-ms"]) == 1000 * int(answer.headers["retry-after"])


def test_pages_of_other_sites_are_refused(client: Client):
    port = client.port
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://localhost.evil.example:{port}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        for call in (
            client.get("/v1/videos", headers=headers),
            client.post("/v1/videos", data=PROMPT, headers=headers),
        ):
            assert_refused(call, 403, "origin_not_allowed")
            assert "access-control-allow-origin" not in call.headers
    for headers in (
        {"Origin": f"http://127.0.0.1:{port}"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ):
        answer = client.get("/v1/videos", headers=headers)
        assert answer.status == 200 and "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        *[(name, True) for name in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "10.0.0.5:9", "studio.lan")],
        *[(name, False) for name in ("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.x")],
        *[(name, False) for name in ("", "a@b")],
    ],
)  # fmt: skip
def test_hosts_by_other_names_are_refused(tmp_path_factory: pytest.TempPathFactory, host: str, is_ours: bool):
    with studio(tmp_path_factory.mktemp("named"), replace(SETTINGS, hosts=("studio.lan",))) as client:
        answer = client.get("/v1/models", headers={"Host": host})
        if is_ours:
            assert answer.status == 200
        elif host:
            assert_refused(answer, 403, "host_not_allowed")
        else:
            assert answer.status in (400, 403)
        assert client.get("/healthz", headers={"Host": "probe.example"}).status == 204


def test_origins_that_are_configured_may_call(tmp_path: Path):
    friend = "https://friend.example"
    with studio(tmp_path, replace(SETTINGS, origins=(friend,))) as client:
        asked = {"Origin": friend, "Access-Control-Request-Method": "POST"}
        allowed = client.call("OPTIONS", "/v1/videos", headers=asked)
        assert allowed.status == 200 and allowed.headers["access-control-allow-origin"] == friend
        assert client.get("/v1/models", headers={"Origin": friend}).headers["access-control-allow-origin"] == friend
        assert_refused(client.get("/v1/models", headers={"Origin": "https://evil.example"}), 403)


def test_headers_that_keep_browsers_safe(client: Client):
    for answer in (client.get("/v1/models"), client.get("/nothing"), client.get("/healthz")):
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "DENY"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert client.get("/healthz").body == b""


def test_a_mistake_of_ours_is_500_with_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any):
    from minisora.studio.api import log, submit

    def broken(*given: Any) -> None:
        raise RuntimeError("secret words of a prompt")

    monkeypatch.setattr(submit, "check_bounds", broken)
    with studio(tmp_path, SETTINGS) as client, caplog.at_level("INFO", log.LOGGER.name):
        answer = client.post("/v1/videos", data={"prompt": "secret words of a prompt"})
        assert_refused(answer, 500, "internal_error")
        monkeypatch.undo()
        client.post("/v1/videos", data={"prompt": "secret words of a prompt"})
    lines = [json.loads(record.message) for record in caplog.records if record.name == log.LOGGER.name]
    (error,) = [line for line in lines if line["event"] == "error"]
    assert error["request_id"] == answer.headers["x-request-id"] and error["error"] == "RuntimeError"
    assert any("test_refusals.py" in place for place in error["where"])
    assert {line["event"] for line in lines} == {"error", "call", "job"}
    assert not any("secret" in record.message for record in caplog.records)
