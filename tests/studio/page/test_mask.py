"""Drawing a mask on the frames of a clip, and making its region anew."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from minisora.video import read_frames
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


def kept(page: Page, client: Client) -> tuple[bytes, str]:
    """Use the mask; returns the newest file of one as the server has it, and its id."""
    page.get_by_role("button", name="Use this mask").click()
    page.locator(".board").wait_for(state="detached")
    item = next(one for one in client.get("/v1/library").json()["data"] if one["type"] == "image/png")
    return client.get(f"/v1/library/{item['id']}/content").body, item["id"]


def used(page: Page, client: Client) -> tuple[npt.NDArray[np.uint8], str]:
    """Use the mask, which is one picture for the whole clip."""
    content, mask_id = kept(page, client)
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (WIDTH, HEIGHT) and not getattr(picture, "is_animated", False)
        return np.asarray(picture.convert("L")), mask_id


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


def rectangle(page: Page, left: float, top: float, right: float, bottom: float) -> npt.NDArray[np.bool_]:
    """Paint a rectangle of shares of the frame; returns its pixels."""
    page.get_by_role("radio", name="Rectangle").click()
    stroke(page, (left, top), (right, bottom))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[round(top * HEIGHT) : round(bottom * HEIGHT), round(left * WIDTH) : round(right * WIDTH)] = True
    return mask


def to_frame(page: Page, number: int) -> None:
    page.locator(".moments input").fill(str(number))


def painted(page: Page) -> npt.NDArray[np.bool_]:
    """Pixels of the drawing that is shown."""
    alpha = page.evaluate(
        f"""() => [...document.querySelector('.board canvas').getContext('2d')
            .getImageData(0, 0, {WIDTH}, {HEIGHT}).data].filter((_, n) => n % 4 === 3)"""
    )
    return np.reshape(alpha, (HEIGHT, WIDTH)) > 127


def test_each_drawing_holds_until_the_next(editor: Page, client: Client, tmp_path: Path):
    """Frames 0 and 1 have one, 2 to 5 another, 6 none, 7 and 8 a third: of a clip of 9 frames."""
    new = editor.get_by_role("button", name="New drawing from this frame")
    assert new.is_disabled()
    first = rectangle(editor, 0.125, 0.25, 0.375, 0.75)
    to_frame(editor, 2)
    assert (painted(editor) == first).all()
    new.click()
    assert not painted(editor).any()
    second = rectangle(editor, 0.375, 0.25, 0.625, 0.75)
    to_frame(editor, 6)
    new.click()
    to_frame(editor, 7)
    new.click()
    third = rectangle(editor, 0.625, 0.25, 0.875, 0.75)
    to_frame(editor, 4)
    new.click()
    rectangle(editor, 0.0, 0.0, 0.5, 0.5)
    editor.get_by_role("button", name="Remove this drawing").click()  # that from frame 4
    expected = [first] * 2 + [second] * 4 + [np.zeros_like(first)] + [third] * 2
    for number, mask in enumerate(expected):
        to_frame(editor, number)
        until(lambda mask=mask: (painted(editor) == mask).all())
    labels = [each.get_attribute("aria-label") for each in editor.locator(".drawings button").all()]
    assert labels == [
        "Drawing from 0 s",
        "Drawing from 0.25 s",
        "From 0.75 s, nothing is painted",
        "Drawing from 0.88 s",
    ]
    content, mask_id = kept(editor, client)
    (tmp_path / "mask.png").write_bytes(content)
    frames, _ = read_frames(tmp_path / "mask.png", fps=8.0)
    assert (frames.numpy() == 255 * np.stack(expected)[..., None]).all()

    write(editor, "a small yellow cone")
    setting(editor, "steps", "2")
    sent = make(editor)
    assert sent["path"] == "/v1/videos/inpaint" and sent["mask"] == {"id": mask_id}
    editor.locator("[data-state=done]").wait_for()

    editor.get_by_role("button", name="Draw it").click()  # goes on where it was
    editor.locator(".board canvas").wait_for()
    assert editor.locator(".drawings button").count() == 4 and (painted(editor) == first).all()
    to_frame(editor, 6)
    editor.get_by_role("button", name="Undo").first.click()
    assert editor.locator(".drawings button").count() == 4  # nothing was done yet
    editor.get_by_role("button", name="Remove this drawing").click()
    editor.get_by_role("button", name="Undo").first.click()
    until(lambda: editor.locator(".drawings button").count() == 4)


def test_a_mask_over_time_is_cut_as_its_clip(editor: Page, client: Client):
    rectangle(editor, 0.25, 0.25, 0.75, 0.75)
    to_frame(editor, 4)
    editor.get_by_role("button", name="New drawing from this frame").click()
    _, mask_id = kept(editor, client)
    for name, key, times in (("start", "ArrowRight", 2), ("stop", "ArrowLeft", 3)):
        for _ in range(times):
            editor.locator(f".trim [data-handle={name}]").press(key)
    write(editor, "a small yellow cone")
    setting(editor, "steps", "2")
    sent = make(editor)
    assert sent["mask"] == {"id": mask_id, "start": 0.25, "stop": 0.75} and sent["clip"]["stop"] == 0.75
    editor.locator("[data-state=done]").wait_for()


def test_what_is_painted_is_inverted_and_another_frame_is_looked_at(editor: Page, client: Client):
    assert editor.get_by_role("button", name="Use this mask").is_disabled()
    editor.get_by_role("radio", name="Rectangle").click()
    stroke(editor, (0.25, 0.25), (0.5, 0.75))
    editor.get_by_role("button", name="Invert").click()
    to_frame(editor, 6)
    until(lambda: editor.evaluate("document.querySelector('.board video').currentTime") == 6.5 / 8)
    mask, _ = used(editor, client)
    inside = mask[HEIGHT // 4 + 1 : 3 * HEIGHT // 4 - 1, WIDTH // 4 + 1 : WIDTH // 2 - 1]
    assert (inside == 0).all()
    assert (mask[:, : WIDTH // 4 - 1] == 255).all() and (mask[:, WIDTH // 2 + 1 :] == 255).all()
