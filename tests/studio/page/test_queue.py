"""The queue of the page: order, pause, change, copy, retry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minisora.studio.api.settings import Settings
from tests.helpers.page import Open, drag, shown, until, write
from tests.helpers.studio import Client, add_tokens, studio

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.long
PROMPTS = ["a red ball", "a blue cube", "a green cone", "a white <b>ball</b>"]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Client]:
    """A studio that is busy, with jobs that wait."""
    with studio(tmp_path / "studio", acts={"a broken one": "fail"}) as client:
        client.busy()
        for prompt in PROMPTS:
            client.post("/v1/videos/generate", data={"prompt": prompt, "seconds": 1, "seed": 3})
        yield client
        for video in client.get("/v1/videos?limit=100").json()["data"]:
            client.post(f"/v1/videos/{video['id']}/cancel")


def line(page: Page) -> list[str]:
    return page.get_by_role("region", name="In line").locator(".job .name").all_inner_texts()


def job(page: Page, prompt: str) -> Locator:
    return page.locator(".job").filter(has=page.get_by_text(prompt, exact=True))


def waiting(client: Client) -> list[str]:
    found: list[dict[str, Any]] = client.get("/v1/videos?state=waiting").json()["data"]
    return [video["prompt"] for video in sorted(found, key=lambda video: video["minisora"]["place"])]


def test_jobs_are_moved_by_keys_and_by_dragging(busy: Client, opened: Open):
    page = opened(busy.port)
    shown(page, busy.port, "queue")
    until(lambda: line(page) == PROMPTS)
    page.get_by_role("button", name="Move: a red ball").focus()
    page.keyboard.press("ArrowDown")
    until(lambda: line(page) == [PROMPTS[1], PROMPTS[0], *PROMPTS[2:]])
    until(lambda: page.evaluate("document.activeElement.closest('.job')?.innerText.includes('a red ball')"))
    page.keyboard.press("End")
    until(lambda: line(page) == [*PROMPTS[1:], PROMPTS[0]])
    assert waiting(busy) == [*PROMPTS[1:], PROMPTS[0]]
    grip = page.get_by_role("button", name="Move: a red ball")
    high = (job(page, PROMPTS[1]).bounding_box() or {})["height"]
    drag(page, grip, 0, -2.6 * high)
    until(lambda: line(page).index("a red ball") < 2)
    assert waiting(busy) == line(page)
    page.reload()
    until(lambda: line(page) == waiting(busy))


def test_pause_resume_cancel_and_retry(busy: Client, opened: Open):
    page = opened(busy.port)
    shown(page, busy.port, "queue")
    page.get_by_role("button", name="Pause: a blue cube").click()
    page.get_by_role("region", name="Paused").get_by_text("a blue cube").wait_for()
    assert waiting(busy) == [PROMPTS[0], *PROMPTS[2:]]
    page.get_by_role("button", name="Resume: a blue cube").click()
    until(lambda: "a blue cube" in line(page))
    page.get_by_role("button", name="Cancel: a green cone").click()
    page.get_by_role("region", name="Ended").get_by_text("a green cone").wait_for()
    page.get_by_role("button", name="Try again: a green cone").click()
    until(lambda: "a green cone" in line(page))
    page.get_by_role("button", name="Remove: a green cone").click()
    page.get_by_role("region", name="Ended").wait_for(state="detached")


def places(page: Page) -> list[str]:
    facts = page.get_by_role("region", name="In line").locator(".job .facts").all_inner_texts()
    return [found[1] for each in facts if (found := re.search(r"Place (\d+) in line", each))]


def test_places_have_no_gaps_and_all_that_waits_is_cancelled(busy: Client, opened: Open):
    page = opened(busy.port)
    shown(page, busy.port, "queue")
    until(lambda: places(page) == ["1", "2", "3", "4"])
    page.get_by_text("5 to be made").wait_for()
    page.get_by_role("button", name="Pause: a green cone").click()
    page.get_by_role("button", name="Cancel: a blue cube").click()
    until(lambda: places(page) == ["1", "2"])
    page.get_by_text("3 to be made").wait_for()
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Keep them").click()
    assert places(page) == ["1", "2"]
    page.get_by_role("button", name="Cancel all").click()
    page.get_by_role("button", name="Cancel 2 jobs").click()
    page.get_by_text("Cancelled: 2.").wait_for()
    until(lambda: line(page) == [])
    states = [video["minisora"]["state"] for video in busy.get("/v1/videos?order=asc").json()["data"]]
    assert states == ["running", "cancelled", "cancelled", "paused", "cancelled"]


def test_places_are_those_of_ones_own_jobs(tmp_path: Path, opened: Open):
    """Owners take turns, so others' jobs stand between."""
    secrets = add_tokens(tmp_path / "studio", ann={}, ben={})
    with studio(tmp_path / "studio", Settings(needs_token=True)) as client:
        ann, ben = (client.with_token(secrets[name]) for name in ("ann", "ben"))
        running = ben.busy()
        for n in range(3):
            for each in (ben, ann):
                each.post("/v1/videos/generate", data={"prompt": f"a ball {n}", "seconds": 1})
        found = ann.get("/v1/videos?state=waiting&order=asc").json()["data"]
        assert [video["minisora"]["place"] for video in found] != [1, 2, 3]
        page = opened(client.port)
        page.get_by_label("Token").fill(secrets["ann"])
        page.get_by_role("button", name="Log in").click()
        shown(page, client.port, "queue")
        until(lambda: line(page) == ["a ball 0", "a ball 1", "a ball 2"] and places(page) == ["1", "2", "3"])
        ann.post(f"/v1/videos/{found[0]['id']}/cancel")
        until(lambda: line(page) == ["a ball 1", "a ball 2"] and places(page) == ["1", "2"])
        for each in (ann, ben):
            for video in each.get("/v1/videos?state=waiting").json()["data"]:
                each.post(f"/v1/videos/{video['id']}/cancel")
        ben.post(f"/v1/videos/{running}/cancel")


def test_a_failed_job_says_why(busy: Client, opened: Open):
    busy.post("/v1/videos/generate", data={"prompt": "a broken one", "seconds": 1})
    page = opened(busy.port)
    shown(page, busy.port, "queue")
    page.get_by_role("button", name="Cancel: a long one").click()
    ended = page.get_by_role("region", name="Ended")
    ended.get_by_text("It cannot be").wait_for()
    page.get_by_role("button", name="Try again: a broken one").wait_for()


def test_a_waiting_job_is_changed_and_copied(busy: Client, opened: Open):
    page = opened(busy.port)
    shown(page, busy.port, "queue")
    page.get_by_role("button", name="Change: a red ball").click()
    page.get_by_text("You are changing a job that waits").wait_for()
    assert page.locator("#prompt").input_value() == "a red ball"
    write(page, "a yellow ball")
    page.locator("details.advanced summary").click()
    page.locator("#field-seed").fill("")
    page.locator("#field-steps").fill("7")
    page.get_by_role("button", name="Save the job").click()
    until(lambda: line(page) == ["a yellow ball", *PROMPTS[1:]])
    found = busy.get("/v1/videos?state=waiting").json()["data"]
    (changed,) = [each["minisora"]["request"] for each in found if each["prompt"] == "a yellow ball"]
    assert changed["steps"] == 7 and changed["seed"] == 0 and len(found) == len(PROMPTS)
    page.get_by_role("button", name="Copy to Make: a blue cube").click()
    page.locator(".send button.main").click()
    until(lambda: waiting(busy) == ["a yellow ball", *PROMPTS[1:], "a blue cube"])


def test_a_job_that_has_begun_is_made_anew(busy: Client, opened: Open):
    page = opened(busy.port)
    shown(page, busy.port, "queue")
    page.get_by_role("button", name="Change: a red ball").click()
    page.get_by_text("You are changing a job that waits").wait_for()
    running = busy.get("/v1/videos?state=running").json()["data"][0]["id"]
    busy.post(f"/v1/videos/{running}/cancel")
    page.get_by_text("The job has begun meanwhile").wait_for()
    page.locator(".send button.main").click()
    until(lambda: len(busy.get("/v1/videos").json()["data"]) == len(PROMPTS) + 2)


def test_an_empty_queue_says_what_next(tmp_path: Path, opened: Open):
    with studio(tmp_path / "studio") as client:
        page = opened(client.port)
        shown(page, client.port, "queue")
        page.get_by_text("Nothing waits").wait_for()
        page.get_by_role("link", name="Go to Make").click()
        page.locator("#prompt").wait_for()
