"""Drafts, and the row that asks for them: order, progress, what they open, what stays in view."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.page import Open, drop, make, setting, until, write
from tests.helpers.studio import Client, clip

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.long
LONG_STEPS = "1000"  # more than are done before Cancel, however fast the machine
SHOWN = 24  # drafts on the page
PHONE = {"width": 390, "height": 844}


def in_view(page: Page, selector: str) -> bool:
    """True if all of an element is on the screen, and nothing lies over its middle."""
    return bool(
        page.locator(selector).first.evaluate(
            """(element) => {
                const { left, right, top, bottom } = element.getBoundingClientRect();
                const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
                return left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight && element.contains(over);
            }"""
        )
    )


def test_the_newest_draft_is_first_and_older_ones_are_in_the_library(client: Client, opened: Open):
    def ask(prompt: str, seed: int) -> None:
        client.done(
            client.post("/v1/videos/image", data={"prompt": prompt, "seed": seed, "steps": 1}).json()["id"], 240
        )

    for prompt, seed in (("a red ball", 1), ("a blue cone", 2), ("a red ball", 3)):
        ask(prompt, seed)
    page = opened(client.port)
    until(lambda: page.locator(".draft").count() == 3)
    assert [each.inner_text() for each in page.locator(".group h3 [dir]").all()] == ["a red ball", "a blue cone"]
    seeds = [re.findall(r"seed (\d+)", each.inner_text()) for each in page.locator(".group").all()]
    assert seeds == [["3", "1"], ["2"]]
    assert page.get_by_role("link", name="All are in the library").count() == 0
    ask("a blue cone", 4)  # while the page is open
    until(lambda: page.locator(".draft").count() == 4)
    assert "seed 4" in page.locator(".group").first.locator(".draft").first.inner_text()
    for seed in range(5, SHOWN + 3):
        ask("a green cube", seed)
    page.get_by_role("link", name="All are in the library").click()
    page.locator(".card").first.wait_for()


def test_the_button_stays_in_view_and_says_what_it_does(client: Client, opened: Open, tmp_path: Path):
    page = opened(client.port)
    page.locator("#prompt").wait_for()
    drop(page, "main", clip(tmp_path), "walk.mp4", "video/mp4")
    page.locator("[data-slot=clip].filled").wait_for()
    for verb in page.locator("[role=radio]").all():
        verb.click()
        assert in_view(page, ".send button.main"), verb.inner_text()
    page.get_by_role("radio", name="Make a video").click()
    number, button = page.locator(".variants input"), page.locator(".send button.main")
    for typed, said in (("3", "Make 3 drafts"), ("12", "Make 8 drafts"), ("1", "Make it")):
        number.fill("")
        number.press_sequentially(typed)  # the field keeps the focus
        until(lambda said=said: button.inner_text() == said)
    number.fill("")
    number.blur()
    assert number.input_value() == "1"
    page.keyboard.press("?")
    page.locator("dialog").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert page.evaluate("scrollY") == 0 and in_view(page, ".offer")


def test_a_job_that_is_tried_again_is_followed(client: Client, opened: Open):
    page = opened(client.port)
    write(page, "a red ball rolls to the left")
    setting(page, "steps", LONG_STEPS)
    make(page)
    page.locator("[data-state=running]").wait_for()
    until(lambda: "Being made" in (page.locator(".stretch").get_attribute("aria-label") or ""))
    until(lambda: page.locator(".way").inner_text().startswith("1 draft on its way"))
    for row in (".draft", ".way"):
        bar, text = page.evaluate(
            f"""() => [document.querySelector('{row} progress').value, document.querySelector('{row}').innerText]"""
        )
        assert f"· {bar} %" in text.replace("\u00a0", " ")
    page.locator(".draft").get_by_role("button", name="Cancel").click()
    page.locator("[data-state=cancelled]").wait_for()
    assert "Being made" not in (page.locator(".stretch").get_attribute("aria-label") or "")
    page.get_by_role("button", name="Try again").click()
    page.locator("[data-state=done]").wait_for()
    until(lambda: "Made: no noise is left" in (page.locator(".stretch").get_attribute("aria-label") or ""))
    page.get_by_role("button", name="Ready: look at it").click()
    page.locator(".way").wait_for(state="detached")


def test_an_answer_that_the_live_channel_overtook_changes_nothing(client: Client, opened: Open):
    page, held = opened(client.port), []
    page.route("**/v1/videos/generate", lambda route: held.append((route, route.fetch())))
    write(page, "a red ball rolls to the left")
    setting(page, "steps", LONG_STEPS)
    make(page)
    page.locator(".draft[data-state=running]").wait_for()
    route, answer = held[0]
    assert answer.json()["minisora"]["state"] == "waiting"
    route.fulfill(response=answer)
    page.locator(".draft:not([data-state])").wait_for(state="detached")  # the page has the answer
    assert page.locator(".draft").get_attribute("data-state") == "running"
    assert page.locator(".draft progress").count() == 1


def test_a_draft_opens_and_is_compared_with_what_it_was_made_from(client: Client, opened: Open):
    body = {"prompt": "a red ball", "seconds": 1, "steps": 2}
    first = client.post("/v1/videos/generate", data=body).json()["id"]
    client.done(first, 240)
    longer = client.post(
        "/v1/videos/extend", data={"prompt": "it stops", "clip": {"id": first}, "after": 1, "steps": 2}
    )
    second = longer.json()["id"]
    client.done(second, 240)
    page = opened(client.port)
    card = page.locator(f"[data-id={second}]")
    until(lambda: card.locator("video").evaluate("video => !video.paused && video.currentTime > 0"))
    card.hover()
    card.get_by_role("button", name="Pause").click()
    until(lambda: card.locator("video").evaluate("video => video.paused"))
    card.get_by_role("button", name="Play").click()
    until(lambda: card.locator("video").evaluate("video => !video.paused"))
    assert page.locator(f"[data-id={first}]").get_by_role("link", name="Compare with the original").count() == 0
    card.get_by_role("link", name="Compare with the original").click()
    until(lambda: page.url.endswith(f"#library/compare/{first}/{second}"))
    page.go_back()
    card.locator("video").click()
    until(lambda: page.url.endswith(f"#library/{second}"))
    page.locator(".item").wait_for()


def test_on_a_phone_nothing_is_beside_the_screen(client: Client, opened: Open, tmp_path: Path):
    page = opened(client.port, viewport=PHONE, has_touch=True)
    page.locator("#prompt").wait_for()
    drop(page, "main", clip(tmp_path), "a long name " * 12 + ".mp4", "video/mp4")
    page.locator("[data-slot=clip].filled").wait_for()
    for verb in ("Make a picture", "Repaint a region", "Make a video"):
        page.get_by_role("radio", name=verb).click()
        until(lambda: in_view(page, "[role=radio][aria-checked=true]"))
        assert in_view(page, ".choices .help")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    write(page, "a red ball rolls to the left")
    setting(page, "steps", LONG_STEPS)
    make(page)
    page.locator(".way").click()
    until(lambda: in_view(page, ".draft .screen"))


def test_an_upload_whose_answer_is_lost_is_kept_once(client: Client, opened: Open, tmp_path: Path):
    page, lost = opened(client.port), list[Any]()

    def answer(route: Route) -> None:
        if route.request.method != "POST" or lost:
            route.continue_()
            return
        lost.append(route.fetch().status)
        route.abort("connectionreset")

    page.locator("#prompt").wait_for()
    page.route("**/v1/library", answer)
    drop(page, "main", clip(tmp_path), "walk.mp4", "video/mp4")
    page.locator("[data-slot=clip].filled").wait_for()
    assert lost == [200] and len(client.get("/v1/library").json()["data"]) == 1
