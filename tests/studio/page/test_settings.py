"""Models and settings of the page, and its tour."""

from __future__ import annotations

from pathlib import Path

import pytest

from minisora.studio.api.settings import Settings
from tests.helpers.page import Open, shown, until
from tests.helpers.studio import Client, add_tokens, studio

pytestmark = pytest.mark.long


def test_a_models_card_is_read(client: Client, model: Path, opened: Open):
    (model / "card.md").write_text("# tiny\n\nIt knows **nothing** <i>yet</i>.\n\n| a | b |\n|---|---|\n| 1 | `x` |\n")
    with studio(model.parent / "another", model=model) as other:
        page = opened(other.port)
        shown(page, other.port, "models")
        card = page.locator(".card-text")
        card.wait_for()
        assert "It knows nothing <i>yet</i>." in card.inner_text()
        assert card.locator("b").inner_text() == "nothing" and card.locator("td code").inner_text() == "x"
        assert "32 × 32" in page.locator(".model").inner_text()
        page.get_by_role("button", name="Use it in Make").click()
        page.locator("#prompt").wait_for()


def test_tokens_are_made_shown_once_and_revoked(opened: Open, tmp_path: Path):
    secret = add_tokens(tmp_path, ann={"is_admin": True})["ann"]
    with studio(tmp_path, Settings(needs_token=True)) as client:
        page = opened(client.port)
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        shown(page, client.port, "settings")
        tokens = page.get_by_role("region", name="Tokens")
        tokens.get_by_label("Name").fill("<b>bob</b>")
        tokens.get_by_label("Jobs in the queue").fill("3")
        tokens.get_by_label("Storage, in MB").fill("2")
        tokens.get_by_role("button", name="Make a token").click()
        made = tokens.locator(".once code").inner_text()
        me = client.with_token(made).get("/v1/me").json()
        assert me["token"]["name"] == "<b>bob</b>" and not me["is_admin"]
        assert (me["token"]["jobs_waiting"], me["token"]["bytes_kept"]) == (3, 2_000_000)
        tokens.get_by_role("button", name="I have it").click()
        assert made not in page.content()
        page.reload()
        tokens.get_by_text("<b>bob</b>").wait_for()
        assert made not in page.content()
        tokens.get_by_role("button", name="Revoke: <b>bob</b>").click()
        tokens.get_by_text("revoked").wait_for()
        assert client.with_token(made).get("/v1/me").status == 401
        assert "ann" in page.get_by_role("region", name="You").inner_text()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").wait_for()


def test_who_is_no_administrator_sees_no_tokens(opened: Open, tmp_path: Path):
    secret = add_tokens(tmp_path, eve={"jobs_waiting": 4})["eve"]
    with studio(tmp_path, Settings(needs_token=True)) as client:
        page = opened(client.port)
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button", name="Log in").click()
        shown(page, client.port, "settings")
        assert "0 of 4" in page.get_by_role("region", name="You").inner_text()
        assert page.get_by_role("region", name="Tokens").count() == 0


def test_webhooks_are_added_and_deleted(opened: Open, tmp_path: Path):
    with studio(tmp_path, Settings(needs_token=False, webhooks=("127.0.0.1",))) as client:
        page = opened(client.port)
        shown(page, client.port, "settings")
        hooks = page.get_by_role("region", name="Webhooks")
        hooks.get_by_label("Address").fill("http://127.0.0.1:9/hook")
        hooks.get_by_label("failed").uncheck()
        hooks.get_by_role("button", name="Add a webhook").click()
        assert hooks.locator(".once code").inner_text().startswith("whsec_")
        (made,) = client.get("/v1/webhooks").json()["data"]
        assert made["url"] == "http://127.0.0.1:9/hook" and made["events"] == ["video.completed"]
        hooks.get_by_label("Address").fill("http://10.0.0.1/hook")
        hooks.get_by_role("button", name="Add a webhook").click()
        page.locator(".toast.error").wait_for()
        hooks.get_by_role("button", name="Delete: http://127.0.0.1:9/hook").click()
        until(lambda: client.get("/v1/webhooks").json()["data"] == [])


def test_language_and_theme_are_chosen(opened: Open, tmp_path: Path):
    with studio(tmp_path) as client:
        page = opened(client.port)
        shown(page, client.port, "settings")
        page.get_by_role("combobox", name="Theme").select_option("dark")
        page.get_by_role("combobox", name="Language").select_option("zh")
        page.get_by_role("region", name="外观").wait_for()
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.locator("html").get_attribute("lang") == "zh"


def test_the_tour_is_offered_once(opened: Open, tmp_path: Path):
    with studio(tmp_path) as client:
        page = opened(client.port)
        page.get_by_role("button", name="Show me").click()
        for number in range(1, 6):
            page.get_by_text(f"Step {number} of 5").wait_for()
            page.keyboard.press("Enter")
        page.locator(".tour").wait_for(state="detached")
        page.reload()
        page.locator("#prompt").wait_for()
        assert page.get_by_role("button", name="Show me").count() == 0
        page.keyboard.press("?")
        page.get_by_role("button", name="Show the tour").click()
        page.get_by_text("Step 1 of 5").wait_for()
        page.keyboard.press("Escape")
        page.locator(".tour").wait_for(state="detached")
