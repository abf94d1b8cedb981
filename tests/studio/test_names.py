"""Names for people, against the standard library's own reader of headers."""

from __future__ import annotations

from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from minisora.studio.api.settings import Settings
from minisora.studio.names import MOST_BYTES, MOST_LETTERS, disposition, file_name, title
from tests.helpers.studio import File, clip, studio


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"prompt": "a  red\nball"}, "a red ball"),
        ({"prompt": "0-2.125: a ball rolls. | 2.125-: it stops."}, "a ball rolls, then it stops"),
        ({"prompt": "a ball | a cube"}, "a ball | a cube"),
        ({"prompt": "3 balls: red"}, "3 balls: red"),
        ({"prompt": ""}, "reverse"),
        ({}, "reverse"),
        ({"board": {"shots": [{"prompt": "a"}, {"prompt": "a"}, {"prompt": "0-1: b | 1-: c"}]}}, "a, then b, then c"),
    ],
)
def test_a_title_says_what_is_seen_and_no_times(request_: dict[str, Any], says: str):
    assert title("reverse", request_) == says


@pytest.mark.parametrize("prompt", ["word " * 100, "字" * 500])
def test_a_long_title_is_cut_between_words(prompt: str):
    found = title("generate", {"prompt": prompt})
    assert len(found) <= MOST_LETTERS and found.endswith("…") and prompt.startswith(found[:-1])
    assert " " not in prompt or prompt[len(found) - 1] == " "


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a red ball", "a red ball"),
        ("beach.mp4", "beach"),
        ("../../etc/passwd", "etc passwd"),
        ("C:\\con", "C con"),
        ("con", "minisora con"),
        ("NUL.txt", "minisora NUL.txt"),
        ("a\u202egpj.exe\r\nSet-Cookie: x", "a gpj.exe Set-Cookie x"),
        ('"50 %" <b>ball</b>', "50 % b ball b"),
        ("-rf ...", "rf"),
        ("\ud800", "minisora"),
        ("一个红球，滚过去", "一个红球，滚过去"),
        ("cafe\u0301", "caf\xe9"),
    ],
)
def test_file_names_are_safe_and_headers_bring_them(name: str, safe: str):
    found = file_name(name, "gif")
    assert found == f"{safe}.gif" and file_name(name, "jpg", "thumbnail") == f"{safe} thumbnail.jpg"
    header = disposition(found, download=True)
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment" and header.isascii() and "\n" not in header
    plain, extended = header.split("; filename*=")
    message.replace_header("Content-Disposition", f"attachment; filename*={extended}")
    assert message.get_filename() == found
    message.replace_header("Content-Disposition", plain)
    assert str(message.get_filename()).endswith(".gif")


@pytest.mark.parametrize("letter", ["x", "球", "🎈"])
def test_file_names_are_bounded(letter: str):
    stem = file_name(letter * 400, "webm").removesuffix(".webm")
    assert stem == letter * (MOST_BYTES // len(letter.encode()))


def test_names_of_clients_reach_no_path(tmp_path: Path):
    with studio(tmp_path / "studio", Settings(needs_token=False)) as client:
        item = client.post("/v1/library", form={"file": File(clip(tmp_path), "walk.mp4")}).json()["id"]
        client.call("PATCH", f"/v1/library/{item}", data={"name": "../../evil\u202e/..\\走"})
        for query, name in (
            ("variant=video", "evil .. 走.mp4"),
            ("variant=thumbnail", "evil .. 走 thumbnail.jpg"),
            ("format=webm", "evil .. 走.webm"),
            ("format=png&at=0.25", "evil .. 走 0.250 s.png"),
        ):
            answer = client.get(f"/v1/library/{item}/content?{query}&download=true")
            assert answer.headers["content-disposition"] == disposition(name, download=True), query
        assert not [path for path in tmp_path.rglob("*") if "evil" in path.name]
