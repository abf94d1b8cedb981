"""A provider's model in the page: chosen in Make, made and extended there, seen in the library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.page import Open, make, setting, shown, until, write
from tests.helpers.providers import Server

pytestmark = pytest.mark.long


@pytest.fixture
def pair(tmp_path: Path, model: Path) -> Iterator[tuple[Server, Server]]:
    """A studio, and its provider, which is another one."""
    far = Server(tmp_path / "far", model)
    address = f'address = "http://127.0.0.1:{far.port}/v1"\nmodels = ["tiny"]\nallow_private = true\n'
    home = Server(tmp_path / "home", model, f"[providers.cloud]\n{address}")
    try:
        far.start()
        home.start()
        yield home, far
    finally:
        home.kill()
        far.kill()


def test_a_video_of_a_provider_is_made_and_extended_there(opened: Open, pair: tuple[Server, Server]):
    home, far = pair
    page = opened(home.port)
    write(page, "a red ball rolls to the left")
    setting(page, "steps", "2")
    models = page.locator(".advanced select").first
    models.select_option("cloud/tiny")
    sent = make(page)
    assert sent["path"] == "/v1/videos/generate" and sent["model"] == "cloud/tiny"
    page.locator("[data-state=done]").wait_for()
    (there,) = far.client.get("/v1/videos").json()["data"]
    assert there["prompt"] == "a red ball rolls to the left"

    page.get_by_role("radio", name="Make a loop").click()
    page.locator(".send button.main").click()
    assert "The chosen model does not make this" in page.locator(".send [role=alert]").inner_text()
    assert models.locator("option").last.is_disabled()
    models.select_option("")

    here = page.locator("[data-state=done]").get_attribute("data-id")
    shown(page, home.port, f"library/{here}")
    facts = page.locator("section .settings").first
    facts.get_by_text("Provider", exact=True).wait_for()
    assert "cloud/tiny" in facts.inner_text()
    page.get_by_role("button", name="Extend it").click()
    page.locator("[data-slot=clip].filled").wait_for()
    write(page, "the ball rolls on")
    sent = make(page)
    assert sent["path"] == "/v1/videos/extend" and sent["model"] == "cloud/tiny"  # which made it
    until(lambda: page.locator("[data-state=done]").count() == 2)
    later, first = far.client.get("/v1/videos").json()["data"]
    assert later["minisora"]["verb"] == "extend" and later["minisora"]["parent"] == first["id"]
