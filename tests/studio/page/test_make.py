"""Make, in a real browser on a real server: from a prompt to a video, and on from there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minisora.studio.api.settings import Settings
from tests.helpers.page import Open, drag, drop, make, setting, until, write
from tests.helpers.studio import Client, File, add_tokens, clip, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG_STEPS = "1000"  # more than are done before Cancel, however fast the machine


def plays(page: Page) -> bool:
    """True if the first finished draft has frames, and its time moves."""
    return bool(
        page.evaluate(
            """() => { const video = document.querySelector('.draft video');
            return video && video.loop && video.videoWidth > 0 && video.currentTime > 0 }"""
        )
    )


def test_a_prompt_becomes_a_video_that_plays(client: Client, opened: Open):
    page = opened(client.port)
    write(page, "a red ball rolls to the left")
    sent = make(page)
    assert sent["path"] == "/v1/videos/generate" and sent["prompt"] == "a red ball rolls to the left"
    assert sent["seconds"] == 1 and sent["seed"] >= 0
    page.locator("[data-state=done]").wait_for()
    until(lambda: plays(page))


@pytest.mark.long
def test_previews_are_watched_and_cancel_answers_at_once(client: Client, opened: Open):
    page = opened(client.port)
    write(page, "a red ball rolls to the left")
    setting(page, "steps", LONG_STEPS)
    make(page)
    frames: list[str] = []
    page.locator("[data-state=running]").wait_for()
    values = set()
    for _ in range(600):
        values.add(page.locator("[data-state=running] progress").get_attribute("value"))
        frames.append(page.evaluate("document.querySelector('.draft canvas').toDataURL()"))
        if len(values) > 3:
            break
        time.sleep(0.1)
    assert len(values) > 3 and len(set(frames)) > 3
    card = page.locator(".draft").first
    card.get_by_role("button", name="Cancel").click()
    card.get_by_role("button", name="Cancelling").or_(page.locator("[data-state=cancelled]")).wait_for()
    page.locator("[data-state=cancelled]").wait_for()


@pytest.mark.long
def test_the_timeline_changes_the_request(client: Client, opened: Open):
    page = opened(client.port)
    write(page, "a red ball rolls to the left")
    page.get_by_role("button", name="Change the prompt on the way").click()
    write(page, "the red ball bounces")
    end, part = page.locator("[data-handle=seconds]"), page.locator("[data-handle=part]")
    drag(page, end, 80)
    longer = float(end.get_attribute("aria-valuenow") or 0)
    assert 1 < longer < 2 and (longer * 8) % 1 == 0  # whole frames
    drag(page, part, -60)
    dragged = float(part.get_attribute("aria-valuenow") or 0)
    assert 0 < dragged < 0.5
    part.focus()
    page.keyboard.press("ArrowRight")
    assert float(part.get_attribute("aria-valuenow") or 0) == dragged + 1 / 8
    sent = make(page)
    assert sent["seconds"] == longer
    start = dragged + 1 / 8
    assert sent["prompt"] == f"0-{start:g}: a red ball rolls to the left | {start:g}-: the red ball bounces"
    page.locator("[data-state=done]").wait_for()


@pytest.mark.long
def test_variants_differ_in_their_seeds_and_one_goes_on(client: Client, opened: Open):
    page = opened(client.port)
    write(page, "a red ball rolls to the left")
    setting(page, "seed", "7")
    page.locator(".variants input").fill("3")
    page.locator(".variants input").blur()
    make(page)
    until(lambda: page.locator("[data-state=done]").count() == 3)
    assert page.locator(".group").count() == 1
    seeds = {video["minisora"]["request"]["seed"] for video in client.get("/v1/videos").json()["data"]}
    assert seeds == {7, 8, 9}
    chosen = page.locator(".draft").nth(1)
    video_id = chosen.get_attribute("data-id")
    chosen.get_by_role("button", name="Go on with it").click()
    chosen.get_by_role("button", name="Extend it").click()
    page.locator("[data-handle=after]").wait_for()
    page.locator("[data-handle=start]").focus()
    page.keyboard.press("ArrowRight")
    page.locator("[data-handle=after]").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    write(page, "the ball rolls on")
    page.locator(".variants input").fill("1")
    page.locator(".variants input").blur()
    sent = make(page)
    assert sent["path"] == "/v1/videos/extend"
    assert sent["clip"] == {"id": video_id, "start": 0.125} and sent["after"] == 1 and sent["before"] == 0
    until(lambda: page.locator("[data-state=done]").count() == 4)


@pytest.mark.long
def test_a_dropped_video_brings_its_settings_back(client: Client, opened: Open):
    body = {"prompt": "0-0.5: a red ball | 0.5-: a blue ball", "seconds": 1, "seed": 5, "steps": 3}
    video_id = client.post("/v1/videos/generate", data=body).json()["id"]
    client.done(video_id, 240)
    content = client.get(f"/v1/videos/{video_id}/content").body
    page = opened(client.port)
    page.locator(".make").wait_for()
    drop(page, "main", content, "made <b>here<b>.mp4", "video/mp4")
    page.get_by_text("its settings are in the form").wait_for()
    assert "<b>here<b>" in page.locator(".toast").inner_text()
    sent = make(page)
    assert {name: sent[name] for name in body} == body


@pytest.mark.long
def test_a_dropped_clip_is_extended_and_other_files_are_refused(client: Client, opened: Open, tmp_path: Path):
    page = opened(client.port)
    page.locator(".make").wait_for()
    drop(page, "main", b"no video " * 50, "notes.txt", "text/plain")
    page.locator(".toast.error").wait_for()
    assert "notes.txt" in page.locator(".toast.error").inner_text()
    drop(page, "main", clip(tmp_path), "a clip.mp4", "video/mp4")
    page.locator(".slot.filled").wait_for()
    write(page, "it goes on")
    sent = make(page)
    assert sent["path"] == "/v1/videos/extend" and sent["clip"]["id"].startswith("upload_")
    page.locator("[data-state=done]").wait_for()


@pytest.mark.long
def test_a_verb_that_lacks_its_media_says_which(client: Client, opened: Open):
    page = opened(client.port)
    page.get_by_role("radio", name="Connect two clips").click()
    page.locator(".send button.main").click()
    said = page.locator(".send [role=alert]").inner_text()
    assert "first clip" in said and "second clip" in said and "prompt" in said


@pytest.mark.long
def test_a_proposal_is_looked_at_and_used(client: Client, opened: Open):
    page = opened(client.port)
    write(page, "red ball rolls left")
    page.get_by_role("button", name="Propose a longer prompt").click()
    proposed = page.locator(".proposal > p").first.inner_text()
    assert "red ball" in proposed
    page.get_by_role("button", name="Use it").click()
    assert page.locator("#prompt").input_value() == proposed


@pytest.mark.long
def test_language_and_theme_are_switched_and_stay(client: Client, opened: Open):
    page = opened(client.port, locale="zh-CN", color_scheme="dark")
    page.get_by_role("radio", name="文生视频").wait_for()
    root = page.locator("html")
    assert root.get_attribute("lang") == "zh" and root.get_attribute("data-theme") == "dark"
    page.get_by_role("button", name="English").click()
    page.get_by_role("radio", name="Make a video").wait_for()
    page.locator("[data-theme-choice]").click()
    assert root.get_attribute("data-theme") == "light"
    page.reload()
    page.get_by_role("radio", name="Make a video").wait_for()
    assert root.get_attribute("lang") == "en" and root.get_attribute("data-theme") == "light"


@pytest.mark.long
@pytest.mark.parametrize(
    "prompt",
    ["<img src=x onerror=alert(1)> <b>ball</b> &amp;", "כדור אדום מתגלגל שמאלה", "a red ball " * 363 + "rolled."],
    ids=["markup", "right to left", "4,000 characters"],
)
def test_prompts_are_shown_as_they_are(client: Client, opened: Open, prompt: str):
    page = opened(client.port)
    write(page, prompt)
    assert make(page)["prompt"] == prompt.strip()
    page.locator(".draft").first.wait_for()
    shown = page.locator(".group h3 span").last
    assert shown.text_content() == prompt.strip()
    assert page.locator(".group img[src=x], .group b").count() == 0
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    if prompt.startswith("כ"):
        assert page.locator("#prompt").evaluate("element => getComputedStyle(element).direction") == "rtl"


@pytest.mark.long
def test_a_reload_in_the_middle_goes_on(client: Client, opened: Open):
    page = opened(client.port)
    write(page, "a red ball rolls to the left")
    setting(page, "steps", LONG_STEPS)
    make(page)
    page.locator("[data-state=running]").wait_for()
    page.reload()
    assert page.locator("#prompt").input_value() == "a red ball rolls to the left"
    page.locator("[data-state=done]").wait_for()
    assert len(client.get("/v1/videos").json()["data"]) == 1


@pytest.mark.long
def test_a_login_is_asked_for_and_then_all_goes_on(opened: Open, tmp_path: Path):
    secret = add_tokens(tmp_path, ann={"is_admin": True})["ann"]
    with studio(tmp_path, Settings(needs_token=True)) as client:
        page = opened(client.port)
        page.get_by_label("Token").fill("wrong-token")
        page.get_by_role("button", name="Log in").click()
        page.locator("dialog [role=alert]").wait_for()
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        page.locator(".make").wait_for()
        write(page, "a red ball")
        page.context.clear_cookies()
        page.locator(".send button.main").click()
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        page.locator("[data-state=done]").wait_for()
        assert len(client.with_token(secret).get("/v1/videos").json()["data"]) == 1


@pytest.mark.long
def test_the_media_of_a_dropped_video_are_found_again(client: Client, opened: Open, tmp_path: Path):
    content = clip(tmp_path)
    given = client.post("/v1/library", form={"file": File(content, "walk.mp4")}).json()["id"]
    body = {"prompt": "it goes on", "clip": {"id": given, "start": 0.25}, "after": 1, "steps": 2, "seed": 2**60 + 1}
    video_id = client.post("/v1/videos/extend", data=body).json()["id"]
    client.done(video_id, 240)
    page = opened(client.port)
    page.locator(".make").wait_for()
    drop(page, "main", client.get(f"/v1/videos/{video_id}/content").body, "longer.mp4", "video/mp4")
    page.locator("[data-slot=clip].filled").wait_for()
    sent = make(page)
    assert sent["clip"] == {"id": given, "start": 0.25} and sent["seed"] == str(2**60 + 1)
    until(lambda: page.locator("[data-state=done]").count() == 2)
    requests = [video["minisora"]["request"] for video in client.get("/v1/videos").json()["data"]]
    assert [each["seed"] for each in requests] == [2**60 + 1] * 2
