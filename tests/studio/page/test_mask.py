"""Drawing a mask on the frames of a clip, and making its region anew."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.helpers.page import Open, drop, make, setting, until, write
from tests.helpers.studio import Client, clip

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.long
WIDTH, HEIGHT = 96, 64  # of the clip


@pytest.fixture
def editor(client: Client, opened: Open, tmp_path: Path) -> Page:
    """A page whose mask editor is open, over a clip."""
    page = opened(client.port)
    page.get_by_role("radio", name="Repaint a region").click()
    drop(page, "[data-slot=clip]", clip(tmp_path, height=HEIGHT, width=WIDTH), "walk.mp4", "video/mp4")
    page.locator("[data-slot=clip].filled").wait_for()
    page.get_by_role("button", name="Draw it").click()
    page.locator(".board canvas").wait_for()
    return page


def used(page: Page, client: Client) -> tuple[npt.NDArray[np.uint8], str]:
    """Use the mask; returns it as the server has it, and its id."""
    page.get_by_role("button", name="Use this mask").click()
    page.locator("[data-slot=mask].filled").wait_for()
    (item,) = [one for one in client.get("/v1/library").json()["data"] if one["type"] == "image/png"]
    with Image.open(io.BytesIO(client.get(f"/v1/library/{item['id']}/content").body)) as picture:
        assert picture.size == (WIDTH, HEIGHT)
        return np.asarray(picture.convert("L")), item["id"]


def stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw along points, as shares of the frame."""
    box: Any = page.locator(".board canvas").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def test_a_region_is_painted_and_made_anew(editor: Page, client: Client):
    stroke(editor, (0.25, 0.5), (0.75, 0.5))
    stroke(editor, (0.5, 0.1), (0.5, 0.2))
    editor.get_by_role("button", name="Undo").first.click()  # the second
    editor.get_by_role("radio", name="Eraser").click()
    stroke(editor, (0.75, 0.3), (0.75, 0.7))
    mask, mask_id = used(editor, client)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[HEIGHT // 2, WIDTH // 4] == mask[HEIGHT // 2, WIDTH // 2] == 255
    assert mask[HEIGHT // 2, 3 * WIDTH // 4] == mask[HEIGHT // 8, WIDTH // 2] == mask[0, 0] == 0
    write(editor, "a small yellow cone")
    setting(editor, "steps", "2")
    sent = make(editor)
    assert sent["path"] == "/v1/videos/inpaint" and sent["mask"] == {"id": mask_id} and "box" not in sent
    editor.locator("[data-state=done]").wait_for()


def test_a_rectangle_is_painted_by_keys(editor: Page, client: Client):
    editor.locator(".board canvas").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "Shift+ArrowLeft", "Shift+ArrowUp"):
        editor.keyboard.press(key)
    left, top, width, height = WIDTH // 4 + 1, HEIGHT // 4 + 2, WIDTH // 2 - 1, HEIGHT // 2 - 1
    until(lambda: f"Left {left}, top {top}, {width} × {height}" in editor.locator("#mask-help").inner_text())
    editor.keyboard.press("Enter")
    mask, _ = used(editor, client)
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[top : top + height, left : left + width] = 255
    assert (mask == expected).all()


def test_what_is_painted_is_inverted_and_another_frame_is_looked_at(editor: Page, client: Client):
    assert editor.get_by_role("button", name="Use this mask").is_disabled()
    editor.get_by_role("radio", name="Rectangle").click()
    stroke(editor, (0.25, 0.25), (0.5, 0.75))
    editor.get_by_role("button", name="Invert").click()
    editor.locator(".mask input.long").fill("6")
    until(lambda: editor.evaluate("document.querySelector('.board video').currentTime") == 6.5 / 8)
    mask, _ = used(editor, client)
    inside = mask[HEIGHT // 4 + 1 : 3 * HEIGHT // 4 - 1, WIDTH // 4 + 1 : WIDTH // 2 - 1]
    assert (inside == 0).all()
    assert (mask[:, : WIDTH // 4 - 1] == 255).all() and (mask[:, WIDTH // 2 + 1 :] == 255).all()
