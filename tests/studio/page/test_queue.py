"""The queue of the page: order, pause, change, copy, retry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.page import Open, drag, shown, until, write
from tests.helpers.studio import Client, studio

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
