"""The page by the keyboard alone: the focus is always seen, and never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.page import Open, shown, until
from tests.helpers.studio import Client, File, clip, studio

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.long
MOST_PRESSES = 150  # of Tab, to come to anything
SEEN = """() => {
    const one = document.activeElement, box = one.getBoundingClientRect();
    const style = getComputedStyle(one.matches("video") ? one.parentElement : one); // which clips it
    const name = one.getAttribute("aria-label") ?? one.closest("label")?.innerText ?? one.innerText;
    const found = { tag: one.tagName, id: one.id, name: name.trim(), html: one.outerHTML.slice(0, 160) };
    const left = Math.max(box.left, 0), right = Math.min(box.right, innerWidth);
    const top = Math.max(box.top, 0), bottom = Math.min(box.bottom, innerHeight);
    const ringed = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
    const shares = [0.5, 0.1, 0.9], along = (from, to, share) => from + share * (to - from);
    const points = shares.flatMap((x) => shares.map((y) => [along(left, right, x), along(top, bottom, y)]));
    const isOf = (other) => other && (one.contains(other) || other.contains(one));
    const onTop = points.some(([x, y]) => isOf(document.elementFromPoint(x, y)));
    return { ...found, ringed, isIn: right > left && bottom > top, onTop };
}"""


class Keyboard:
    """A person who has no mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, key: str, *, seen: bool = True) -> dict[str, Any]:
        """Press a key; what has the focus is seen then."""
        self.page.keyboard.press(key)
        return self.focus() if seen else {}

    def focus(self) -> dict[str, Any]:
        """What has the focus, which is shown and in view."""
        self.page.wait_for_timeout(60)  # for the page to draw
        until(lambda: self.page.evaluate("document.activeElement !== document.body"), 5)
        found: dict[str, Any] = self.page.evaluate(SEEN)
        assert found["ringed"] and found["isIn"] and found["onTop"], found
        return found

    def to(self, name: str, key: str = "Tab") -> dict[str, Any]:
        """Go on until what has the focus has a name that begins so."""
        passed = []
        for _ in range(MOST_PRESSES):
            self.page.keyboard.press(key)
            if self.page.evaluate("document.activeElement === document.body"):
                continue  # between the end of the page and its start
            found = self.focus()
            if found["name"].startswith(name) or found["id"] == name:
                return found
            passed.append(found["name"][:30])
        raise AssertionError(f"{name} is not reached by {key}: {passed}")

    def act(self, name: str, key: str = "Tab") -> dict[str, Any]:
        """Go to a button or a link, and press it; something has the focus then."""
        self.to(name, key)
        return self.press("Enter")

    def type(self, text: str) -> None:
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)


def test_from_a_prompt_to_an_extension(client: Client, opened: Open):
    page = opened(client.port)
    page.locator("#prompt").wait_for()
    keys = Keyboard(page)
    keys.act("Skip to the content")
    keys.act("No, thanks")
    assert keys.focus()["name"] == "Make a video"
    keys.press("ArrowRight")
    assert keys.press("ArrowRight")["name"] == "Extend a clip"
    keys.press("ArrowLeft")
    assert keys.press("ArrowLeft")["name"] == "Make a video"
    assert keys.act("A ball rolls")["id"] == "prompt"
    keys.type("a red ball rolls to the left")
    keys.act("Change the prompt on the way")
    keys.to("Start of part 2")
    keys.press("ArrowRight")
    keys.press("Delete")
    assert page.locator("[data-handle=part]").count() == 0
    keys.to("Length")
    keys.press("ArrowLeft")
    keys.act("Make it")
    keys.to("Cancel")
    page.locator("[data-state=done]").wait_for()
    assert keys.focus()["name"] == "Go on with it"  # where Cancel was
    keys.press("Enter")
    keys.act("Extend it")
    page.locator(".slot.filled").wait_for()
    keys.to("prompt")
    keys.type("the ball rolls on")
    keys.press("Control+Enter")
    until(lambda: page.locator("[data-state=done]").count() == 2)
    assert {video["minisora"]["verb"] for video in client.get("/v1/videos").json()["data"]} == {"generate", "extend"}


def test_the_library_its_dialogs_and_undo(opened: Open, tmp_path: Path):
    with studio(tmp_path / "studio") as client:
        content = clip(tmp_path)
        ids = [client.post("/v1/library", form={"file": File(content, f"{n}.mp4")}).json()["id"] for n in range(9)]
        page = opened(client.port)
        page.locator("#prompt").wait_for()
        keys = Keyboard(page)
        keys.press("2")
        page.locator(".card").first.wait_for()
        keys.to("8.mp4")
        keys.press("ArrowRight")
        keys.press("ArrowDown")
        assert keys.press("End")["name"] == "0.mp4"
        assert keys.press("ArrowLeft")["name"] == "1.mp4"
        keys.press("Enter")
        page.locator(".item").wait_for()
        keys.to("Add a tag")
        page.keyboard.type("park")
        keys.press("Enter")
        page.locator(".tag").wait_for()
        assert keys.act("Remove the tag park", "Shift+Tab")["name"] == "Add a tag"
        keys.act("Delete")
        assert client.get(f"/v1/library/{ids[1]}").status == 404
        page.locator(".toast").wait_for()
        keys.press("Control+z")
        until(lambda: client.get(f"/v1/library/{ids[1]}").status == 200)
        keys.focus()
        keys.to("1.mp4")
        keys.press("Enter")
        page.locator(".item").wait_for()
        keys.act("Delete")
        keys.act("Undo", "Shift+Tab")
        until(lambda: client.get(f"/v1/library/{ids[1]}").status == 200)
        keys.focus()


def test_language_theme_dialogs_and_no_trap(opened: Open, tmp_path: Path):
    with studio(tmp_path / "studio") as client:
        item = client.post("/v1/library", form={"file": File(clip(tmp_path), "walk.mp4")}).json()
        page = opened(client.port)
        page.locator("#prompt").wait_for()
        keys = Keyboard(page)
        keys.act("中文")
        page.locator("html[lang=zh]").wait_for()
        assert keys.focus()["name"] == "English"
        keys.press("Enter")
        keys.act("Theme")
        keys.press("Enter")
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert keys.act("Keyboard")["name"] == "Close"
        keys.press("2", seen=False)
        assert page.url.endswith("/") and page.locator("dialog").count() == 1  # keys of the page rest meanwhile
        assert keys.press("Escape")["name"] == "Keyboard"
        keys.to("Make a video")
        for _ in range(2):
            keys.press("ArrowRight")
        keys.act("From the library")
        keys.act(item["name"])
        assert keys.focus()["name"] == "From the library"
        assert keys.act("Remove")["name"] == "From the library"
        for view in ("queue", f"library/{item['id']}", "models", "settings", "make"):
            shown(page, client.port, view)
            page.locator("main > *").first.wait_for()
            page.evaluate("document.querySelector('.skip').focus()")
            keys.act("minisora")
            keys.to("minisora")  # around the whole page, and back
