"""What goes wrong, said in the page with what to do: files, a lost connection, an expired login."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minisora.studio.api.settings import Settings, UploadBounds
from tests.helpers.page import Open, drop, shown, until, write
from tests.helpers.studio import Client, add_tokens, clip, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.long
LARGEST = 1 << 20


def said(page: Page) -> str:
    """The message of an error, which is closed then."""
    toast = page.locator(".toast.error")
    text = toast.locator("> span").inner_text()
    toast.get_by_role("button", name="Close").click()
    toast.wait_for(state="detached")
    return text


def test_files_that_cannot_be_used_say_what_they_are(opened: Open, tmp_path: Path):
    bounds = UploadBounds(size_bytes=LARGEST, pixels=3000)
    with studio(tmp_path / "studio", Settings(needs_token=False, upload=bounds)) as client:
        page = opened(client.port)
        write(page, "a red ball")
        for content, kind in {
            b"<html>no video": "a web page",
            b"%PDF-1.7": "a PDF",
            "写。".encode() * 900: "a text",
        }.items():
            drop(page, "main", content, "<i>page.mp4", "video/mp4")
            assert said(page) == f"<i>page.mp4 is {kind}, and no video or picture. Choose another file."
        drop(page, "main", clip(tmp_path)[:600], "cut.mp4", "video/mp4")
        assert said(page).startswith("cut.mp4 ")
        drop(page, "main", bytes(LARGEST + 1), "long.mp4", "video/mp4")
        assert said(page) == "long.mp4 is too large: a file may have 1 MB. Cut it, or make it smaller."
        drop(page, "main", clip(tmp_path), "wide.mp4", "video/mp4")
        assert said(page) == "wide.mp4 has frames of 96x64; 3,000 pixels are the most. Reduce it."
        assert page.locator("#prompt").input_value() == "a red ball" and client.get("/v1/library").json()["data"] == []


def test_a_lost_connection_is_said_and_nothing_is_lost(client: Client, opened: Open, tmp_path: Path):
    page = opened(client.port)
    write(page, "a red ball rolls to the left")
    page.context.set_offline(True)
    page.locator(".send button.main").click()
    page.get_by_text("The server does not answer").wait_for()
    page.get_by_text("On its way to the server").wait_for()
    page.get_by_role("radio", name="Extend a clip").click()
    drop(page, "main", clip(tmp_path), "walk.mp4", "video/mp4")
    page.locator(".sending").get_by_text("walk.mp4").wait_for()
    page.get_by_role("button", name="中文").click()  # whose words are not here yet
    assert said(page) == "The server did not answer. See that it runs, then try again."
    page.context.set_offline(False)
    page.get_by_role("button", name="Try now").click()
    page.get_by_text("The server does not answer").wait_for(state="detached")
    page.locator("[data-state=done]").wait_for()
    page.locator("[data-slot=clip].filled").wait_for()
    assert len(client.get("/v1/videos").json()["data"]) == 1


def test_a_proxy_whose_server_is_away_loses_nothing(client: Client, opened: Open):
    page = opened(client.port)
    page.route("**/v1/videos/*", lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"))
    write(page, "a red ball rolls to the left")
    page.locator(".send button.main").click()
    page.get_by_text("The server does not answer").wait_for()
    page.get_by_text("On its way to the server").wait_for()
    page.unroute("**/v1/videos/*")
    page.get_by_role("button", name="Try now").click()
    page.locator("[data-state=done]").wait_for()
    assert len(client.get("/v1/videos").json()["data"]) == 1


def test_two_tabs_keep_what_each_has_sent(client: Client, opened: Open):
    """The server is away; one tab is closed, then the other: a third sends both requests."""
    first = opened(client.port)
    second = first.context.new_page()
    second.goto(first.url)
    for page, prompt in ((first, "a red ball"), (second, "a blue cube")):
        page.route("**/v1/videos/*", lambda route: route.abort())
        write(page, prompt)
        page.locator(".send button.main").click()
        page.get_by_text("On its way to the server").wait_for()
    third = first.context.new_page()
    first.close()
    second.close()
    third.goto(f"http://127.0.0.1:{client.port}/")
    until(lambda: len(client.get("/v1/videos").json()["data"]) == 2)
    assert {job["prompt"] for job in client.get("/v1/videos").json()["data"]} == {"a red ball", "a blue cube"}
    until(lambda: not third.evaluate("Object.keys(localStorage).filter(name => name.includes('outbox')).length"))


def test_trying_a_job_again_has_a_key(client: Client, opened: Open):
    """Sent again because its answer was lost, it would make two."""
    job = client.busy()
    client.post(f"/v1/videos/{job}/cancel")
    page = opened(client.port)
    page.goto(f"http://127.0.0.1:{client.port}/#queue")
    with page.expect_request("**/retry") as sent:
        page.get_by_role("button", name="Try again").first.click()
    assert sent.value.header_value("idempotency-key")


def test_a_login_that_ended_while_a_file_is_sent(opened: Open, tmp_path: Path):
    secret = add_tokens(tmp_path, ann={})["ann"]
    with studio(tmp_path, Settings(needs_token=True)) as client:
        page = opened(client.port)
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        write(page, "a red ball")
        page.context.clear_cookies()
        drop(page, "main", clip(tmp_path), "<b>walk.mp4", "video/mp4")
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        page.locator("[data-slot=clip].filled").wait_for()
        assert page.locator("#prompt").input_value() == "a red ball"
        assert "<b>walk.mp4" in page.locator("[data-slot=clip]").inner_text()
        shown(page, client.port, "library")
        until(lambda: page.locator(".card .name").all_inner_texts() == ["<b>walk.mp4"])
        assert page.locator(".card b").count() == 0


@pytest.mark.parametrize(
    "prompt",
    ["<img src=x onerror=alert(1)> <b>ball</b>", "כדור אדום מתגלגל שמאלה", "a red ball " * 363 + "rolled."],
    ids=["markup", "right to left", "4,000 characters"],
)
@pytest.mark.parametrize("width", [1440, 390])
def test_prompts_are_shown_in_every_view(opened: Open, tmp_path: Path, prompt: str, width: int):
    with studio(tmp_path / "studio") as client:
        client.busy()
        video = client.post("/v1/videos/generate", data={"prompt": prompt, "seconds": 1}).json()
        page = opened(client.port, viewport={"width": width, "height": 844})
        for view, place in {"make": ".group h3 span:last-child", "queue": f"[data-id={video['id']}] .name"}.items():
            shown(page, client.port, view)
            words = page.locator(place).and_(page.get_by_title(prompt.strip(), exact=True))
            text = (words.text_content() or "").strip()
            assert text == prompt.strip() or (view == "queue" and text and prompt.startswith(text.removesuffix("…")))
            assert page.locator("main img[src=x], main b").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
