"""A region drawn on the frame, a colour picked from it, and both as the timeline shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from minisora.video import write_video
from tests.helpers.page import Open, drop, make, setting, until, write
from tests.helpers.studio import Client

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.long
WIDTH, HEIGHT, RED, GREY = 96, 64, (220, 30, 30), (110, 110, 110)
KINDS = {".mp4": "video/mp4", ".gif": "image/gif"}


def square(folder: Path, suffix: str) -> bytes:
    """A clip of nine frames: a red square on grey, which is white in the last."""
    frames = torch.tensor(GREY, dtype=torch.uint8).repeat(9, HEIGHT, WIDTH, 1)
    frames[:, 16:48, 32:64] = torch.tensor(RED, dtype=torch.uint8)
    frames[8, 16:48, 32:64] = 255
    path = folder / f"square{suffix}"
    write_video(path, frames=frames, fps=8.0)
    return path.read_bytes()


def point(page: Page, x: float, y: float) -> tuple[float, float]:
    box: Any = page.locator(".board canvas").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def noisy(page: Page, x: float, y: float) -> bool:
    """True if the first picture of the timeline has noise at a place of the frame."""
    spread: float = page.evaluate(
        """([x, y, aspect]) => {
            const canvas = document.querySelector('.levels canvas'), high = canvas.height, side = Math.round(high / 12);
            const cell = canvas.width / Math.max(1, Math.round(canvas.width / (high * aspect)));
            const at = canvas.getContext('2d').getImageData(x * cell - side / 2, y * high - side / 2, side, side).data;
            const light = Array.from({ length: side * side }, (_, n) => at[4 * n]);
            const mean = light.reduce((a, b) => a + b) / light.length;
            return Math.sqrt(light.reduce((sum, each) => sum + (each - mean) ** 2, 0) / light.length);
        }""",
        [x, y, WIDTH / HEIGHT],
    )
    return spread > 8


@pytest.mark.parametrize("suffix", KINDS)
def test_a_region_and_a_colour_are_taken_from_the_frame(client: Client, opened: Open, tmp_path: Path, suffix: str):
    page = opened(client.port)
    page.get_by_role("radio", name="Repaint a region").click()
    assert page.get_by_role("button", name="Draw a rectangle").is_disabled()
    drop(page, "[data-slot=clip]", square(tmp_path, suffix), f"square{suffix}", KINDS[suffix])
    page.locator("[data-slot=clip].filled").wait_for()

    page.get_by_role("button", name="Draw a rectangle").click()
    page.locator(".board canvas").wait_for()
    page.mouse.move(*point(page, 0.25, 0.25))
    page.mouse.down()
    page.mouse.move(*point(page, 0.5, 0.5), steps=3)
    page.mouse.move(*point(page, 0.75, 0.75), steps=3)
    page.mouse.up()
    page.locator(".board canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.get_by_role("button", name="Use this region").click()
    assert page.locator("#field-box").input_value() == f"{WIDTH // 4 + 1},{HEIGHT // 4},{WIDTH // 2},{HEIGHT // 2 + 1}"
    until(lambda: noisy(page, 0.3, 0.5))
    assert not noisy(page, 0.15, 0.15)

    page.get_by_role("button", name="Pick it on the frame").click()
    page.locator(".board video").wait_for()
    page.locator(".long").fill("8")  # there it is white
    until(lambda: page.locator(".board video").evaluate("video => !video.seeking && video.currentTime") > 0.95)
    until(lambda: picked(page, 0.5, 0.5)[0] > 240 < picked(page, 0.5, 0.5)[1])
    page.locator(".long").fill("0")
    until(lambda: picked(page, 0.5, 0.5)[0] > 180 and picked(page, 0.5, 0.5)[1] < 80)
    marked = page.locator(".board canvas").evaluate(
        """(canvas) => [[48, 32], [8, 8]].map(([x, y]) => canvas.getContext('2d').getImageData(x, y, 1, 1).data[3])"""
    )
    assert marked == [255, 0]
    page.get_by_role("button", name="Use this colour").click()
    assert page.locator("#field-box").input_value() == ""  # the last that was chosen counts
    until(lambda: noisy(page, 0.5, 0.5) and not noisy(page, 0.2, 0.5))
    write(page, "a small yellow cone")
    setting(page, "steps", "2")
    sent = make(page)
    assert sent["path"] == "/v1/videos/inpaint" and "box" not in sent and len(sent["colour"].split(",")) == 3
    page.locator("[data-state=done]").wait_for()


def test_a_colour_is_of_the_frame_that_came_after_the_end_of_its_seek(client: Client, opened: Open, tmp_path: Path):
    page = opened(client.port)
    page.evaluate("window.addEventListener('seeked', (event) => event.stopImmediatePropagation(), true)")
    page.get_by_role("radio", name="Repaint a region").click()
    drop(page, "[data-slot=clip]", square(tmp_path, ".mp4"), "square.mp4", "video/mp4")
    page.locator("[data-slot=clip].filled").wait_for()
    page.get_by_role("button", name="Pick it on the frame").click()
    page.locator(".board video").wait_for()
    page.locator(".long").fill("8")
    until(lambda: min(picked(page, 0.5, 0.5)[:2]) > 240, seconds=60)


def picked(page: Page, x: float, y: float) -> list[int]:
    """Pick the colour at a place; returns it as it is shown."""
    page.mouse.click(*point(page, x, y))
    shown = page.locator(".mask [role=status]").inner_text()
    return [int(each) for each in shown.split(",") if each.strip()] or [0, 255, 0]


def test_the_painted_mask_is_drawn_on_the_timeline(client: Client, opened: Open, tmp_path: Path):
    page = opened(client.port)
    page.get_by_role("radio", name="Repaint a region").click()
    drop(page, "[data-slot=clip]", square(tmp_path, ".gif"), "square.gif", "image/gif")
    page.locator("[data-slot=clip].filled").wait_for()
    page.get_by_role("button", name="Draw it", exact=True).click()
    page.locator(".board video").wait_for()
    page.locator(".long").fill("6")
    until(lambda: page.locator(".board video").evaluate("video => !video.seeking && video.currentTime") > 0.7)
    page.get_by_role("radio", name="Rectangle").click()
    page.mouse.move(*point(page, 0.6, 0.1))
    page.mouse.down()
    page.mouse.move(*point(page, 0.95, 0.9), steps=3)
    page.mouse.up()
    page.get_by_role("button", name="Use this mask").click()
    until(lambda: noisy(page, 0.8, 0.5) and not noisy(page, 0.2, 0.5))
