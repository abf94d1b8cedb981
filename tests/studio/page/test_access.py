"""Every view is usable with other abilities, as far as axe-core can tell, in light and in dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.page import Open, drop, shown
from tests.helpers.studio import Client, File, clip, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.long
SERIOUS = ("serious", "critical")


def findings(page: Page) -> list[str]:
    """Serious findings, with the elements that they are about."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs pip install '.[dev]'")
    found: list[dict[str, Any]] = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_view_has_serious_findings(opened: Open, tmp_path: Path, colours: str):
    with studio(tmp_path / "studio") as client:
        ids = filled(client, tmp_path)
        page = opened(client.port, color_scheme=colours, bypass_csp=True, reduced_motion="reduce")
        page.locator("#prompt").wait_for()
        assert findings(page) == []
        for view, part in {
            "library": ".card",
            f"library/{ids[0]}": ".item .settings, .item .tags, .item section",
            f"library/compare/{ids[0]}/{ids[1]}": ".pair",
            "queue": ".job",
            "models": ".model",
            "settings": ".options",
        }.items():
            shown(page, client.port, view)
            page.locator(part).first.wait_for()
            assert findings(page) == [], view


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nor_has_a_dialog(opened: Open, tmp_path: Path, colours: str):
    with studio(tmp_path / "studio") as client:
        page = opened(client.port, color_scheme=colours, bypass_csp=True, reduced_motion="reduce")
        page.get_by_role("button", name="Show me").click()
        page.locator(".tour").wait_for()
        assert findings(page) == []
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        page.locator("dialog").wait_for()
        assert findings(page) == []
        page.keyboard.press("Escape")
        page.get_by_role("radio", name="Repaint a region").click()
        drop(page, "[data-slot=clip]", clip(tmp_path), "walk.mp4", "video/mp4")
        page.get_by_role("button", name="Draw it").click()
        page.locator(".board canvas").wait_for()
        assert findings(page) == []


def filled(client: Client, folder: Path) -> list[str]:
    """Items of the library, and jobs of every state."""
    content = clip(folder)
    ids = [client.post("/v1/library", form={"file": File(content, f"{n}.mp4")}).json()["id"] for n in range(2)]
    client.call("PATCH", f"/v1/library/{ids[0]}", data={"tags": ["park"], "favourite": True})
    client.busy()
    jobs = [
        client.post("/v1/videos/generate", data={"prompt": "a red ball", "seconds": 1}).json()["id"] for _ in range(4)
    ]
    client.post(f"/v1/videos/{jobs[0]}/pause")
    client.post(f"/v1/videos/{jobs[1]}/cancel")
    return ids
