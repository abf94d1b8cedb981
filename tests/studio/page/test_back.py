"""A file of ours that is dropped into the page brings back its request, wherever it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from minisora.video import write_video
from tests.helpers.page import Open, drop, make, shown, until
from tests.helpers.studio import Client, File, clip, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.long
COMMON = {"prompt": "a red ball", "seed": 2**60 + 1, "steps": 7, "guidance": 2.5, "sampler": "euler", "mark": "made"}
NO_FILE = {"name": "start <b>.png", "sha256": "0" * 64}


def ours(folder: Path, verb: str, request: dict[str, Any], **about: Any) -> bytes:
    """A video of ours, with such a request in it."""
    saved = {"format": 1, "minisora": "0.0.1", "model": {"name": "toybox", "digest": ""}, "verb": verb}
    path = folder / "ours.mp4"
    frames = torch.zeros((9, 32, 32, 3), dtype=torch.uint8)
    write_video(path, frames=frames, fps=8.0, comment=json.dumps({**saved, "request": request, **about}))
    return path.read_bytes()


@pytest.fixture
def makes_nothing(tmp_path: Path) -> Iterator[Client]:
    with studio(tmp_path / "studio") as found:
        yield found


def dropped(page: Page, content: bytes) -> str:
    """Drop a file of ours into Make; returns what is said."""
    page.locator("#prompt").wait_for()
    drop(page, "main", content, "ours.mp4", "video/mp4")
    page.locator(".toast").wait_for()
    return page.locator(".toast > span").inner_text()


def media_of(client: Client, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A clip and a picture, which are in the library under other names."""
    files = clip(folder, num_frames=17), clip(folder, 1, suffix=".png")
    for content in files:
        client.post("/v1/library", form={"file": File(content, "another name")})
    one, other = ({"name": "walk", "sha256": hashlib.sha256(content).hexdigest()} for content in files)
    return one, other


@pytest.mark.parametrize(
    "verb", ["generate", "animate", "extend", "connect", "edit", "inpaint", "outpaint", "storyboard"]
)
def test_all_of_a_request_comes_back(makes_nothing: Client, opened: Open, tmp_path: Path, verb: str):
    walk, picture = media_of(makes_nothing, tmp_path)
    cut = {**walk, "start": 0.5, "stop": 1.5}
    shots = [
        {"prompt": "a red ball", "seconds": 1.0, "keyframes": {"0.5": picture}},
        {"prompt": "a blue ball", "seconds": 2.0, "same_scene": True},
    ]
    own: dict[str, Any] = {
        "generate": {"size": "96x64", "seconds": 1.5, "candidates": 3, "guidance_interval": [0.1, 0.9]},
        "animate": {"picture": picture, "at": {"1.0": picture}, "seconds": 2.0, "context_noise": 0.1},
        "extend": {"clip": cut, "after": 1.0, "before": 0.5, "prompt": "0-1: a red ball | 1-: a blue ball"},
        "connect": {"one": cut, "other": walk, "seconds": 1.0},
        "edit": {"clip": cut, "source": "a blue ball", "strength": 0.6},
        "inpaint": {"clip": walk, "box": "10,20,30,30"},
        "outpaint": {"clip": walk, "to": "128x96", "corner": "8,4"},
        "storyboard": {"board": {"shots": shots, "size": "96x64", "fps": 12.0}},
    }[verb]
    request = {**COMMON, **own}
    if verb == "storyboard":
        request.pop("prompt")
    page = opened(makes_nothing.port)
    assert "its settings are in the form" in dropped(page, ours(tmp_path, verb, request))
    sent = make(page)
    assert sent["path"] == f"/v1/videos/{verb}"
    until(lambda: page.locator(".draft[data-id]").count() == 1)
    items = {one["id"]: one["sha256"] for one in makes_nothing.get("/v1/library").json()["data"]}
    kept = like(makes_nothing.get("/v1/videos").json()["data"][0]["minisora"]["request"], items)
    wanted = like(request, items)
    if verb == "storyboard":
        wanted["size"] = wanted["board"].pop("size")  # which the form has for both
    assert {name: kept.get(name) for name in wanted} == wanted


def like(value: Any, items: dict[str, str]) -> Any:
    """A request without the names of files and what is as usual; files by their SHA-256."""
    if isinstance(value, list):
        return [like(each, items) for each in value]
    if not isinstance(value, dict):
        return value
    if "id" in value:
        value = {**value, "sha256": items[value["id"]]}
    usual = (None, False, {}, 0)
    return {key: like(each, items) for key, each in value.items() if key not in ("name", "id") and each not in usual}


def test_media_and_models_that_are_not_here_are_said(makes_nothing: Client, opened: Open, tmp_path: Path):
    content = clip(tmp_path, num_frames=17)
    gone = {"name": "walk.mp4", "sha256": hashlib.sha256(content).hexdigest(), "start": 0.5, "stop": 1.5}
    page = opened(makes_nothing.port)
    request = {**COMMON, "clip": gone, "after": 1.0}
    text = dropped(page, ours(tmp_path, "extend", request, model={"name": "large", "digest": "1"}))
    assert "walk.mp4 is not in the library: choose that file again" in text
    assert "model large is not here: toybox is chosen" in text
    assert "walk.mp4" in page.locator("[data-slot=clip]").inner_text()
    page.locator(".send button.main").click()
    assert "Choose a clip" in page.locator(".send [role=alert]").inner_text()
    drop(page, "[data-slot=clip]", content, "found.mp4", "video/mp4")
    page.locator("[data-slot=clip].filled").wait_for()
    sent = make(page)
    assert sent["clip"]["start"] == 0.5 and sent["clip"]["stop"] == 1.5 and sent["seed"] == str(COMMON["seed"])


def test_pictures_at_moments_that_are_not_here_are_said(makes_nothing: Client, opened: Open, tmp_path: Path):
    page = opened(makes_nothing.port)
    request = {**COMMON, "picture": NO_FILE, "at": {"1.25": NO_FILE}, "seconds": 2.0}
    text = dropped(page, ours(tmp_path, "animate", request))
    assert "start <b>.png is not in the library" in text
    assert "start <b>.png, at 1.25 s, is not in the library: add it again" in text


@pytest.mark.parametrize(
    ("verb", "request_", "about", "said"),
    [
        ("generate", {"prompt": "a red ball"}, {"format": 2, "minisora": "9.1"}, "minisora 9.1, in format 2"),
        ("dream", {"prompt": "a red ball"}, {}, "there is no verb 'dream'"),
        ("generate", {"prompt": 5}, {}, "prompt"),
        ("generate", {"prompt": "a red ball", "colours": 3}, {}, "colours"),
        ("extend", {"prompt": "a red ball", "clip": "/etc/passwd", "after": 1}, {}, "names files by their paths"),
        ("storyboard", {"board": "film.yaml"}, {}, "names files by their paths"),
    ],
)
def test_a_request_that_is_not_understood_is_said(
    makes_nothing: Client, opened: Open, tmp_path: Path, verb: str, request_: Any, about: Any, said: str
):
    page = opened(makes_nothing.port)
    text = dropped(page, ours(tmp_path, verb, request_, **about))
    assert text.startswith("ours.mp4") and said in text and "The video itself is in the form." in text
    page.locator("[data-slot=clip].filled").wait_for()


def test_the_library_offers_the_settings(makes_nothing: Client, opened: Open, tmp_path: Path):
    page = opened(makes_nothing.port)
    shown(page, makes_nothing.port, "library")
    page.get_by_text("Nothing here yet").wait_for()
    drop(page, "main", ours(tmp_path, "generate", COMMON), "ours.mp4", "video/mp4")
    page.get_by_role("button", name="Show its settings in Make").click()
    page.locator("#prompt").wait_for()
    until(lambda: page.locator("#prompt").input_value() == "a red ball")
