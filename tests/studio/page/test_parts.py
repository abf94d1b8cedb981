"""The prompt along the timeline: it belongs to what is made, not to clips that are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.page import Open, drop, make, setting, until, write
from tests.helpers.studio import Client, clip

pytestmark = pytest.mark.long


def test_the_prompt_of_an_extension_is_for_what_is_added(client: Client, opened: Open):
    """A clip of 9 frames, 1.125 s, and 2 s that are added."""
    body = {"prompt": "a red ball rolls", "seconds": 1, "steps": 2}
    client.done(client.post("/v1/videos/generate", data=body).json()["id"], 240)
    page = opened(client.port)
    write(page, "another")
    assert page.locator(".part.only").inner_text() == "another"
    assert page.locator(".parts button").count() == 0  # nothing that looks like a second prompt
    page.get_by_role("button", name="Go on with it").click()
    page.get_by_role("button", name="Extend it").click()
    page.get_by_text("Prompt for what is added").wait_for()
    assert page.locator("#prompt").input_value() == "a red ball rolls"
    assert page.locator("#prompt-own").inner_text().startswith("These are the clip's own words.")
    write(page, "it stops")
    until(lambda: "a red ball rolls" in page.locator("#prompt-own").inner_text())
    own, added = page.locator(".part.own"), page.locator(".part.only")
    assert (own.inner_text(), added.inner_text()) == ("a red ball rolls", "it stops")
    stretches = [each.bounding_box() for each in page.locator(".stretch").all()]
    boxes = [own.bounding_box(), added.bounding_box()]
    for stretch, box in zip(stretches, boxes, strict=True):
        assert stretch and box and abs(stretch["x"] - box["x"]) < 1 and box["width"] <= stretch["width"] + 1

    page.get_by_role("button", name="Change the prompt on the way").click()
    write(page, "it rolls back")
    part = page.locator("[data-handle=part]")
    assert part.get_attribute("aria-valuenow") == "2.125"  # in the middle of what is added
    page.locator(".trim [data-handle=stop]").press("ArrowLeft")  # the clip ends a frame earlier
    assert part.get_attribute("aria-valuenow") == "2"
    page.locator("[data-handle=before]").press("Shift+ArrowRight")  # and a second is added before it
    assert part.get_attribute("aria-valuenow") == "3"
    part.focus()
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    assert part.get_attribute("aria-valuenow") == "1"  # past the clip, in which nothing is made
    page.keyboard.press("ArrowRight")
    assert part.get_attribute("aria-valuenow") == "2"
    setting(page, "steps", "2")
    sent = make(page)
    assert sent["prompt"] == "0-2: it stops | 2-: it rolls back" and (sent["before"], sent["after"]) == (1, 2)
    until(lambda: page.locator("[data-state=done]").count() == 2)


def test_a_loop_shows_that_its_end_leads_to_its_start(client: Client, opened: Open, tmp_path: Path):
    page = opened(client.port)
    page.get_by_role("radio", name="Make a loop").click()
    page.get_by_text("the end leads to the start").wait_for()
    row, track = page.locator(".return").bounding_box(), page.locator(".stretch").bounding_box()
    assert row and track and abs(row["width"] - track["width"]) < 3
    drop(page, "[data-slot=clip]", clip(tmp_path), "walk.mp4", "video/mp4")
    page.get_by_text("Prompt for the way back to the start").wait_for()
    write(page, "it walks back")
    assert page.locator(".part.own").inner_text() == "walk.mp4"
    assert page.locator(".part.only").inner_text() == "it walks back"
