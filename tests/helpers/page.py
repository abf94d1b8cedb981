"""What a person does on the studio's page: write, press, drag, drop, wait. And its files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Open = Callable[..., "Page"]
PAGE = Path(__file__).parents[2] / "src" / "minisora" / "studio" / "page"


def strings(language: str) -> dict[str, str]:
    """Words of the page, by key."""
    text = (PAGE / "strings" / f"{language}.js").read_text(encoding="utf-8")
    pairs = re.findall(r'^  ("(?:[^"\\]|\\.)+"): ("(?:[^"\\]|\\.)*"),$', text, re.M)
    assert len(pairs) == len([line for line in text.splitlines() if line.startswith("  ")])
    found = {json.loads(key): json.loads(value) for key, value in pairs}
    assert len(found) == len(pairs), "a key stands twice"
    return found


def write(page: Page, prompt: str) -> None:
    page.locator("#prompt").fill(prompt)


def make(page: Page) -> dict[str, Any]:
    """Press the button; returns the first request that is sent."""
    with page.expect_request(lambda call: call.method == "POST" and "/v1/videos/" in call.url) as found:
        page.locator(".send button.main").click()
    sent: dict[str, Any] = found.value.post_data_json
    return {"path": re.sub(r".*/v1", "/v1", found.value.url), **sent}


def setting(page: Page, name: str, value: str) -> None:
    if page.locator("details.advanced").get_attribute("open") is None:
        page.locator("details.advanced summary").click()
    page.locator(f"#field-{name}").fill(value)


def drag(page: Page, handle: Locator, x: float, y: float = 0.0) -> None:
    """Drag by so many pixels."""
    box = handle.bounding_box()
    assert box is not None
    left, top = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + x / 2, top + y / 2, steps=3)
    page.mouse.move(left + x, top + y, steps=3)
    page.mouse.up()


def drop(page: Page, selector: str, content: bytes, name: str, kind: str) -> None:
    """Drop a file, as a person drags it in."""
    page.evaluate(
        """([selector, bytes, name, type]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type }));
            for (const kind of ["dragover", "drop"]) {
                const event = new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
                document.querySelector(selector).dispatchEvent(event);
            }
        }""",
        [selector, list(content), name, kind],
    )


def until(found: Callable[[], Any], seconds: float = 240.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come")


def shown(page: Page, port: int, view: str) -> None:
    """Show a view, such as library/ID."""
    page.goto(f"http://127.0.0.1:{port}/#{view}")
