"""The real openai package against a studio: the last version without edits, and the newest."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from minisora.studio.api.settings import Settings
from tests.helpers.environments import ROOT, python_with
from tests.helpers.studio import add_tokens, clip, studio
from tests.helpers.studios import tiny_bundle

TYPES: dict[str, Any] = {
    "id": str,
    "object": str,
    "model": str,
    "status": str,
    "progress": int,
    "created_at": int,
    "completed_at": int | None,
    "expires_at": int | None,
    "prompt": str | None,
    "seconds": str,
    "size": str,
    "remixed_from_video_id": str | None,
    "error": dict | None,
}
CLASSES = {
    "value": ("BadRequestError", 400, "invalid_value"),
    "field": ("BadRequestError", 400, "invalid_request"),
    "file": ("BadRequestError", 400, "invalid_file"),
    "missing": ("NotFoundError", 404, "not_found"),
    "traversal": ("NotFoundError", 404, "not_found"),
    "token": ("AuthenticationError", 401, "invalid_api_key"),
    "not allowed": ("PermissionDeniedError", 403, "not_allowed"),
    "content": ("NotFoundError", 404, "video_not_ready"),
    "state": ("ConflictError", 409, "wrong_state"),
    "quota": ("RateLimitError", 429, "quota_exceeded"),
    "characters": ("InternalServerError", 501, "not_supported"),
}


@pytest.fixture(scope="module", params=[("openai-old", "openai==2.8.0"), ("openai-new", "openai>=2.54,<4")])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client's program saw."""
    python = python_with(*request.param)
    folder = tmp_path_factory.mktemp("client")
    (folder / "frame.png").write_bytes(clip(folder, 1, 64, 96, ".png"))
    (folder / "clip.mp4").write_bytes(clip(folder))
    secret = add_tokens(folder, client={"jobs_waiting": 10})["client"]
    model = tiny_bundle(tmp_path_factory.mktemp("models") / "tiny")
    with studio(folder, Settings(needs_token=True), model=model) as client:
        words = [python, ROOT / "tests/helpers/openai_client.py", f"http://127.0.0.1:{client.port}/v1", secret, folder]
        plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONWARNINGS")}
        done = subprocess.run(words, capture_output=True, text=True, timeout=500, env=plain, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


pytestmark = pytest.mark.long


def test_every_field_has_its_type(found: dict[str, Any]):
    """The client checks none of them."""
    assert len(found["videos"]) >= 12
    for video in found["videos"]:
        for name, kind in TYPES.items():
            assert name in video and isinstance(video[name], kind) and not isinstance(video[name], bool), (name, video)
        assert video["object"] == "video" and video["status"] in ("queued", "in_progress", "completed", "failed")
        assert float(video["seconds"]) > 0 and all(side.isdecimal() for side in video["size"].split("x"))
        assert "minisora" in video


def test_the_clients_own_values_are_echoed(found: dict[str, Any]):
    first = found["videos"][0]
    assert (first["model"], first["seconds"], first["size"]) == ("sora-2", "1", "96x64")


def test_every_variant_is_what_it_says(found: dict[str, Any]):
    heads = {name: bytes.fromhex(head) for name, head in found["variants"].items()}
    assert heads["video"][4:8] == b"ftyp"
    for name in ("thumbnail", "spritesheet"):
        assert heads[name].startswith((b"\xff\xd8", b"\x89PNG", b"RIFF")), name


def test_the_list_goes_over_three_pages(found: dict[str, Any]):
    pages = found["pages"]
    assert pages["made"] == pages["listed"] and pages["all"] == pages["distinct"] == 7
    first, more, next_page = found["ascending"]
    assert more is True and first != next_page


def test_remixes_edits_and_extensions(found: dict[str, Any]):
    (remix,) = [video for video in found["videos"] if video["prompt"] == "a blue ball"]
    assert remix["remixed_from_video_id"] == remix["minisora"]["parent"]
    verbs = [video["minisora"]["verb"] for video in found["videos"]]
    times = 2 if found["has_edits"] else 1
    assert (verbs.count("animate"), verbs.count("edit"), verbs.count("extend")) == (2, times + 1, times)
    extended = [video for video in found["videos"] if video["minisora"]["verb"] == "extend"]
    assert {float(video["seconds"]) for video in extended} == {2.125}  # of the whole


def test_a_cancelled_video_ends_the_poll_as_failed(found: dict[str, Any]):
    assert found["cancelled"]["status"] == "failed" and found["cancelled"]["error"]["code"] == "cancelled"
    assert found["deleted"] == {"id": found["cancelled"]["id"], "deleted": True, "object": "video.deleted"}


def test_errors_by_class(found: dict[str, Any]):
    expected = set(CLASSES) - (set() if found["has_edits"] else {"characters"})
    assert set(found["errors"]) == expected
    for name, error in found["errors"].items():
        assert (error["class"], error["status"], error["code"]) == CLASSES[name], error
        assert error["request_id"].startswith("req_") and error["message"] and error["type"]
    assert found["errors"]["value"]["param"] == "seconds"
