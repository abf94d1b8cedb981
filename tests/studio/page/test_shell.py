"""What is around every view of the page, on a narrow one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.page import Open, shown
from tests.helpers.studio import studio

pytestmark = pytest.mark.long
VIEWS = ("make", "library", "queue", "models", "settings")


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_the_entry_of_the_view_is_seen(opened: Open, tmp_path: Path, locale: str):
    with studio(tmp_path) as client:
        page = opened(client.port, viewport={"width": 300, "height": 600}, locale=locale)
        for view in (*VIEWS, "make"):
            shown(page, client.port, view)
            page.locator(f"nav a[aria-current][href='#{view}']").wait_for()
            box = page.locator("nav a[aria-current]").bounding_box() or {}
            assert box["x"] >= 0 and box["x"] + box["width"] <= 300, view
        assert page.evaluate("document.documentElement.scrollWidth") <= 300


def test_a_banner_stays_in_sight_and_covers_nothing_that_has_the_focus(opened: Open, tmp_path: Path):
    with studio(tmp_path) as client:
        page = opened(client.port, viewport={"width": 390, "height": 500})
        shown(page, client.port, "settings")
        page.get_by_role("region", name="Webhooks").wait_for()
        page.context.set_offline(True)
        shown(page, client.port, "make")
        shown(page, client.port, "settings")  # which asks the server
        banner = page.get_by_text("The server does not answer")
        banner.wait_for()
        page.get_by_role("button", name="Add a webhook").focus()
        assert page.evaluate("scrollY") > 100
        end = (banner.bounding_box() or {})["y"] + (banner.bounding_box() or {})["height"]
        assert 50 < end < 250
        for _ in range(8):
            page.keyboard.press("Shift+Tab")
            top = page.evaluate("document.activeElement.getBoundingClientRect().top")
            assert top >= end - 1, page.evaluate("document.activeElement.outerHTML")
        page.context.set_offline(False)
        banner.wait_for(state="detached")
